// Cuts a token file into global batches and those into this rank's passes. Deterministic: everything follows from the
// options, the token file's index and the position, and every rank computes the same plan without communication.
//
// An epoch is one pass over a permutation of the trainable rows (those with at least one loss token), drawn from (seed,
// epoch) alone. Global batch k of an epoch is rows [k * global_batch, (k + 1) * global_batch) of it: the same set at
// any rank count, micro-batch, accumulation, and with coalescing on or off. The rows left at an epoch's end make one
// smaller batch.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/pass.h"
#include "data/token_file.h"

namespace llama_zero {

struct LoaderOptions {
  std::int64_t global_batch = 0;  ///< rows of one optimizer step, all ranks: micro_batch x accumulation x ranks
  std::int64_t micro_batch = 0;   ///< rows
  std::int64_t accumulation = 0;  ///< micro-batches of one optimizer step on one rank
  int rank = 0;
  int ranks = 1;
  std::uint64_t seed = 0;
  bool shuffle = true;                   ///< false: rows in file order, every epoch
  std::int64_t max_tokens_per_pass = 0;  ///< coalesced: limit of T, rounded down to a multiple of pass_alignment
  std::int64_t pass_alignment = 256;     ///< T is a multiple of it
  /// true: a rank's rows of a step are cut into as few passes as fit max_tokens_per_pass. false: one pass for each
  /// micro-batch in DeepSpeed's order, however long (max_tokens_per_pass is not looked at).
  bool coalesce = true;
  bool train_on_prompt = false;  ///< prompt tokens count in the loss
  /// false: every loss token of a batch counts the same. true: every micro-batch does (DeepSpeed's mean of micro-batch
  /// means), its loss tokens count 1 / their number. Micro-batch j holds rows [j * micro_batch, (j + 1) * micro_batch)
  /// of the batch, whatever pass they run in; that of a partial batch may be smaller.
  bool mean_of_micro_batches = false;
};

/// One optimizer step. Counts are over all ranks; `passes` are this rank's.
struct GlobalBatch {
  std::vector<Pass> passes;             ///< the same number on every rank; may be padding only
  std::int64_t global_loss_tokens = 0;  ///< > 0
  double loss_weight = 0.0;             ///< sum of the weights of the loss tokens: what the loss is divided by
  std::int64_t global_rows = 0;
  std::int64_t global_tokens = 0;  ///< without padding
  std::int64_t padded_tokens = 0;  ///< padding: sum of T less global_tokens
  std::int64_t epoch = 0;
  std::int64_t batch_in_epoch = 0;
  bool partial = false;  ///< fewer rows than global_batch
};

/// The batch that next() gives next; saved in checkpoints.
struct LoaderPosition {
  std::int64_t epoch = 0;
  std::int64_t batch_in_epoch = 0;
  bool operator==(const LoaderPosition&) const = default;
};

class Loader {
 public:
  /// `file` must outlive the loader. Throws Error when the options contradict each other, no row is trainable, or the
  /// longest row does not fit a pass.
  Loader(const TokenFile& file, const LoaderOptions& options);

  /// Never ends: after an epoch's last batch comes the next epoch's first.
  GlobalBatch next();

  LoaderPosition position() const { return position_; }
  /// Throws Error when the position is not one of this data set's.
  void restore(const LoaderPosition& position);

  std::int64_t batches_per_epoch() const;
  std::int64_t trainable_rows() const { return static_cast<std::int64_t>(trainable_.size()); }
  /// Rows left out because no token of theirs counts in the loss (the prompt alone fills the sequence).
  std::int64_t left_out_rows() const { return file_.rows() - trainable_rows(); }

  /// For the memory planner: no pass of any batch has more tokens or documents (padding included), or a
  /// greater `longest`. Ids are 0.
  Pass largest_pass() const;
  /// No batch has more passes than this on any rank.
  std::int64_t max_passes_per_step() const;

  /// One line for the run's header, e.g. "600 rows = 18 batches of 32 + a last one of 24".
  std::string statement() const;

 private:
  using PassPlan = std::vector<std::int64_t>;  ///< rows of the file; empty: padding only
  using RankPlan = std::vector<PassPlan>;

  void validate_options() const;
  std::int64_t loss_tokens(std::int64_t row) const;
  std::int64_t pass_limit() const;
  std::int64_t most_rows_per_pass() const;
  std::int64_t most_rows_within(std::int64_t tokens) const;
  void permute();
  std::vector<std::int64_t> batch_rows();
  std::vector<RankPlan> plan_coalesced(const std::vector<std::int64_t>& rows) const;
  std::vector<RankPlan> plan_micro_steps(const std::vector<std::int64_t>& rows) const;
  std::int64_t aligned_tokens(const std::vector<RankPlan>& plan) const;
  Pass build_pass(const PassPlan& rows) const;
  void weigh_losses(const std::vector<std::int64_t>& rows, GlobalBatch& batch);

  const TokenFile& file_;
  LoaderOptions options_;
  std::vector<std::uint32_t> trainable_;    ///< rows of the file
  std::vector<std::int64_t> lengths_;       ///< tokens of the trainable rows, ascending
  std::vector<std::uint32_t> permutation_;  ///< of trainable_, for permuted_epoch_
  std::int64_t permuted_epoch_ = -1;
  std::unordered_map<std::int64_t, float> loss_weights_;  ///< by row, of the batch being made; mean_of_micro_batches
  LoaderPosition position_;
};

}  // namespace llama_zero
