#include "model/transformer.h"

#include <optional>

#include "model/activations.h"
#include "model/block.h"
#include "model/head.h"
#include "model/host_checkpoints.h"
#include "model/pass_inputs.h"
#include "model/rope_table.h"
#include "model/unit_lease.h"
#include "model/unit_walk.h"

namespace llama_zero {

class Transformer::Impl {
 public:
  Impl(const ParamTable& table, const TransformerOptions& options, std::int64_t max_positions, Ops& ops, Arena& arena)
      : table_(table),
        config_(table.config()),
        options_(options),
        max_positions_(max_positions),
        ops_(ops),
        arena_(arena),
        staging_(arena.device()),
        cos_sin_(make_rope_table(config_, options.dtype, max_positions, arena)) {
    require(options.logits_chunk >= 1, "logits_chunk = {} must be at least 1", options.logits_chunk);
  }

  void keep_inputs_on(HostArena& host, HostCopies& copies) {
    checkpoints_.emplace(host, copies, arena_.device(), config_.num_hidden_layers, config_.hidden_size, options_.dtype);
  }

  void forward_backward(const Pass& pass, const BackwardSeed& seed, ParamSource& params, GradSink& sink, View loss_sum,
                        Stream& stream) {
    const Arena::Scope scope(arena_);
    const PassInputs inputs = load_pass(pass, config_, max_positions_, staging_, arena_, stream);
    const BlockContext context = make_context(inputs, stream);
    const ActivationSet acts(config_, options_.dtype, options_.checkpointing, context.tokens, arena_,
                             checkpoints_ ? HostCheckpoints::kOnDevice : 0);
    const View branch = allocate_hidden(context);
    const View gradient = allocate_hidden(context);

    if (checkpoints_) checkpoints_->begin_pass(context.tokens);
    const ResidualPair output = forward(context, inputs, params, acts, branch, checkpoints_ ? &*checkpoints_ : nullptr);
    const std::optional<UnitGradient> tied =
        head_backward(context, inputs, seed, params, sink, output, branch, gradient, loss_sum);
    backward(context, params, sink, acts, branch, gradient);
    embedding_backward(context, inputs, sink, tied, gradient);
  }

  void forward_loss(const Pass& pass, ParamSource& params, View loss_sum, Stream& stream) {
    const Arena::Scope scope(arena_);
    const PassInputs inputs = load_pass(pass, config_, max_positions_, staging_, arena_, stream);
    const BlockContext context = make_context(inputs, stream);
    const ActivationSet acts(config_, options_.dtype, context.tokens, arena_);
    const ResidualPair output = forward(context, inputs, params, acts, allocate_hidden(context));
    const HeadLease head(table_, params, stream);
    head_loss(context, head.weights(), output, {inputs.targets, inputs.loss_weights}, options_.logits_chunk, loss_sum,
              arena_);
  }

  void forward_logits(const Pass& pass, ParamSource& params, View logits, Stream& stream) {
    const Arena::Scope scope(arena_);
    const PassInputs inputs = load_pass(pass, config_, max_positions_, staging_, arena_, stream);
    const BlockContext context = make_context(inputs, stream);
    const ActivationSet acts(config_, options_.dtype, context.tokens, arena_);
    const ResidualPair output = forward(context, inputs, params, acts, allocate_hidden(context));
    const HeadLease head(table_, params, stream);
    head_logits(context, head.weights(), output, logits, arena_);
  }

 private:
  BlockContext make_context(const PassInputs& inputs, Stream& stream) const {
    return {config_, ops_, stream, inputs.tokens.numel(), inputs.positions, cos_sin_, max_positions_, inputs.documents};
  }

  View allocate_hidden(const BlockContext& context) {
    return arena_.allocate(kActivationScratchLabel, options_.dtype, context.tokens * config_.hidden_size);
  }

  ResidualPair forward(const BlockContext& context, const PassInputs& inputs, ParamSource& params,
                       const ActivationSet& acts, View branch, HostCheckpoints* checkpoints = nullptr) {
    const auto block = [&](std::int64_t layer, const BlockWeights& weights, const ResidualPair& input) {
      if (checkpoints != nullptr) checkpoints->before_forward(layer, context.stream);
      const ResidualPair output = block_forward(context, weights, input, acts.layer(layer), branch);
      if (checkpoints != nullptr) checkpoints->after_forward(layer, acts.layer(layer).input_sum, context.stream);
      return output;
    };
    return walk_forward(table_, context, inputs.tokens, params, acts, block);
  }

  /// Loss and gradient of the head. With tied embeddings returns the embedding's gradient, into which the head's part
  /// has been written.
  std::optional<UnitGradient> head_backward(const BlockContext& context, const PassInputs& inputs,
                                            const BackwardSeed& seed, ParamSource& params, GradSink& sink,
                                            const ResidualPair& output, View branch, View gradient, View loss_sum) {
    const HeadLease head(table_, params, context.stream);
    params.prefetch(table_.block_unit(config_.num_hidden_layers - 1));

    const int unit = table_.head_unit();
    const UnitGradient own = sink.acquire(unit, context.stream);
    std::optional<UnitGradient> tied;
    if (config_.tie_word_embeddings) tied = sink.acquire(table_.embedding_unit(), context.stream);
    HeadGradients grads;
    grads.final_norm = slice_param(table_, unit, "final_norm", own.gradient);
    grads.accumulate_norm = own.accumulate;
    grads.lm_head = tied ? slice_param(table_, table_.embedding_unit(), "embed_tokens", tied->gradient)
                         : slice_param(table_, unit, "lm_head", own.gradient);
    grads.accumulate_lm_head = tied ? tied->accumulate : own.accumulate;

    head_loss_backward(context, head.weights(), output, branch, {inputs.targets, inputs.loss_weights},
                       options_.logits_chunk, seed, grads, gradient, loss_sum, arena_);
    sink.commit(unit, context.stream);
    return tied;
  }

  void backward(const BlockContext& context, ParamSource& params, GradSink& sink, const ActivationSet& acts,
                View branch, View gradient) {
    const Arena::Scope scope(arena_);
    const BlockGradients scratch = allocate_block_gradients(config_, options_.dtype, context.tokens, arena_);
    for (std::int64_t layer = config_.num_hidden_layers - 1; layer >= 0; --layer) {
      const UnitLease lease(params, table_.block_unit(layer), context.stream);
      if (layer > 0) params.prefetch(table_.block_unit(layer - 1));
      const BlockWeights weights = slice_block(table_, lease.unit(), lease.weights());
      if (checkpoints_) {
        checkpoints_->before_backward(layer, layer > 0 ? acts.layer(layer - 1).input_sum : View{}, context.stream);
      }
      block_recompute(context, weights, options_.checkpointing, acts.layer(layer), branch);
      const UnitGradient grad = sink.acquire(lease.unit(), context.stream);
      block_backward(context, weights, acts.layer(layer), scratch, slice_block(table_, lease.unit(), grad.gradient),
                     grad.accumulate, gradient);
      sink.commit(lease.unit(), context.stream);
    }
  }

  void embedding_backward(const BlockContext& context, const PassInputs& inputs, GradSink& sink,
                          const std::optional<UnitGradient>& tied, View gradient) {
    const int unit = table_.embedding_unit();
    const UnitGradient own = tied ? *tied : sink.acquire(unit, context.stream);
    ops_.embedding_backward(
        {context.tokens, config_.hidden_size, config_.vocab_size, inputs.tokens, gradient,
         slice_param(table_, unit, "embed_tokens", own.gradient), tied.has_value() || own.accumulate},
        context.stream);
    sink.commit(unit, context.stream);
  }

  const ParamTable& table_;
  const LlamaConfig& config_;
  TransformerOptions options_;
  std::int64_t max_positions_;
  Ops& ops_;
  Arena& arena_;
  PassStaging staging_;
  ConstView cos_sin_;
  std::optional<HostCheckpoints> checkpoints_;
};

Transformer::Transformer(const ParamTable& table, const TransformerOptions& options, std::int64_t max_positions,
                         Device& device, Ops& ops, Arena& arena) {
  require(&arena.device() == &device, "transformer: arena '{}' belongs to another device", arena.name());
  impl_ = std::make_unique<Impl>(table, options, max_positions, ops, arena);
}
Transformer::~Transformer() = default;

void Transformer::keep_inputs_on(HostArena& host, HostCopies& copies) { impl_->keep_inputs_on(host, copies); }

void Transformer::forward_backward(const Pass& pass, const BackwardSeed& seed, ParamSource& params, GradSink& sink,
                                   View loss_sum, Stream& stream) {
  impl_->forward_backward(pass, seed, params, sink, loss_sum, stream);
}

void Transformer::forward_loss(const Pass& pass, ParamSource& params, View loss_sum, Stream& stream) {
  impl_->forward_loss(pass, params, loss_sum, stream);
}

void Transformer::forward_logits(const Pass& pass, ParamSource& params, View logits, Stream& stream) {
  impl_->forward_logits(pass, params, logits, stream);
}

}  // namespace llama_zero
