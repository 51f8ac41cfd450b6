// The prose of docs/config.md, before the tables.
#include <fmt/format.h>

#include "launcher/defaults_profile.h"
#include "launcher/schema.h"

namespace llama_zero {
namespace {

constexpr std::string_view kBeginning = R"(# The config

Every key, what it means and what this program does with it. The page is written by the program from the table that also
drives parsing: `./llama_zero --help-config --markdown > docs/config.md`. `./llama_zero --help-config KEY` explains one key,
`./llama_zero --config X --print-config` prints a run's values and where each comes from.

## The file

- JSON with comments (`#`, `//`, `/* */`) and trailing commas. Of DeepSpeed's Hjson, unquoted keys and left-out commas are not
  taken. A key that stands twice in one object is an error.
- `--config X`: a path; else a name in `configs/`, of the working folder or beside the program; else the url-safe base64 of
  a config, as DeepSpeed's launcher passes it on. Without it: stage 0, fp16 and Hugging Face's values.
- `--set path.to.key=value` overrides any key; each key of `llama_zero` is also a flag.
- A key that is honoured acts as DeepSpeed documents it or, where the two differ, as DeepSpeed does it. One that has no effect
  is accepted, with one warning if it asks for something that a run would miss. One that would change the result and cannot
  be honoured is an error that names it.
- In strict sections an unknown key is an error with a proposal, `2e8`, `"200"` and `true` are integers, `"true"` and `1` are
  bools. Elsewhere unknown keys get a warning. Everywhere an integer may be written as a float without a fraction.
- `null` means that the key is not there where its default is null, and is an error elsewhere.
- `"auto"` is filled as Hugging Face's Trainer does where the table has a rule. In strict sections any other "auto" means the
  default, elsewhere it is an error.
- Sizes are elements, not bytes.

## Defaults that DeepSpeed changed

The same file is another run after some DeepSpeed releases. `"llama_zero": {"defaults_profile": "0.18"}` takes the defaults of
that release; the start of a run prints those that matter to it.

| Key | Before | Now | Since |
|---|---|---|---|
)";

constexpr std::string_view kEnd = R"(
Before 0.19.3 WarmupCosineLR also climbed again after `total_num_steps`, and a `warmup_num_steps` of 0 was accepted; so it is
under such a profile.

## Where it differs from DeepSpeed on purpose

- Gradients are unscaled by the loss scale that backward used. (DeepSpeed divides by the new scale on a step where the scale
  moves.)
- `data_types.grad_accum_dtype` is real at every stage: gradients are added up in it and reduced from it.
- Gradients that are not finite skip the step at every stage in fp16 and bf16, stage 3 included, and each skip is in the log.
- Stage 0 in fp16 follows the same loss scale rules as stages 1 to 3, hysteresis and minimum included.
- Stage 0 in 16 bits starts as the other stages do. (DeepSpeed makes an empty update there before the first one, which counts
  as a step of Adam and decays the weights once.)
- Sums over ranks are taken in fp32 in the order of the ranks and rounded once.
- `comms_logger.enabled` counts: in DeepSpeed the section alone switches the logger on.

What is kept though it surprises: the first two updates of WarmupLR and WarmupDecayLR run at `warmup_min_lr`, which is 0
unless the config says otherwise. The header of a run names them.

)";

}  // namespace

std::string schema_page_introduction() {
  std::string out(kBeginning);
  for (const ChangedDefault& changed : changed_defaults()) {
    out += fmt::format("| `{}`{} | {} | {} | {} |\n", changed.key,
                       changed.needs.empty() ? "" : fmt::format(" ({})", changed.needs), changed.old_value,
                       changed.new_value, changed.since);
  }
  return out + std::string(kEnd);
}

}  // namespace llama_zero
