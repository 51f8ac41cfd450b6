// What a block computes on its way, in one table: it sizes, allocates and names every intermediate tensor.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/arena.h"
#include "core/dtype.h"
#include "core/view.h"
#include "model/config.h"
#include "model/transformer.h"

namespace llama_zero {

/// The tensors of one block's forward, T tokens; row-major, in the model's dtype but for the statistics.
struct BlockActivations {
  View input_sum;    ///< [T, H] residual stream at the block's input: what the input norm reads
  View input_norm;   ///< [T, H]
  View input_rstd;   ///< stat [T]
  View qkv;          ///< [T, (Hq + 2 Hkv) * D], rotated
  View attention;    ///< [T, Hq * D]
  View log_sum_exp;  ///< stat [Hq, T]
  View middle_sum;   ///< [T, H] residual stream after attention
  View middle_norm;  ///< [T, H]
  View middle_rstd;  ///< stat [T]
  View gate_up;      ///< [T, 2 I]
  View swiglu;       ///< [T, I]
};

/// The tensors of one block's backward.
struct BlockGradients {
  View wide;  ///< [T, max(I, Hq * D)] gradient of the swiglu output, later of the attention output
  View norm;  ///< [T, H] gradient of a norm's output
  View qkv;   ///< [T, (Hq + 2 Hkv) * D]
};

/// When a tensor of the forward is still there in the backward of its block.
enum class Kept {
  kAlways,      ///< in every checkpointing mode
  kUnlessFull,  ///< in none and selective
  kInNone,      ///< in none alone: cheap to compute again
};

struct ActivationRow {
  std::string_view name;
  View BlockActivations::*view;
  std::int64_t per_token;  ///< elements
  DType dtype;
  Kept kept;
};

/// The table.
std::vector<ActivationRow> activation_table(const LlamaConfig& config, DType dtype);

/// Whether the backward finds the row's tensor as the forward left it.
bool is_kept(Kept kept, ActivationCheckpointing mode);

/// The activations of all blocks of one pass. What is kept has memory for each layer (label "activations"), the rest
/// has one buffer that all layers share (label "activation scratch"). Memory belongs to the caller's arena scope.
class ActivationSet {
 public:
  /// For a forward with a backward. `inputs` > 0: of input_sum there are so many (at most), which layers take in turns.
  ActivationSet(const LlamaConfig& config, DType dtype, ActivationCheckpointing mode, std::int64_t tokens, Arena& arena,
                std::int64_t inputs = 0);
  /// For a forward alone: all layers share everything.
  ActivationSet(const LlamaConfig& config, DType dtype, std::int64_t tokens, Arena& arena);

  const BlockActivations& layer(std::int64_t index) const { return layers_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<BlockActivations> layers_;
};

BlockGradients allocate_block_gradients(const LlamaConfig& config, DType dtype, std::int64_t tokens, Arena& arena);

inline constexpr std::string_view kActivationsLabel = "activations";
inline constexpr std::string_view kActivationScratchLabel = "activation scratch";

}  // namespace llama_zero
