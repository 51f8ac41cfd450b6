// One batch of sequences from prompt to end; the inside of Generator.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/generator.h"
#include "model/pass_inputs.h"

namespace llama_zero {

/// What a batch works with; all outlive it.
struct GenerationResources {
  const ParamTable& table;
  const GeneratorOptions& options;
  Ops& ops;
  Arena& arena;
  ConstView cos_sin;
  ParamSource& params;
  Stream& stream;
  PassStaging& staging;
};

/// Continues all `prompts` at once. `first_sequence` is the number of the first of them among all prompts: it keys the
/// random choices, so that they do not depend on the batch size. On the null device one step stands for all, at the
/// largest lengths.
std::vector<TokenIds> generate_batch(const GenerationResources& resources, std::span<const TokenIds> prompts,
                                     std::size_t first_sequence, const GenerationRequest& request);

}  // namespace llama_zero
