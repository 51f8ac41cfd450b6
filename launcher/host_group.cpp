#include "launcher/host_group.h"

#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <exception>
#include <optional>

#include "zero/mpi_transfers.h"

namespace llama_zero {
namespace {

constexpr int kTag = 3;

template <typename T>
View bytes_of(std::span<T> values) {
  return {reinterpret_cast<std::byte*>(values.data()), static_cast<std::int64_t>(values.size_bytes()), DType::kU8};
}
template <typename T>
ConstView bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const std::byte*>(values.data()), static_cast<std::int64_t>(values.size_bytes()),
          DType::kU8};
}

}  // namespace

void HostGroup::together(const std::function<void()>& body, std::string_view what) const {
  before(what);
  std::optional<std::string> failure;
  try {
    body();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  const std::vector<std::int64_t> failed = gather(failure ? 1 : 0, what, patience_.work);
  const auto first = std::find(failed.begin(), failed.end(), 1);
  if (first == failed.end()) return;
  const int root = static_cast<int>(first - failed.begin());
  std::string message = failure.value_or("");
  broadcast(message, root);
  // Rank 0 speaks for all; another rank's trouble needs its name.
  throw AgreedError(root == 0 ? message : fmt::format("rank {}: {}", root, message));
}

void HostGroup::on_root(const std::function<void()>& body, std::string_view what) const {
  const auto mine = [&] {
    if (rank_ == 0) body();
  };
  together(mine, what);
}

void HostGroup::barrier() const { gather(0, "barrier"); }

bool HostGroup::any(bool mine) const { return max(mine ? 1 : 0) != 0; }

std::int64_t HostGroup::min(std::int64_t mine, std::string_view what) const {
  return std::ranges::min(gather(mine, what));
}

std::int64_t HostGroup::max(std::int64_t mine, std::string_view what) const {
  return std::ranges::max(gather(mine, what));
}

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
  before("sum");
  std::vector<double> all(mine.size() * static_cast<std::size_t>(size_));
  exchange(bytes_of(mine), bytes_of(std::span(all)), "sum", patience_.agreement);
  std::vector<double> total(mine.size(), 0.0);
  for (std::size_t i = 0; i < all.size(); ++i) total[i % mine.size()] += all[i];
  return total;
}

std::vector<std::int64_t> HostGroup::gather(std::int64_t mine, std::string_view what) const {
  before(what);
  return gather(mine, what, patience_.agreement);
}

std::vector<std::int64_t> HostGroup::gather(std::int64_t mine, std::string_view what, double patience) const {
  std::vector<std::int64_t> all(static_cast<std::size_t>(size_));
  exchange(bytes_of(std::span<const std::int64_t>(&mine, 1)), bytes_of(std::span(all)), what, patience);
  return all;
}

// From each to each: unlike MPI's collectives it tells who is late. Agreements are small and few.
void HostGroup::exchange(ConstView mine, View all, std::string_view what, double patience) const {
  const std::int64_t count = mine.numel();
  std::copy_n(mine.raw(), mine.bytes(), all.slice(rank_ * count, count).raw());
  MpiTransfers transfers(MPI_COMM_WORLD, where(what), patience);
  for (int distance = 1; distance < size_; ++distance) {
    const int peer = (rank_ + distance) % size_;
    transfers.recv(all.slice(peer * count, count), peer, kTag);
    transfers.send(mine, peer, kTag);
  }
  transfers.finish();
}

void HostGroup::broadcast(std::string& text, int root) const {
  before("message");
  std::int64_t size = static_cast<std::int64_t>(text.size());
  broadcast(bytes_of(std::span(&size, 1)), root);
  text.resize(static_cast<std::size_t>(size));
  broadcast(bytes_of(std::span(text)), root);
}

void HostGroup::broadcast(View bytes, int root) const {
  MpiTransfers transfers(MPI_COMM_WORLD, where("message"), patience_.agreement);
  if (rank_ != root) {
    transfers.recv(bytes, root, kTag);
  } else {
    for (int distance = 1; distance < size_; ++distance) transfers.send(bytes, (root + distance) % size_, kTag);
  }
  transfers.finish();
}

void HostGroup::before(std::string_view what) const {
  if (hook_) hook_(what, step_);
}

std::string HostGroup::where(std::string_view what) const {
  std::string text = fmt::format("rank {}: {}", rank_, what);
  if (step_ > 0) text += fmt::format(" after step {}", step_);
  return text;
}

}  // namespace llama_zero
