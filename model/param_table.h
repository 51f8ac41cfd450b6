// The single source for every parameter: name, shape, unit, flat offset, initialisation, Hugging Face names.
//
// A unit is what moves together: unit 0 the embedding, units 1..L the blocks, unit L + 1 the head (final norm and, when
// untied, lm_head). Each unit is one contiguous flat region. Tied embeddings: the head reads unit 0's table, whose
// gradient is committed once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/view.h"
#include "model/config.h"

namespace llama_zero {

/// A Hugging Face tensor that is rows [row_begin, row_begin + rows) of a parameter (Q, K, V are one matrix here; so are
/// gate and up).
struct HfSlice {
  std::string name;  ///< "model.layers.3.self_attn.q_proj.weight"
  std::int64_t row_begin = 0;
  std::int64_t rows = 0;
};

enum class InitRule {
  kOnes,            ///< norm weights
  kNormal,          ///< N(0, 0.02^2)
  kNormalResidual,  ///< N(0, (0.02 / sqrt(2 L))^2): projections that write into the residual stream (GPT-2,
                    ///< section 2.3)
};

/// Which axis tensor parallelism would split.
enum class TpAxis { kNone, kRows, kColumns };

struct Param {
  std::string name;  ///< "blocks.3.qkv"
  int unit = 0;
  std::int64_t rows = 0;  ///< 1 for norm weights
  std::int64_t columns = 0;
  std::int64_t offset = 0;  ///< elements from the start of the unit
  InitRule init = InitRule::kNormal;
  TpAxis tp_axis = TpAxis::kNone;
  bool weight_decay = true;  ///< false for norms and embeddings, for the option that exempts them
  std::vector<HfSlice> hf;

  std::int64_t numel() const { return rows * columns; }
  /// Shape of one of the Hugging Face tensors: [columns] for norm weights, else [rows, columns].
  std::vector<std::int64_t> hf_shape(const HfSlice& slice) const {
    if (init == InitRule::kOnes) return {columns};
    return {slice.rows, columns};
  }
};

struct Unit {
  std::string name;         ///< "embedding", "blocks.3", "head"
  std::int64_t numel = 0;   ///< elements without padding
  std::vector<int> params;  ///< indices into ParamTable::params, in offset order, without gaps
};

class ParamTable {
 public:
  explicit ParamTable(const LlamaConfig& config);

  const LlamaConfig& config() const { return config_; }
  const std::vector<Unit>& units() const { return units_; }
  const std::vector<Param>& params() const { return params_; }
  int unit_count() const { return static_cast<int>(units_.size()); }
  std::int64_t total_numel() const { return total_numel_; }

  int embedding_unit() const { return 0; }
  int block_unit(std::int64_t layer) const { return static_cast<int>(layer) + 1; }
  int head_unit() const { return unit_count() - 1; }

  /// Parameter of a unit by its short name: "embed_tokens"; "input_norm", "qkv", "attention_out",
  /// "post_attention_norm", "gate_up", "down"; "final_norm", "lm_head". Throws Error for a name the unit does not have.
  const Param& find(int unit, const std::string& short_name) const;

 private:
  LlamaConfig config_;
  std::vector<Unit> units_;
  std::vector<Param> params_;
  std::int64_t total_numel_ = 0;
};

/// Initial values of elements [begin, begin + out.size()) of a parameter, in fp32: a function of (seed, parameter name,
/// element) alone, so every rank count and stage starts from the same weights.
void initial_values(const ParamTable& table, const Param& param, std::uint64_t seed, std::int64_t begin,
                    std::span<float> out);

}  // namespace llama_zero
