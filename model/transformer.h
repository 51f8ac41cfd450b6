// Llama-2 forward and backward over one packed pass, written by hand.
//
// A block is a numbered list of ops (block.cpp): no allocation, no communication, no branch on how the run is
// distributed. Touvron et al., "Llama 2", 2023, section 2.2 (RMSNorm, SwiGLU, RoPE, grouped-query attention).
#pragma once

#include <cstdint>
#include <memory>

#include "core/arena.h"
#include "core/device.h"
#include "core/host_arena.h"
#include "core/pass.h"
#include "kernels/ops.h"
#include "model/config.h"
#include "model/host_copies.h"
#include "model/param_access.h"
#include "model/param_table.h"

namespace llama_zero {

/// What a block keeps between forward and backward; all give the same bits.
enum class ActivationCheckpointing {
  kNone,       ///< everything
  kSelective,  ///< all but the outputs of norms and swiglu, which backward recomputes (the default)
  kFull,       ///< the block's input only; backward runs the block's forward again
};

struct TransformerOptions {
  DType dtype = DType::kF32;  ///< storage of weights and activations
  ActivationCheckpointing checkpointing = ActivationCheckpointing::kSelective;
  std::int64_t logits_chunk = 2048;  ///< tokens whose logits exist at a time; the full logits never do
  bool cpu_checkpointing = false;    ///< for whoever has host memory to give: keep_inputs_on
};

/// Where the gradient of the loss starts: d(sum of losses) is multiplied by factor * (*loss_scale).
struct BackwardSeed {
  double factor = 1.0;
  ConstView loss_scale;  ///< fp32 [1] on the device, or absent
};

class Transformer {
 public:
  /// `max_positions`: the longest document it will see (size of the RoPE table). Persistent memory comes from `arena`,
  /// labels "rope table". All references must outlive the object.
  Transformer(const ParamTable& table, const TransformerOptions& options, std::int64_t max_positions, Device& device,
              Ops& ops, Arena& arena);
  ~Transformer();
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  /// From now on block inputs wait in host memory for their backward (model/host_checkpoints.h), brought there and back
  /// by `copies`; both must outlive the object. The same bits.
  void keep_inputs_on(HostArena& host, HostCopies& copies);

  /// One forward and backward. Adds the pass's sum of losses to `loss_sum` (fp64 [1], device); gradients go to `sink`,
  /// unit L+1 first. Activations come from the arena, label "activations", and are given back before the return.
  void forward_backward(const Pass& pass, const BackwardSeed& seed, ParamSource& params, GradSink& sink, View loss_sum,
                        Stream& stream);

  /// Forward alone: adds the pass's sum of losses to `loss_sum`.
  void forward_loss(const Pass& pass, ParamSource& params, View loss_sum, Stream& stream);

  /// Logits of every token of the pass, in the model's dtype, to `logits` [T, V] on the device. For small passes:
  /// tests.
  void forward_logits(const Pass& pass, ParamSource& params, View logits, Stream& stream);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llama_zero
