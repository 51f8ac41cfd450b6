// One fixture of tests/data/golden, and our model with the same weights.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/pass.h"
#include "model/config.h"
#include "model/generator.h"
#include "model/param_table.h"
#include "model/replicated_params.h"
#include "model/safetensors.h"
#include "tests/golden/backend.h"

namespace llama_zero::test {

struct Golden {
  explicit Golden(const std::string& case_name);

  std::string name;
  nlohmann::json json;
  LlamaConfig config;       ///< read from what transformers wrote
  SafetensorsFile results;  ///< "logits" and "gradient.<parameter>"

  std::vector<float> result(const std::string& tensor) const;
  /// Documents packed into one pass with a padding document behind them; the first third of each is its prompt.
  Pass pass() const;
};

std::vector<std::string> golden_names();

/// Document `number` of a set, by the hash rule.
TokenIds golden_document(const std::string& set, std::size_t number, std::int64_t length, std::int64_t vocab);
/// Packs documents as Golden::pass does.
Pass pack_documents(std::span<const TokenIds> documents);

/// The weights of the hash rule; `table` must outlive the reader.
UnitReader golden_weights(const ParamTable& table);

/// |a - b| / |b| in the 2-norm.
double distance(std::span<const float> a, std::span<const float> b);
/// The largest |a - b| over the largest |b|.
double worst(std::span<const float> a, std::span<const float> b);

/// What transformers' run is compared with.
struct Evaluation {
  std::vector<float> logits;                  ///< of every token of the pass
  double loss = 0.0;                          ///< sum
  std::vector<std::vector<float>> gradients;  ///< by unit, fp32
};

class GoldenModel {
 public:
  GoldenModel(const LlamaConfig& config, DType dtype, const std::string& backend);

  Evaluation evaluate(const Pass& pass);
  std::vector<TokenIds> greedy(std::span<const TokenIds> prompts, std::int64_t count);
  const ParamTable& table() const { return table_; }

 private:
  ParamTable table_;
  DType dtype_;
  Backend backend_;
  std::unique_ptr<Stream> stream_;
  Arena arena_;
  ReplicatedParams params_;
};

}  // namespace llama_zero::test
