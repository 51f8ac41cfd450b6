#include "zero/bench/random_model.h"

#include <algorithm>

#include "core/rng.h"

namespace llama_zero::bench {
namespace {

constexpr std::int64_t kBlock = std::int64_t{1} << 20;
constexpr std::int64_t kUnitOffset = 7919;  // so that units differ

}  // namespace

std::vector<Pass> random_passes(std::int64_t count, std::int64_t rows, std::int64_t sequence, std::int64_t vocabulary,
                                std::uint64_t seed) {
  const std::int64_t tokens = sequence * rows;
  const CounterRng rng(seed, seed);
  std::vector<Pass> passes(static_cast<std::size_t>(count));
  std::uint64_t next = 0;
  for (Pass& pass : passes) {
    pass.cu_seqlens.push_back(0);
    for (std::int64_t i = 0; i < tokens; ++i) {
      const std::int64_t position = i % sequence;
      pass.tokens.push_back(static_cast<std::int32_t>(rng.uniform(next++) * static_cast<double>(vocabulary)));
      pass.positions.push_back(static_cast<std::int32_t>(position));
      if (position > 0) pass.targets.push_back(pass.tokens.back());
      if (position + 1 < sequence) continue;
      pass.targets.push_back(kIgnoreTarget);
      pass.cu_seqlens.push_back(static_cast<std::int32_t>(i + 1));
    }
    pass.attended_tokens = tokens;
    pass.longest = sequence;
    pass.loss_tokens = tokens - rows;
    pass.rows = rows;
  }
  return passes;
}

Engine::UnitReader fast_weights(const ParamTable& table) {
  std::vector<float> block(kBlock);
  const CounterRng rng(1, 1);
  for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<float>(0.02 * rng.normal(i));
  return [&table, block = std::move(block)](int unit, std::int64_t begin, std::span<float> out) {
    const auto end = begin + static_cast<std::int64_t>(out.size());
    for (std::int64_t i = begin; i < end;) {
      const std::int64_t from = (i + kUnitOffset * unit) % kBlock;
      const std::int64_t run = std::min(end - i, kBlock - from);
      std::copy_n(block.begin() + from, run, out.begin() + (i - begin));
      i += run;
    }
    for (const int index : table.units()[static_cast<std::size_t>(unit)].params) {
      const Param& param = table.params()[static_cast<std::size_t>(index)];
      if (param.init != InitRule::kOnes) continue;
      const std::int64_t from = std::max(begin, param.offset);
      const std::int64_t to = std::min(end, param.offset + param.numel());
      for (std::int64_t i = from; i < to; ++i) out[static_cast<std::size_t>(i - begin)] = 1.0F;
    }
  };
}

EngineOptions bench_engine_options(DType dtype, std::int64_t sequence) {
  EngineOptions engine;
  engine.dtype = engine.grad_accum_dtype = dtype;
  engine.scaler.check_overflow = engine.scaler.dynamic = dtype == DType::kF16;
  if (engine.scaler.dynamic) engine.scaler.initial_scale = 4096.0F;
  engine.gradient_clipping = 1.0;
  engine.optimizer.weight_decay = 0.01;
  ScheduleRow row;
  row.lr = 2e-5;
  engine.schedule = {row};
  engine.max_positions = sequence;
  return engine;
}

double flops_per_token(const ParamTable& table, std::int64_t sequence) {
  const LlamaConfig& config = table.config();
  return 6.0 * static_cast<double>(table.total_numel() - config.vocab_size * config.hidden_size) +
         6.0 * static_cast<double>(config.num_hidden_layers * config.hidden_size * sequence);
}

}  // namespace llama_zero::bench
