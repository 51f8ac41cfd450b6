// Any text as a DeepSpeed config: refused, or resolved into a run.
#include "launcher/config.h"
#include "tests/fuzz/scratch_file.h"

using namespace llama_zero;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fuzz::expect_error_or_success([&] {
    ResolveFacts facts;
    facts.world_size = 2;
    facts.hidden_size = 64;
    facts.preset_learning_rate = 1e-3;
    facts.rows = 100;
    const TrainConfig config = resolve(parse_config(text, "ds_config.json", {}), facts);
    if (resolved_json(config).empty()) std::abort();
  });
  return 0;
}
