// Small models for tests: weights with real signal in them, passes of several documents, gradients caught in plain
// buffers.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/device.h"
#include "core/rng.h"
#include "kernels/ops.h"
#include "model/param_table.h"
#include "model/replicated_params.h"
#include "model/transformer.h"

namespace llama_zero::test {

/// Two layers; vocabulary 509 is prime, so no size divides anything.
inline LlamaConfig small_config(std::int64_t kv_heads = 4, bool tied = false) {
  LlamaConfig config;
  config.vocab_size = 509;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = kv_heads;
  config.head_dim = 8;
  config.max_position_embeddings = 64;
  config.tie_word_embeddings = tied;
  return config;
}

/// Weights large enough that every part of the model matters: matrices N(0, 0.25^2), norms N(1, 0.2^2); with
/// `rounded_to` the values are those that this dtype can hold.
inline UnitReader strong_weights(const ParamTable& table, std::uint64_t seed, DType rounded_to = DType::kF32) {
  return [&table, seed, rounded_to](int unit, std::int64_t begin, std::span<float> out) {
    const CounterRng rng(seed, static_cast<std::uint64_t>(unit));
    for (const int index : table.units()[static_cast<std::size_t>(unit)].params) {
      const Param& param = table.params()[static_cast<std::size_t>(index)];
      for (std::size_t i = 0; i < out.size(); ++i) {
        const std::int64_t element = begin + static_cast<std::int64_t>(i);
        if (element < param.offset || element >= param.offset + param.numel()) continue;
        const double normal = rng.normal(static_cast<std::uint64_t>(element));
        auto value = static_cast<float>(param.init == InitRule::kOnes ? 1.0 + 0.2 * normal : 0.25 * normal);
        if (rounded_to == DType::kF16) value = static_cast<float>(Half(value));
        if (rounded_to == DType::kBF16) value = static_cast<float>(BFloat16(value));
        out[i] = value;
      }
    }
  };
}

struct PassShape {
  std::vector<int> lengths;  ///< of the attended documents
  int padding = 0;           ///< tokens of the padding document
  int masked_prefix = 1;     ///< first targets of each document that are ignored
  std::uint64_t seed = 1;
};

/// Random tokens; document d's content depends on (seed, first_document + d) alone.
inline Pass make_pass(const PassShape& shape, std::int64_t vocab, std::uint64_t first_document = 0) {
  Pass pass;
  pass.cu_seqlens.push_back(0);
  for (std::size_t d = 0; d < shape.lengths.size(); ++d) {
    const CounterRng rng(shape.seed, first_document + d);
    const int length = shape.lengths[d];
    const auto token = [&](int i) {
      return static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(vocab)));
    };
    for (int i = 0; i < length; ++i) {
      pass.tokens.push_back(token(i));
      pass.positions.push_back(i);
      const bool counts = i >= shape.masked_prefix && i + 1 < length;
      pass.targets.push_back(counts ? token(i + 1) : kIgnoreTarget);
      pass.loss_tokens += counts ? 1 : 0;
    }
    pass.cu_seqlens.push_back(static_cast<std::int32_t>(pass.tokens.size()));
    pass.longest = std::max<std::int64_t>(pass.longest, length);
  }
  pass.attended_tokens = pass.tokens_count();
  pass.rows = static_cast<std::int64_t>(shape.lengths.size());
  for (int i = 0; i < shape.padding; ++i) {
    pass.tokens.push_back(0);
    pass.positions.push_back(i);
    pass.targets.push_back(kIgnoreTarget);
  }
  if (shape.padding > 0) pass.cu_seqlens.push_back(static_cast<std::int32_t>(pass.tokens.size()));
  return pass;
}

/// Host copy of any floating view, widened.
inline std::vector<double> to_doubles(ConstView view) {
  std::vector<double> values(static_cast<std::size_t>(view.numel()));
  const auto fill = [&]<typename T>(const T* source) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if constexpr (std::is_same_v<T, double>) {
        values[i] = source[i];
      } else {
        values[i] = static_cast<double>(static_cast<float>(source[i]));
      }
    }
  };
  switch (view.dtype()) {
    case DType::kF64:
      fill(view.as<double>());
      break;
    case DType::kF32:
      fill(view.as<float>());
      break;
    case DType::kF16:
      fill(view.as<Half>());
      break;
    default:
      fill(view.as<BFloat16>());
      break;
  }
  return values;
}

/// Gradients in one buffer a unit, full of NaN until written; records the order of commits.
class CatchingSink final : public GradSink {
 public:
  CatchingSink(const ParamTable& table, DType dtype, bool accumulate = false) : accumulate_(accumulate), dtype_(dtype) {
    for (const Unit& unit : table.units()) {
      bytes_.emplace_back(static_cast<std::size_t>(unit.numel) * size_of(dtype), accumulate ? 0x00 : 0xff);
      numel_.push_back(unit.numel);
    }
  }
  UnitGradient acquire(int unit, Stream&) override {
    acquired.push_back(unit);
    return {view(unit), accumulate_};
  }
  void commit(int unit, Stream&) override { committed.push_back(unit); }

  /// Later passes add to what is there.
  void set_accumulate(bool accumulate) { accumulate_ = accumulate; }
  View view(int unit) {
    auto& bytes = bytes_[static_cast<std::size_t>(unit)];
    return {reinterpret_cast<std::byte*>(bytes.data()), numel_[static_cast<std::size_t>(unit)], dtype_};
  }
  /// The gradient bytes of all units.
  const std::vector<std::vector<unsigned char>>& bytes() const { return bytes_; }
  std::vector<double> values(int unit) { return to_doubles(view(unit)); }

  std::vector<int> acquired, committed;

 private:
  bool accumulate_;
  DType dtype_;
  std::vector<std::vector<unsigned char>> bytes_;
  std::vector<std::int64_t> numel_;
};

/// A model on the CPU, ready to run. Released arena memory is filled with NaN.
class ModelFixture {
 public:
  explicit ModelFixture(const LlamaConfig& config, DType dtype_ = DType::kF32, std::uint64_t seed = 1,
                        DType weights_rounded_to = DType::kF32)
      : table(config),
        dtype(dtype_),
        device(make_cpu_device()),
        stream(device->create_stream("test")),
        ops(make_cpu_ops(1)),
        arena(*device, std::size_t{48} << 20U, "test", {true}),
        params(table, dtype, arena) {
    ops->set_workspace(arena.allocate("workspace", DType::kU8, std::int64_t{8} << 20));
    params.load(strong_weights(table, seed, weights_rounded_to), *ops, *stream);
  }

  TransformerOptions options(ActivationCheckpointing mode = ActivationCheckpointing::kSelective,
                             std::int64_t logits_chunk = 2048) const {
    return {dtype, mode, logits_chunk};
  }

  /// Sum of losses; gradients to `sink`.
  double forward_backward(const Pass& pass, CatchingSink& sink, const TransformerOptions& with,
                          const BackwardSeed& seed = {}) {
    const Arena::Scope scope(arena);
    double sum = 0.0;
    Transformer model(table, with, table.config().max_position_embeddings, *device, *ops, arena);
    model.forward_backward(pass, seed, params, sink, View::of(std::span<double>(&sum, 1)), *stream);
    return sum;
  }

  double forward_loss(const Pass& pass, std::int64_t logits_chunk = 2048) {
    const Arena::Scope scope(arena);
    double sum = 0.0;
    Transformer model(table, options(ActivationCheckpointing::kSelective, logits_chunk),
                      table.config().max_position_embeddings, *device, *ops, arena);
    model.forward_loss(pass, params, View::of(std::span<double>(&sum, 1)), *stream);
    return sum;
  }

  /// Logits [T, V] of a pass, widened.
  std::vector<double> forward_logits(const Pass& pass) {
    const Arena::Scope scope(arena);
    const View logits = arena.allocate("logits", dtype, pass.tokens_count() * table.config().vocab_size);
    Transformer model(table, options(), table.config().max_position_embeddings, *device, *ops, arena);
    model.forward_logits(pass, params, logits, *stream);
    return to_doubles(logits);
  }

  ParamTable table;
  DType dtype;
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Ops> ops;
  Arena arena;
  ReplicatedParams params;
};

}  // namespace llama_zero::test
