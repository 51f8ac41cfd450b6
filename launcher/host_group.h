// The ranks of a run as their host code sees them: small agreements outside the training step.
//
// All ranks call the same functions in the same order. Waiting ranks sleep instead of spinning, so that the rank they
// wait for has the cores.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"

namespace llama_zero {

/// An error that every rank of the run throws with the same message: rank 0 reports it, all end in order.
class AgreedError : public Error {
 public:
  using Error::Error;
};

class HostGroup {
 public:
  /// Over MPI_COMM_WORLD, which must be initialised and of that size.
  HostGroup(int rank, int size) : rank_(rank), size_(size) {}

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// Runs `body`, which must not wait for other ranks, on every rank. When it throws on any, every rank throws
  /// AgreedError with the message of the lowest rank that failed ("rank 2: ..." unless all failed).
  void together(const std::function<void()>& body) const;
  /// `body` on rank 0 only, then as together(): the others wait.
  void on_root(const std::function<void()>& body) const;

  void barrier() const;
  /// Whether any rank says true.
  bool any(bool mine) const;
  std::int64_t min(std::int64_t mine) const;
  std::int64_t max(std::int64_t mine) const;
  /// Rank 0's text, on every rank.
  std::string from_root(const std::string& text) const;
  /// Every rank's text, by rank, on every rank.
  std::vector<std::string> from_all(const std::string& text) const;
  /// Every rank's number, in rank order, on every rank.
  std::vector<std::int64_t> from_each(std::int64_t mine) const { return gather(mine); }
  /// Element by element over ranks, added in rank order. Every rank gives the same number of values.
  std::vector<double> sum(std::span<const double> mine) const;

 private:
  std::vector<std::int64_t> gather(std::int64_t mine) const;
  void broadcast(std::string& text, int root) const;

  int rank_;
  int size_;
};

}  // namespace llama_zero
