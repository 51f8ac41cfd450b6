#include "data/loader.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "data/packer.h"
#include "data/pass_builder.h"

namespace llama_zero {
namespace {

/// Sum of the `count` largest of ascending lengths.
std::int64_t sum_of_longest(const std::vector<std::int64_t>& lengths, std::int64_t count) {
  return std::accumulate(lengths.end() - static_cast<std::ptrdiff_t>(count), lengths.end(), std::int64_t{0});
}

std::string plural(std::int64_t count, const std::string& singular, const std::string& more) {
  return fmt::format("{} {}", count, count == 1 ? singular : more);
}

}  // namespace

Loader::Loader(const TokenFile& file, const LoaderOptions& options) : file_(file), options_(options) {
  validate_options();
  require(file.rows() <= std::int64_t{UINT32_MAX}, "{} has {} rows; at most {} are supported", file.path().string(),
          file.rows(), UINT32_MAX);
  for (std::int64_t row = 0; row < file.rows(); ++row) {
    if (loss_tokens(row) <= 0) continue;
    trainable_.push_back(static_cast<std::uint32_t>(row));
    lengths_.push_back(file.row_tokens(row));
  }
  require(!trainable_.empty(),
          "{}: no row has a token to learn: every prompt fills the sequence of {} tokens; raise the sequence length",
          file.path().string(), file.key().max_tokens);
  std::sort(lengths_.begin(), lengths_.end());
  const std::int64_t needed = round_up(lengths_.back(), options.pass_alignment);
  require(!options.coalesce || pass_limit() >= needed,
          "max_tokens_per_pass {} cannot hold the longest row of {} tokens; raise it to {} at least",
          options.max_tokens_per_pass, lengths_.back(), needed);
}

void Loader::validate_options() const {
  const LoaderOptions& o = options_;
  require(o.micro_batch > 0 && o.accumulation > 0 && o.ranks > 0,
          "micro-batch {}, accumulation {} and ranks {} must be > 0", o.micro_batch, o.accumulation, o.ranks);
  require(o.global_batch == o.micro_batch * o.accumulation * o.ranks, "global batch {} != {} x {} x {}", o.global_batch,
          o.micro_batch, o.accumulation, o.ranks);
  require(o.rank >= 0 && o.rank < o.ranks, "rank {} of {}", o.rank, o.ranks);
  require(o.pass_alignment > 0, "pass_alignment {} must be > 0", o.pass_alignment);
}

std::int64_t Loader::loss_tokens(std::int64_t row) const {
  return document_loss_tokens(file_.row_tokens(row), file_.prompt_tokens(row), options_.train_on_prompt);
}

std::int64_t Loader::pass_limit() const {
  return options_.max_tokens_per_pass / options_.pass_alignment * options_.pass_alignment;
}

std::int64_t Loader::batches_per_epoch() const {
  return (trainable_rows() + options_.global_batch - 1) / options_.global_batch;
}

void Loader::restore(const LoaderPosition& position) {
  require(
      position.epoch >= 0 && position.batch_in_epoch >= 0 && position.batch_in_epoch < batches_per_epoch(),
      "data position epoch {}, batch {} is not one of {}, which has {} batches an epoch: was it saved with other data "
      "or another train_batch_size?",
      position.epoch, position.batch_in_epoch, file_.path().string(), batches_per_epoch());
  position_ = position;
}

void Loader::permute() {
  permutation_ = trainable_;
  permuted_epoch_ = position_.epoch;
  if (!options_.shuffle) return;
  const CounterRng rng(options_.seed, stream_id("epoch shuffle") + static_cast<std::uint64_t>(position_.epoch));
  for (std::size_t last = permutation_.size() - 1; last > 0; --last) {  // Fisher and Yates, Durstenfeld's form
    std::swap(permutation_[last], permutation_[rng.below(last, last + 1)]);
  }
}

std::vector<std::int64_t> Loader::batch_rows() {
  if (permuted_epoch_ != position_.epoch) permute();
  const std::int64_t begin = position_.batch_in_epoch * options_.global_batch;
  const std::int64_t end = std::min(begin + options_.global_batch, trainable_rows());
  return {permutation_.begin() + begin, permutation_.begin() + end};
}

GlobalBatch Loader::next() {
  const std::vector<std::int64_t> rows = batch_rows();
  GlobalBatch batch;
  batch.epoch = position_.epoch;
  batch.batch_in_epoch = position_.batch_in_epoch;
  batch.global_rows = static_cast<std::int64_t>(rows.size());
  batch.partial = batch.global_rows < options_.global_batch;
  for (const std::int64_t row : rows) {
    batch.global_tokens += file_.row_tokens(row);
    batch.global_loss_tokens += loss_tokens(row);
  }
  weigh_losses(rows, batch);
  const std::vector<RankPlan> plan = options_.coalesce ? plan_coalesced(rows) : plan_micro_steps(rows);
  batch.padded_tokens = aligned_tokens(plan) - batch.global_tokens;
  for (const PassPlan& pass : plan[static_cast<std::size_t>(options_.rank)]) batch.passes.push_back(build_pass(pass));
  if (++position_.batch_in_epoch == batches_per_epoch()) position_ = {position_.epoch + 1, 0};
  return batch;
}

void Loader::weigh_losses(const std::vector<std::int64_t>& rows, GlobalBatch& batch) {
  batch.loss_weight = static_cast<double>(batch.global_loss_tokens);
  if (!options_.mean_of_micro_batches) return;
  batch.loss_weight = 0.0;
  loss_weights_.clear();
  const auto micro = static_cast<std::size_t>(options_.micro_batch);
  for (std::size_t begin = 0; begin < rows.size(); begin += micro) {
    const std::size_t end = std::min(begin + micro, rows.size());
    std::int64_t tokens = 0;
    for (std::size_t i = begin; i < end; ++i) tokens += loss_tokens(rows[i]);
    for (std::size_t i = begin; i < end; ++i) loss_weights_[rows[i]] = 1.0F / static_cast<float>(tokens);
    batch.loss_weight += 1.0;
  }
}

std::vector<Loader::RankPlan> Loader::plan_coalesced(const std::vector<std::int64_t>& rows) const {
  std::vector<std::int64_t> lengths;
  for (const std::int64_t row : rows) lengths.push_back(file_.row_tokens(row));
  std::vector<RankPlan> plan;
  for (const Bin& dealt : deal_rows(lengths, options_.ranks, options_.pass_alignment)) {
    RankPlan& rank = plan.emplace_back();
    for (const Bin& bin : pack_rows(lengths, dealt, pass_limit(), options_.pass_alignment)) {
      PassPlan& pass = rank.emplace_back();
      for (const std::int64_t index : bin) pass.push_back(rows[static_cast<std::size_t>(index)]);
    }
  }
  std::size_t passes = 0;
  for (const RankPlan& rank : plan) passes = std::max(passes, rank.size());
  for (RankPlan& rank : plan) rank.resize(passes);
  return plan;
}

std::vector<Loader::RankPlan> Loader::plan_micro_steps(const std::vector<std::int64_t>& rows) const {
  const auto micro = static_cast<std::size_t>(options_.micro_batch);
  std::vector<RankPlan> plan(static_cast<std::size_t>(options_.ranks));
  for (std::size_t begin = 0; begin < rows.size(); begin += micro * plan.size()) {
    for (std::size_t rank = 0; rank < plan.size(); ++rank) {
      const std::size_t first = std::min(begin + rank * micro, rows.size());
      const std::size_t last = std::min(first + micro, rows.size());
      plan[rank].emplace_back(rows.data() + first, rows.data() + last);
    }
  }
  return plan;
}

std::int64_t Loader::aligned_tokens(const std::vector<RankPlan>& plan) const {
  std::int64_t total = 0;
  for (const RankPlan& rank : plan) {
    for (const PassPlan& pass : rank) {
      std::int64_t tokens = 0;
      for (const std::int64_t row : pass) tokens += file_.row_tokens(row);
      total += round_up(std::max(tokens, std::int64_t{1}), options_.pass_alignment);
    }
  }
  return total;
}

Pass Loader::build_pass(const PassPlan& rows) const {
  Pass pass;
  std::vector<std::int32_t> tokens;
  for (const std::int64_t row : rows) {
    tokens.resize(static_cast<std::size_t>(file_.row_tokens(row)));
    file_.copy_row(row, tokens);
    append_document(pass, tokens, file_.prompt_tokens(row), options_.train_on_prompt);
    if (options_.mean_of_micro_batches) pass.loss_weights.resize(pass.tokens.size(), loss_weights_.at(row));
  }
  pad_pass(pass, options_.pass_alignment);
  if (options_.mean_of_micro_batches) pass.loss_weights.resize(pass.tokens.size(), 0.0F);
  return pass;
}

std::int64_t Loader::most_rows_per_pass() const {
  const std::int64_t rows = std::min(options_.global_batch, trainable_rows());
  if (!options_.coalesce) return std::min(options_.micro_batch, rows);
  return (rows + options_.ranks - 1) / options_.ranks;
}

std::int64_t Loader::most_rows_within(std::int64_t tokens) const {
  std::int64_t rows = 0;
  for (const std::int64_t length : lengths_) {
    if (length > tokens || rows == most_rows_per_pass()) break;
    tokens -= length;
    ++rows;
  }
  return rows;
}

Pass Loader::largest_pass() const {
  std::int64_t rows = most_rows_per_pass();
  std::int64_t tokens = sum_of_longest(lengths_, rows);
  if (options_.coalesce && tokens > pass_limit()) {
    tokens = pass_limit();
    rows = most_rows_within(tokens);
  }
  Pass pass;
  const auto append = [&](std::int64_t count) {
    append_document(pass, std::vector<std::int32_t>(static_cast<std::size_t>(count), 0), 1, options_.train_on_prompt);
  };
  // One document more than rows: it stands for the padding document that other passes have. Each gets a token at least,
  // from the first where none is left; `longest` is still said to be the longest row.
  const std::int64_t longest = lengths_.back();
  std::int64_t remaining = std::max(tokens - longest, rows);
  append(tokens - remaining);
  for (std::int64_t others = rows; others > 0; --others) {
    const std::int64_t count = std::min((remaining + others - 1) / others, longest);
    append(count);
    remaining -= count;
  }
  pass.longest = longest;
  pad_pass(pass, options_.pass_alignment);
  if (options_.mean_of_micro_batches) pass.loss_weights.resize(pass.tokens.size(), 0.0F);
  return pass;
}

std::int64_t Loader::max_passes_per_step() const {
  if (!options_.coalesce) {
    const std::int64_t rows = std::min(options_.global_batch, trainable_rows());
    const std::int64_t step = options_.micro_batch * options_.ranks;
    return (rows + step - 1) / step;
  }
  // pack_rows: fewer than 2 x tokens / limit passes, or one.
  const std::int64_t rows = most_rows_per_pass();
  const std::int64_t tokens = sum_of_longest(lengths_, rows);
  const std::int64_t bound = (2 * tokens + pass_limit() - 1) / pass_limit() - 1;
  return std::clamp(bound, std::int64_t{1}, rows);
}

std::string Loader::statement() const {
  const std::int64_t rows = trainable_rows();
  const std::int64_t full = rows / options_.global_batch;
  const std::int64_t rest = rows % options_.global_batch;
  std::string text = plural(rows, "row", "rows") + " = ";
  if (full == 0) {
    text += fmt::format("one batch of {}, fewer than the {} asked for", rows, options_.global_batch);
  } else {
    text += fmt::format("{} of {}", plural(full, "batch", "batches"), options_.global_batch);
    if (rest > 0) text += fmt::format(" + a last one of {}", rest);
  }
  if (left_out_rows() > 0) {
    text += fmt::format("; {} left out: the prompt alone fills the sequence", plural(left_out_rows(), "row", "rows"));
  }
  return text;
}

}  // namespace llama_zero
