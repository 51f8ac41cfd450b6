// Any text as config.json: refused, or a model that can be described and written again.
#include "model/config_json.h"
#include "model/param_table.h"
#include "tests/fuzz/scratch_file.h"

using namespace llama_zero;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fuzz::expect_error_or_success([&] {
    const HfConfig config = parse_config_json(text, "config.json");
    const ParamTable table(config.model);
    if (table.total_numel() <= 0) std::abort();
    const HfConfig again = parse_config_json(format_config_json(config), "config.json");
    if (!(again.model.hidden_size == config.model.hidden_size &&
          again.info.eos_token_ids == config.info.eos_token_ids)) {
      std::abort();
    }
  });
  return 0;
}
