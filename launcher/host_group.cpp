#include "launcher/host_group.h"

#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <thread>

namespace llama_zero {
namespace {

void check(int code) { require(code == MPI_SUCCESS, "lost contact with the other ranks (MPI error {})", code); }

// Polls often at first, since most agreements are instant, then leaves the core to others.
void wait(MPI_Request request) {
  constexpr int kEagerPolls = 200;
  for (int polls = 0;; ++polls) {
    int done = 0;
    check(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done != 0) return;
    if (polls < kEagerPolls) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  }
}

}  // namespace

void HostGroup::together(const std::function<void()>& body) const {
  std::optional<std::string> failure;
  try {
    body();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  const std::vector<std::int64_t> failed = gather(failure ? 1 : 0);
  const auto first = std::find(failed.begin(), failed.end(), 1);
  if (first == failed.end()) return;
  const int root = static_cast<int>(first - failed.begin());
  std::string message = failure.value_or("");
  broadcast(message, root);
  // Rank 0 speaks for all; another rank's trouble needs its name.
  throw AgreedError(root == 0 ? message : fmt::format("rank {}: {}", root, message));
}

void HostGroup::on_root(const std::function<void()>& body) const {
  together([&] {
    if (rank_ == 0) body();
  });
}

void HostGroup::barrier() const { gather(0); }

bool HostGroup::any(bool mine) const { return max(mine ? 1 : 0) != 0; }

std::int64_t HostGroup::min(std::int64_t mine) const { return std::ranges::min(gather(mine)); }

std::int64_t HostGroup::max(std::int64_t mine) const { return std::ranges::max(gather(mine)); }

std::string HostGroup::from_root(const std::string& text) const {
  std::string result = text;
  broadcast(result, 0);
  return result;
}

std::vector<std::string> HostGroup::from_all(const std::string& text) const {
  std::vector<std::string> texts(static_cast<std::size_t>(size_));
  texts[static_cast<std::size_t>(rank_)] = text;
  for (int root = 0; root < size_; ++root) broadcast(texts[static_cast<std::size_t>(root)], root);
  return texts;
}

std::vector<double> HostGroup::sum(std::span<const double> mine) const {
  std::vector<double> all(mine.size() * static_cast<std::size_t>(size_));
  const int count = static_cast<int>(mine.size());
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Iallgather(mine.data(), count, MPI_DOUBLE, all.data(), count, MPI_DOUBLE, MPI_COMM_WORLD, &request));
  wait(request);
  std::vector<double> total(mine.size(), 0.0);
  for (std::size_t i = 0; i < all.size(); ++i) total[i % mine.size()] += all[i];
  return total;
}

std::vector<std::int64_t> HostGroup::gather(std::int64_t mine) const {
  std::vector<std::int64_t> all(static_cast<std::size_t>(size_));
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Iallgather(&mine, 1, MPI_INT64_T, all.data(), 1, MPI_INT64_T, MPI_COMM_WORLD, &request));
  wait(request);
  return all;
}

void HostGroup::broadcast(std::string& text, int root) const {
  std::int64_t size = static_cast<std::int64_t>(text.size());
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Ibcast(&size, 1, MPI_INT64_T, root, MPI_COMM_WORLD, &request));
  wait(request);
  text.resize(static_cast<std::size_t>(size));
  check(MPI_Ibcast(text.data(), static_cast<int>(size), MPI_CHAR, root, MPI_COMM_WORLD, &request));
  wait(request);
}

}  // namespace llama_zero
