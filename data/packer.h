// Deals the rows of a global batch to the ranks, and a rank's rows to passes. Pure arithmetic on lengths: every rank
// that runs it gets the same answer.
//
// Both aim at few aligned tokens: a bin of s tokens costs s rounded up to a multiple of the alignment. Bin packing is
// NP-hard; these are the greedy classics (longest processing time first: Graham, "Bounds on Multiprocessing Timing
// Anomalies", SIAM J. Appl. Math. 1969; first-fit decreasing: Johnson, 1973), followed by swaps between bins that save
// a whole step of the alignment.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace llama_zero {

/// Indices into the lengths.
using Bin = std::vector<std::int64_t>;

/// value, > 0, rounded up to a multiple of alignment, > 0.
constexpr std::int64_t round_up(std::int64_t value, std::int64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// One bin a rank (some empty when there are fewer rows than ranks), each of at most ceil(rows / ranks) rows, with
/// about equal tokens.
std::vector<Bin> deal_rows(std::span<const std::int64_t> lengths, int ranks, std::int64_t alignment);

/// As few passes for `rows` as first-fit decreasing finds, each of at most `limit` tokens. `limit` is a multiple of the
/// alignment and no less than the longest row. Two passes together always exceed `limit` before the swaps, which add
/// none: there are fewer than 2 x tokens / limit passes, or one.
std::vector<Bin> pack_rows(std::span<const std::int64_t> lengths, const Bin& rows, std::int64_t limit,
                           std::int64_t alignment);

}  // namespace llama_zero
