// Where a run stands: what a checkpoint knows beside weights, moments and step state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llama_zero {

struct RunPosition {
  // Since the run's first step, whatever was resumed in between.
  std::int64_t steps = 0, skipped = 0, samples = 0, tokens = 0, padded_tokens = 0;
  double first_loss = 0.0;
  // The row that comes next.
  std::int64_t epoch = 0, row_in_epoch = 0;
  // What it was trained on.
  std::uint64_t data_hash = 0, tokenizer_hash = 0, seed = 0;
  std::string model_folder;  ///< the Hugging Face folder that the weights came from; empty: random weights
  bool operator==(const RunPosition&) const = default;
};

/// The "run" object of a checkpoint's manifest.
std::string format_run_position(const RunPosition& position);
/// Throws Error naming `origin` and the field that is wrong.
RunPosition parse_run_position(std::string_view text, const std::string& origin);

}  // namespace llama_zero
