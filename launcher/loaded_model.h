// A model with its weights in memory, for generate and eval. Every rank holds all of it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/arena.h"
#include "data/tokenizer.h"
#include "launcher/cli.h"
#include "launcher/model_source.h"
#include "launcher/runtime.h"
#include "model/generator.h"
#include "model/replicated_params.h"

namespace llama_zero {

/// "fp32", "fp16" or "bf16". Throws Error for anything else.
DType parse_storage_dtype(const std::string& name);

class LoadedModel {
 public:
  /// Reads or initialises the weights. Waits for no other rank. Throws Error naming what is wrong with the folder or
  /// the tokenizer.
  LoadedModel(const ModelArguments& arguments, std::int64_t sequence_length, Runtime& runtime);

  const ModelSource& source() const { return source_; }
  /// Not for a model that was loaded without_tokenizer.
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  DType dtype() const { return dtype_; }
  std::int64_t max_positions() const { return source_.config.model.max_position_embeddings; }
  /// "runs/x/final: 4 layers, ...; fp16"
  std::string description() const;

  /// Continuations of the prompts; every prompt must leave a position for its answer.
  std::vector<TokenIds> generate(std::span<const TokenIds> prompts, std::int64_t max_new_tokens,
                                 const SamplingOptions& sampling);

  /// Sum of the losses over all loss tokens of the passes.
  double sum_losses(std::span<const Pass> passes);

 private:
  void load_weights(std::uint64_t seed);
  Stream& stream() { return *stream_; }

  Runtime& runtime_;
  ModelSource source_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<ParamTable> table_;
  DType dtype_ = DType::kF32;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Arena> arena_;  ///< the weights
  std::unique_ptr<ReplicatedParams> params_;
};

}  // namespace llama_zero
