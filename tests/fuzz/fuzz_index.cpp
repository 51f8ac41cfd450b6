// Any bytes as model.safetensors.index.json of a folder with one real weight file.
#include "model/hf_folder.h"
#include "tests/fuzz/scratch_file.h"

using namespace llama_zero;

namespace {

/// A one-layer model in a folder of this process, whose index links to the scratch file.
fs::path make_folder(const fs::path& index) {
  LlamaConfig config;
  config.vocab_size = 8;
  config.hidden_size = config.intermediate_size = config.head_dim = 8;
  config.num_hidden_layers = config.num_attention_heads = config.num_key_value_heads = 1;
  const ParamTable table(config);
  const fs::path folder = fs::temp_directory_path() / ("llama_zero_fuzz_" + std::to_string(::getpid()));
  write_hf_folder(folder, table, {}, {}, [&](int unit, std::vector<float>& out) {
    out.assign(static_cast<std::size_t>(table.units()[static_cast<std::size_t>(unit)].numel), 0.0F);
  });
  fs::create_symlink(index, folder / "model.safetensors.index.json");
  std::atexit([] {
    std::error_code ignored;
    fs::remove_all(fs::temp_directory_path() / ("llama_zero_fuzz_" + std::to_string(::getpid())), ignored);
  });
  return folder;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fs::path index = fuzz::scratch_file(data, size);
  static const fs::path folder = make_folder(index);
  fuzz::expect_error_or_success([&] { const HfFolder model(folder); });
  return 0;
}
