// Writes a Hugging Face folder of a preset's shape with random weights in fp16, for measuring imports of large models.
// Usage: random_llama FOLDER PRESET [LAYERS]
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "model/config.h"
#include "model/hf_folder.h"

using namespace llama_zero;

namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20U;
constexpr double kDeviation = 0.02;

std::vector<float> random_block() {
  const CounterRng rng(1, stream_id("random_llama"));
  std::vector<float> block(kBlock);
  for (std::size_t i = 0; i < kBlock; ++i) block[i] = static_cast<float>(kDeviation * rng.normal(i));
  return block;
}

// Numbers of their own for every weight would take longer than the disk: pieces of one block, cut at random places.
void fill(std::span<float> out, const std::vector<float>& block, std::uint64_t& pieces) {
  const CounterRng rng(2, stream_id("random_llama"));
  while (!out.empty()) {
    const auto from = static_cast<std::size_t>(rng.below(pieces++, kBlock / 2));
    const std::size_t count = std::min(out.size(), kBlock - from);
    std::copy_n(block.begin() + static_cast<std::ptrdiff_t>(from), count, out.begin());
    out = out.subspan(count);
  }
}

void write_model(const fs::path& folder, const LlamaConfig& config) {
  const ParamTable table(config);
  const std::vector<float> block = random_block();
  std::uint64_t pieces = 0;
  HfModelInfo info;
  info.torch_dtype = DType::kF16;
  write_hf_folder(folder, table, info, {}, [&](int unit, std::vector<float>& out) {
    const Unit& description = table.units()[static_cast<std::size_t>(unit)];
    out.resize(static_cast<std::size_t>(description.numel));
    for (const int index : description.params) {
      const Param& param = table.params()[static_cast<std::size_t>(index)];
      const auto values =
          std::span(out).subspan(static_cast<std::size_t>(param.offset), static_cast<std::size_t>(param.numel()));
      if (param.init == InitRule::kOnes) {
        std::ranges::fill(values, 1.0F);
      } else {
        fill(values, block, pieces);
      }
    }
  });
  fmt::print("{}: {} parameters of fp16\n", folder.string(), table.total_numel());
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3 || count > 4) {
    std::fputs("usage: random_llama FOLDER PRESET [LAYERS]\n", stderr);
    return 2;
  }
  try {
    LlamaConfig config = preset_config(arguments[2]);
    if (count == 4) config.num_hidden_layers = std::max(1L, std::strtol(arguments[3], nullptr, 10));
    write_model(arguments[1], config);
  } catch (const Error& error) {
    fmt::print(stderr, "random_llama: {}\n", error.what());
    return 1;
  }
  return 0;
}
