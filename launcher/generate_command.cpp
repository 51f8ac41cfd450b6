#include "launcher/generate_command.h"

#include <string>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "data/encode.h"
#include "launcher/loaded_model.h"
#include "launcher/progress.h"

namespace llama_zero {
namespace {

TokenIds prompt_tokens(const GenerateArguments& arguments, const LoadedModel& model) {
  if (!arguments.prompt_ids.empty()) return arguments.prompt_ids;
  const Tokenizer& tokenizer = model.tokenizer();
  if (!arguments.prompt) return encode_prompt(tokenizer, arguments.instruction, arguments.input);
  TokenIds tokens{tokenizer.bos_id()};
  tokenizer.encode(*arguments.prompt, tokens);
  return tokens;
}

std::string format_ids(const TokenIds& ids) {
  std::string text;
  for (const std::int32_t id : ids) {
    if (!text.empty()) text += ',';
    text += std::to_string(id);
  }
  return text;
}

void generate(const GenerateArguments& arguments, Runtime& runtime) {
  LoadedModel model(arguments.model, arguments.max_new_tokens, runtime);
  log::debug("{}", model.description());
  const std::vector<TokenIds> prompts{prompt_tokens(arguments, model)};
  require(static_cast<std::int64_t>(prompts[0].size()) < model.max_positions(),
          "the prompt has {} tokens; the model has {} positions for prompt and answer", prompts[0].size(),
          model.max_positions());
  SamplingOptions sampling;
  sampling.temperature = arguments.temperature;
  sampling.top_p = arguments.top_p;
  sampling.seed = arguments.model.seed;
  const std::vector<TokenIds> answers = model.generate(prompts, arguments.max_new_tokens, sampling);
  write_stdout((arguments.print_ids ? format_ids(answers[0]) : model.tokenizer().decode(answers[0])) + "\n");
}

}  // namespace

int run_generate(const GenerateArguments& arguments, MpiWorld& world) {
  const HostGroup group(world.rank(), world.size());
  Runtime runtime(world, {.device = arguments.model.device});
  group.on_root([&] { generate(arguments, runtime); });
  return 0;
}

}  // namespace llama_zero
