// A pass's host arrays, checked and copied to the device.
#pragma once

#include <cstdint>

#include "core/arena.h"
#include "core/pass.h"
#include "kernels/ops.h"
#include "model/config.h"

namespace llama_zero {

/// Device copies of one pass; `documents` also refers to the pass's host array.
struct PassInputs {
  View tokens, targets, positions;  ///< i32 [T]
  Documents documents;
};

/// Throws Error naming index and value unless array sizes agree, documents tile the pass, tokens and targets lie in the
/// vocabulary (or are kIgnoreTarget) and positions below `max_positions`.
void check_pass(const Pass& pass, const LlamaConfig& config, std::int64_t max_positions);

/// Checks the pass and copies it into `arena` (label "activations"). `pass` must live until `stream` has passed the
/// copies.
PassInputs load_pass(const Pass& pass, const LlamaConfig& config, std::int64_t max_positions, Arena& arena,
                     Stream& stream);

}  // namespace llama_zero
