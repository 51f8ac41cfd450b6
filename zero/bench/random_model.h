// A model and data of the right size in no time, for benchmarks.
#pragma once

#include <cstdint>
#include <vector>

#include "core/pass.h"
#include "model/param_table.h"
#include "zero/engine.h"

namespace llama_zero::bench {

/// `count` passes of `rows` documents of `sequence` tokens each, drawn from `vocabulary`; other tokens for another
/// `seed`. Every token but a document's first is a target.
std::vector<Pass> random_passes(std::int64_t count, std::int64_t rows, std::int64_t sequence, std::int64_t vocabulary,
                                std::uint64_t seed);

/// Weights of the right size: norms are one, the rest repeats a block of normal numbers. `table` must outlive it.
Engine::UnitReader fast_weights(const ParamTable& table);

/// How benchmarks train: `dtype` with gradients in it, fp32 states, AdamW, clipping, and fp16's loss scale low enough
/// that no step is skipped. Stage 0.
EngineOptions bench_engine_options(DType dtype, std::int64_t sequence);

/// Floating-point operations of a token's forward and backward pass: 6 for each weight of a matrix, and attention's.
double flops_per_token(const ParamTable& table, std::int64_t sequence);

}  // namespace llama_zero::bench
