// Text generation: prompts in, token ids out, many sequences at once, each with its key-value cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/arena.h"
#include "core/device.h"
#include "kernels/ops.h"
#include "model/param_access.h"
#include "model/param_table.h"
#include "model/sampling.h"

namespace llama_zero {

struct GeneratorOptions {
  DType dtype = DType::kF32;       ///< of weights, activations and caches: fp32, fp16 or bf16
  std::int64_t max_positions = 0;  ///< tokens of prompt and answer together; 0: all that the model has
  std::int64_t max_batch = 32;     ///< sequences that are worked on at once
  std::int64_t prefill_tokens =
      2048;  ///< prompts are read in passes of about this many tokens, a whole prompt at least
};

struct GenerationRequest {
  std::int64_t max_new_tokens = 128;
  std::vector<std::int32_t> eos_token_ids{2};  ///< any of them ends a sequence
  SamplingOptions sampling;
};

using TokenIds = std::vector<std::int32_t>;

class Generator {
 public:
  /// Takes the RoPE table from `arena` now (label "rope table"), caches (label "kv cache") and activations while
  /// `generate` runs. The workspace of `ops` is the caller's matter (plan_generation). All references must outlive the
  /// object.
  Generator(const ParamTable& table, const GeneratorOptions& options, Device& device, Ops& ops, Arena& arena);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  /// The continuation of each prompt, without prompt and end token: up to max_new_tokens, or until prompt and answer
  /// fill max_positions. Prompts beyond max_batch wait for the next batch. Waits for the device. With a ParamSource
  /// that is collective, every rank must call with the same prompts. Throws Error naming a prompt that is empty, that
  /// leaves no position for an answer, or that has a token outside the vocabulary.
  std::vector<TokenIds> generate(std::span<const TokenIds> prompts, const GenerationRequest& request,
                                 ParamSource& params, Stream& stream);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// What `generate` will take for these prompts, weights not counted.
struct GenerationPlan {
  std::size_t arena_bytes = 0;
  std::size_t workspace_bytes = 0;
};

/// Found by running it on the null device. `sizing` answers for the backend that will run.
GenerationPlan plan_generation(const ParamTable& table, const GeneratorOptions& options, const Ops& sizing,
                               std::span<const TokenIds> prompts, const GenerationRequest& request);

}  // namespace llama_zero
