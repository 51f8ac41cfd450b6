// The ranks of a run as their host code sees them: small agreements outside the training step.
//
// All ranks call the same functions in the same order. Waiting ranks sleep instead of spinning, so that the rank they
// wait for has the cores. A rank that does not come ends the others: they throw Error, e.g. "rank 0: agreement to go on
// after step 4 did not finish in 300 s; rank 1 has not answered (a rank may have died or stalled)".
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/view.h"

namespace llama_zero {

/// An error that every rank of the run throws with the same message: rank 0 reports it, all end in order.
class AgreedError : public Error {
 public:
  using Error::Error;
};

/// Seconds that a rank waits for the others.
struct HostPatience {
  static constexpr double kForEver = std::numeric_limits<double>::infinity();

  double agreement = kForEver;  ///< for their part in an agreement
  double work = kForEver;       ///< for the end of a body that together() or on_root() runs on them
};

class HostGroup {
 public:
  /// Over MPI_COMM_WORLD, which must be initialised and of that size.
  HostGroup(int rank, int size, HostPatience patience = {}) : rank_(rank), size_(size), patience_(patience) {}

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// The training step that was given last, for messages; 0: none.
  void set_step(std::int64_t step) { step_ = step; }
  /// Tests: called with the name of every agreement, and set_step's number, before this rank takes part.
  using Hook = std::function<void(std::string_view what, std::int64_t step)>;
  void set_hook(Hook hook) { hook_ = std::move(hook); }

  // `what` is the name of the agreement in messages.

  /// Runs `body`, which must not wait for other ranks, on every rank. When it throws on any, every rank throws
  /// AgreedError with the message of the lowest rank that failed ("rank 2: ..." unless all failed).
  void together(const std::function<void()>& body, std::string_view what = "work of all ranks") const;
  /// `body` on rank 0 only, then as together(): the others wait.
  void on_root(const std::function<void()>& body, std::string_view what = "work of rank 0") const;

  void barrier() const;
  /// Whether any rank says true.
  bool any(bool mine) const;
  std::int64_t min(std::int64_t mine, std::string_view what = kAgreement) const;
  std::int64_t max(std::int64_t mine, std::string_view what = kAgreement) const;
  /// Rank 0's text, on every rank.
  std::string from_root(const std::string& text) const;
  /// Every rank's text, by rank, on every rank.
  std::vector<std::string> from_all(const std::string& text) const;
  /// Every rank's number, in rank order, on every rank.
  std::vector<std::int64_t> from_each(std::int64_t mine) const { return gather(mine, kAgreement); }
  /// Element by element over ranks, added in rank order. Every rank gives the same number of values.
  std::vector<double> sum(std::span<const double> mine) const;

 private:
  static constexpr std::string_view kAgreement = "agreement";

  std::vector<std::int64_t> gather(std::int64_t mine, std::string_view what) const;
  std::vector<std::int64_t> gather(std::int64_t mine, std::string_view what, double patience) const;
  /// Bytes: `all` gets every rank's `mine`, in rank order.
  void exchange(ConstView mine, View all, std::string_view what, double patience) const;
  void broadcast(std::string& text, int root) const;
  void broadcast(View bytes, int root) const;
  void before(std::string_view what) const;
  std::string where(std::string_view what) const;

  int rank_;
  int size_;
  HostPatience patience_;
  std::int64_t step_ = 0;
  Hook hook_;
};

}  // namespace llama_zero
