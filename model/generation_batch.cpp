#include "model/generation_batch.h"

#include <algorithm>

#include "model/activations.h"
#include "model/block.h"
#include "model/head.h"
#include "model/host_floats.h"
#include "model/pass_inputs.h"
#include "model/unit_walk.h"

namespace llama_zero {
namespace {

struct Sequence {
  TokenIds answer;
  std::int32_t last = 0;    ///< the newest token, whose key and value are not yet in the cache
  std::int32_t length = 0;  ///< tokens in the cache
  std::int64_t limit = 0;   ///< longest answer
  bool finished = false;
};

class Batch {
 public:
  Batch(const GenerationResources& resources, std::span<const TokenIds> prompts, std::size_t first_sequence,
        const GenerationRequest& request)
      : r_(resources),
        config_(resources.table.config()),
        prompts_(prompts),
        first_sequence_(first_sequence),
        request_(request),
        scope_(resources.arena),
        planning_(resources.arena.device().type() == DeviceType::kNull) {
    for (const TokenIds& prompt : prompts) {
      const auto length = static_cast<std::int32_t>(prompt.size());
      const std::int64_t limit = std::min(request.max_new_tokens, r_.options.max_positions - length);
      sequences_.push_back({{}, 0, length, limit, false});
      capacity_ = std::max(capacity_, length + limit);
    }
    const auto batch = static_cast<std::int64_t>(prompts.size());
    for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
      caches_.push_back({cache(batch), cache(batch), capacity_});
    }
    logits_ = r_.arena.allocate("logits", r_.options.dtype, batch * config_.vocab_size);
  }

  std::vector<TokenIds> run() {
    for (std::size_t begin = 0; begin < prompts_.size();) begin = prefill(begin);
    if (planning_) {
      for (Sequence& sequence : sequences_) sequence.length = static_cast<std::int32_t>(capacity_ - 1);
      decode(sequences_.size());
    }
    for (std::size_t active = active_count(); active > 0; active = active_count()) decode(active);
    std::vector<TokenIds> answers;
    for (Sequence& sequence : sequences_) answers.push_back(std::move(sequence.answer));
    return answers;
  }

 private:
  std::int64_t cache_width() const { return config_.num_key_value_heads * config_.head_dim; }
  View cache(std::int64_t batch) {
    return r_.arena.allocate("kv cache", r_.options.dtype, batch * capacity_ * cache_width());
  }

  /// Slots of sequences [begin, begin + count).
  LayerCache cache_of(std::int64_t layer, std::size_t begin, std::size_t count) const {
    const LayerCache& whole = caches_[static_cast<std::size_t>(layer)];
    const std::int64_t stride = capacity_ * cache_width();
    const std::int64_t offset = static_cast<std::int64_t>(begin) * stride;
    const std::int64_t elements = static_cast<std::int64_t>(count) * stride;
    return {whole.keys.slice(offset, elements), whole.values.slice(offset, elements), capacity_};
  }

  View allocate_hidden(std::int64_t rows) {
    return r_.arena.allocate(kActivationScratchLabel, r_.options.dtype, rows * config_.hidden_size);
  }

  /// Sequences up to the last one that still runs; finished ones among them are computed and ignored.
  std::size_t active_count() const {
    std::size_t count = planning_ ? 0 : sequences_.size();
    while (count > 0 && sequences_[count - 1].finished) --count;
    return count;
  }

  /// As many prompts from `begin` on as fit one pass, back to back.
  Pass pack(std::size_t begin, std::size_t& end) const {
    Pass pass;
    pass.cu_seqlens.push_back(0);
    for (end = begin; end < prompts_.size(); ++end) {
      const TokenIds& prompt = prompts_[end];
      if (end > begin && pass.tokens.size() + prompt.size() > static_cast<std::size_t>(r_.options.prefill_tokens))
        break;
      pass.tokens.insert(pass.tokens.end(), prompt.begin(), prompt.end());
      for (std::size_t i = 0; i < prompt.size(); ++i) pass.positions.push_back(static_cast<std::int32_t>(i));
      pass.cu_seqlens.push_back(static_cast<std::int32_t>(pass.tokens.size()));
      pass.longest = std::max(pass.longest, static_cast<std::int64_t>(prompt.size()));
    }
    pass.targets.assign(pass.tokens.size(), kIgnoreTarget);
    pass.attended_tokens = pass.tokens_count();
    return pass;
  }

  /// Reads a group of prompts and chooses the first token of each answer; returns the end of the group.
  std::size_t prefill(std::size_t begin) {
    const Arena::Scope scope(r_.arena);
    std::size_t end = begin;
    const Pass pass = pack(begin, end);
    const PassInputs inputs = load_pass(pass, config_, r_.options.max_positions, r_.staging, r_.arena, r_.stream);
    const BlockContext context{config_,
                               r_.ops,
                               r_.stream,
                               inputs.tokens.numel(),
                               inputs.positions,
                               r_.cos_sin,
                               r_.options.max_positions,
                               inputs.documents};
    const ActivationSet acts(config_, r_.options.dtype, context.tokens, r_.arena);
    const View branch = allocate_hidden(context.tokens);
    const auto block = [&](std::int64_t layer, const BlockWeights& weights, const ResidualPair& input) {
      return block_prefill(context, weights, input, acts.layer(layer), branch, cache_of(layer, begin, end - begin));
    };
    const ResidualPair output = walk_forward(r_.table, context, inputs.tokens, r_.params, acts, block);
    choose_next(context, last_rows(output, pass), begin, end - begin);
    return end;
  }

  /// The pair's rows at the last token of each document: only they need logits.
  ResidualPair last_rows(const ResidualPair& pair, const Pass& pass) {
    const std::int64_t hidden = config_.hidden_size;
    const auto documents = static_cast<std::int64_t>(pass.cu_seqlens.size()) - 1;
    const View stream_rows = allocate_hidden(documents);
    const View branch_rows = allocate_hidden(documents);
    for (std::int64_t d = 0; d < documents; ++d) {
      const std::int64_t row = std::int64_t{pass.cu_seqlens[static_cast<std::size_t>(d) + 1]} - 1;
      r_.arena.device().copy(pair.stream.slice(row * hidden, hidden), stream_rows.slice(d * hidden, hidden), r_.stream);
      r_.arena.device().copy(pair.branch.slice(row * hidden, hidden), branch_rows.slice(d * hidden, hidden), r_.stream);
    }
    return {stream_rows, branch_rows};
  }

  View upload(const std::vector<std::int32_t>& values) {
    const View view = r_.arena.allocate(kActivationScratchLabel, DType::kI32, static_cast<std::int64_t>(values.size()));
    r_.arena.device().copy(ConstView::of(std::span<const std::int32_t>(values)), view, r_.stream);
    return view;
  }

  /// One token for each of the first `count` sequences.
  void decode(std::size_t count) {
    const Arena::Scope scope(r_.arena);
    std::vector<std::int32_t> host_tokens;
    std::vector<std::int32_t> host_lengths;
    for (std::size_t i = 0; i < count; ++i) {
      host_tokens.push_back(sequences_[i].last);
      host_lengths.push_back(sequences_[i].length);
    }
    const View tokens = upload(host_tokens);
    const View lengths = upload(host_lengths);  // a token's position is the number of tokens before it
    const BlockContext context{
        config_,    r_.ops, r_.stream, static_cast<std::int64_t>(count), lengths, r_.cos_sin, r_.options.max_positions,
        Documents{}};
    const ActivationSet acts(config_, r_.options.dtype, context.tokens, r_.arena);
    const View branch = allocate_hidden(context.tokens);
    const auto block = [&](std::int64_t layer, const BlockWeights& weights, const ResidualPair& input) {
      return block_decode(context, weights, input, acts.layer(layer), branch, cache_of(layer, 0, count), lengths,
                          host_lengths);
    };
    const ResidualPair output = walk_forward(r_.table, context, tokens, r_.params, acts, block);
    for (std::size_t i = 0; i < count; ++i) {
      if (!sequences_[i].finished) sequences_[i].length += 1;
    }
    choose_next(context, output, 0, count);
  }

  /// Logits of sequences [begin, begin + count), then their next tokens. Waits for the device.
  void choose_next(const BlockContext& pass_context, const ResidualPair& rows, std::size_t begin, std::size_t count) {
    BlockContext context = pass_context;
    context.tokens = static_cast<std::int64_t>(count);
    const View logits = logits_.slice(0, context.tokens * config_.vocab_size);
    {
      const HeadLease head(r_.table, r_.params, r_.stream);
      r_.params.prefetch(r_.table.embedding_unit());
      head_logits(context, head.weights(), rows, logits, r_.arena);
    }
    if (planning_) return;
    const std::vector<float> host = copy_to_host_floats(logits, r_.arena.device(), r_.stream);
    const auto vocab = static_cast<std::size_t>(config_.vocab_size);
    for (std::size_t i = 0; i < count; ++i) {
      accept(begin + i, std::span(host).subspan(i * vocab, vocab));
    }
  }

  void accept(std::size_t index, std::span<const float> logits) {
    Sequence& sequence = sequences_[index];
    if (sequence.finished) return;
    const std::int32_t token = choose_token(logits, request_.sampling, first_sequence_ + index, sequence.answer.size());
    sequence.last = token;
    if (std::ranges::find(request_.eos_token_ids, token) != request_.eos_token_ids.end()) {
      sequence.finished = true;
      return;
    }
    sequence.answer.push_back(token);
    sequence.finished = static_cast<std::int64_t>(sequence.answer.size()) >= sequence.limit;
  }

  const GenerationResources& r_;
  const LlamaConfig& config_;
  std::span<const TokenIds> prompts_;
  std::size_t first_sequence_;
  const GenerationRequest& request_;
  Arena::Scope scope_;
  bool planning_;
  std::int64_t capacity_ = 0;
  std::vector<Sequence> sequences_;
  std::vector<LayerCache> caches_;
  View logits_;
};

}  // namespace

std::vector<TokenIds> generate_batch(const GenerationResources& resources, std::span<const TokenIds> prompts,
                                     std::size_t first_sequence, const GenerationRequest& request) {
  return Batch(resources, prompts, first_sequence, request).run();
}

}  // namespace llama_zero
