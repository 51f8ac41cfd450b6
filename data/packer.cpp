#include "data/packer.h"

#include <algorithm>
#include <numeric>

namespace llama_zero {
namespace {

/// Exchanges that are tried at most: some milliseconds. Counted, not timed, so that every rank stops at the same one.
constexpr std::int64_t kMaxTrials = 300000;

std::int64_t tokens_in(std::span<const std::int64_t> lengths, const Bin& bin) {
  std::int64_t tokens = 0;
  for (const std::int64_t row : bin) tokens += lengths[static_cast<std::size_t>(row)];
  return tokens;
}

Bin longest_first(std::span<const std::int64_t> lengths, Bin rows) {
  std::stable_sort(rows.begin(), rows.end(), [&](std::int64_t a, std::int64_t b) {
    return lengths[static_cast<std::size_t>(a)] > lengths[static_cast<std::size_t>(b)];
  });
  return rows;
}

/// Lowers the aligned tokens of all bins by moving a row, or swapping two, between a pair of bins. Only takes steps
/// that lower the pair's sum without raising its larger bin, so it ends, and no bin outgrows the largest.
class PaddingReducer {
 public:
  PaddingReducer(std::span<const std::int64_t> lengths, std::int64_t max_rows, std::int64_t alignment,
                 std::vector<Bin>& bins)
      : lengths_(lengths), max_rows_(max_rows), alignment_(alignment), bins_(bins) {
    for (const Bin& bin : bins) tokens_.push_back(tokens_in(lengths, bin));
  }

  void run() {
    for (std::size_t from = 0; from < bins_.size() && trials_ < kMaxTrials && !is_optimal(); ++from) {
      for (std::size_t to = 0; to < bins_.size(); ++to) {
        if (to != from && improve(from, to)) {
          from = static_cast<std::size_t>(-1);  // start over: earlier pairs have changed
          break;
        }
      }
    }
  }

 private:
  std::int64_t aligned(std::int64_t tokens) const { return round_up(tokens, alignment_); }
  std::int64_t length(std::int64_t row) const { return lengths_[static_cast<std::size_t>(row)]; }

  bool is_optimal() const {
    std::int64_t cost = 0;
    for (const std::int64_t tokens : tokens_) cost += aligned(tokens);
    return cost == aligned(std::accumulate(tokens_.begin(), tokens_.end(), std::int64_t{0}));
  }

  /// Whether `amount` tokens should go from one bin to the other.
  bool pays(std::size_t from, std::size_t to, std::int64_t amount) {
    ++trials_;
    const std::int64_t new_from = tokens_[from] - amount;
    const std::int64_t new_to = tokens_[to] + amount;
    if (std::max(aligned(new_from), aligned(new_to)) > std::max(aligned(tokens_[from]), aligned(tokens_[to]))) {
      return false;
    }
    const std::int64_t saved = aligned(tokens_[from]) + aligned(tokens_[to]) - aligned(new_from) - aligned(new_to);
    return saved > 0 || (saved == 0 && squared_padding(new_from) + squared_padding(new_to) >
                                           squared_padding(tokens_[from]) + squared_padding(tokens_[to]));
  }

  std::int64_t squared_padding(std::int64_t tokens) const {
    const std::int64_t padding = aligned(tokens) - tokens;
    return padding * padding;
  }

  bool improve(std::size_t from, std::size_t to) {
    for (std::size_t i = 0; i < bins_[from].size(); ++i) {
      const std::int64_t row = bins_[from][i];
      if (static_cast<std::int64_t>(bins_[to].size()) < max_rows_ && pays(from, to, length(row))) {
        bins_[to].push_back(row);
        bins_[from].erase(bins_[from].begin() + static_cast<std::ptrdiff_t>(i));
        transfer(from, to, length(row));
        return true;
      }
      for (std::int64_t& other : bins_[to]) {
        const std::int64_t amount = length(row) - length(other);
        if (amount <= 0 || !pays(from, to, amount)) continue;
        std::swap(bins_[from][i], other);
        transfer(from, to, amount);
        return true;
      }
    }
    return false;
  }

  void transfer(std::size_t from, std::size_t to, std::int64_t amount) {
    tokens_[from] -= amount;
    tokens_[to] += amount;
  }

  std::span<const std::int64_t> lengths_;
  std::int64_t max_rows_;  ///< of a bin
  std::int64_t alignment_;
  std::vector<Bin>& bins_;
  std::vector<std::int64_t> tokens_;
  std::int64_t trials_ = 0;
};

/// Tokens that each rank should get: whole steps of the alignment, as equal as they can be, enough for all tokens.
std::vector<std::int64_t> token_shares(std::int64_t tokens, std::int64_t ranks, std::int64_t alignment) {
  const std::int64_t steps = round_up(tokens, alignment) / alignment;
  std::vector<std::int64_t> shares;
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    shares.push_back((steps / ranks + (rank < steps % ranks ? 1 : 0)) * alignment);
  }
  return shares;
}

}  // namespace

std::vector<Bin> deal_rows(std::span<const std::int64_t> lengths, int ranks, std::int64_t alignment) {
  Bin all(lengths.size());
  std::iota(all.begin(), all.end(), 0);
  const std::int64_t total = tokens_in(lengths, all);
  const auto max_rows = (static_cast<std::int64_t>(all.size()) + ranks - 1) / ranks;
  std::vector<Bin> bins(static_cast<std::size_t>(ranks));
  std::vector<std::int64_t> room = token_shares(total, ranks, alignment);
  for (const std::int64_t row : longest_first(lengths, all)) {
    std::size_t best = bins.size();
    for (std::size_t rank = 0; rank < bins.size(); ++rank) {
      if (static_cast<std::int64_t>(bins[rank].size()) >= max_rows) continue;
      if (best == bins.size() || room[rank] > room[best]) best = rank;
    }
    bins[best].push_back(row);
    room[best] -= lengths[static_cast<std::size_t>(row)];
  }
  PaddingReducer(lengths, max_rows, alignment, bins).run();
  return bins;
}

std::vector<Bin> pack_rows(std::span<const std::int64_t> lengths, const Bin& rows, std::int64_t limit,
                           std::int64_t alignment) {
  std::vector<Bin> bins;
  std::vector<std::int64_t> room;
  for (const std::int64_t row : longest_first(lengths, rows)) {
    const std::int64_t length = lengths[static_cast<std::size_t>(row)];
    std::size_t bin = 0;
    while (bin < bins.size() && room[bin] < length) ++bin;
    if (bin == bins.size()) {
      bins.emplace_back();
      room.push_back(limit);
    }
    bins[bin].push_back(row);
    room[bin] -= length;
  }
  PaddingReducer(lengths, static_cast<std::int64_t>(rows.size()), alignment, bins).run();
  std::erase_if(bins, [](const Bin& bin) { return bin.empty(); });
  return bins;
}

}  // namespace llama_zero
