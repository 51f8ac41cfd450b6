#include "zero/mpi_transfers.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "zero/communicator.h"

namespace llama_zero {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{256} << 20U;  // MPI counts are int: messages stay far below 2^31 bytes

std::string mpi_error_text(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return fmt::format("MPI error {}", code);
  return {text, static_cast<std::size_t>(length)};
}

/// Gives the core to another rank: at first only the rest of the time slice, later short sleeps.
class Backoff {
 public:
  void pause() {
    polls_ += 1;
    if (polls_ < kYields) {
      ::sched_yield();
      return;
    }
    std::this_thread::sleep_for(sleep_);
    sleep_ = std::min(sleep_ * 2, std::chrono::microseconds(500));
  }

 private:
  static constexpr int kYields = 200;
  int polls_ = 0;
  std::chrono::microseconds sleep_{20};
};

template <typename Issue>
void for_each_chunk(std::size_t bytes, Issue issue) {
  for (std::size_t offset = 0; offset < bytes; offset += kChunkBytes) {
    issue(offset, static_cast<int>(std::min(kChunkBytes, bytes - offset)));
  }
}

}  // namespace

void check_mpi(int code, const std::string& where) {
  if (code != MPI_SUCCESS) fail("{}: {}", where, mpi_error_text(code));
}

void MpiTransfers::send(ConstView buffer, int peer, int tag) {
  for_each_chunk(buffer.bytes(), [&](std::size_t offset, int bytes) {
    check_mpi(MPI_Isend(buffer.raw() + offset, bytes, MPI_BYTE, peer, tag, comm_, add(peer, -1)), where_);
  });
}

void MpiTransfers::recv(View buffer, int peer, int tag) {
  for_each_chunk(buffer.bytes(), [&](std::size_t offset, int bytes) {
    check_mpi(MPI_Irecv(buffer.raw() + offset, bytes, MPI_BYTE, peer, tag, comm_, add(peer, bytes)), where_);
  });
}

void MpiTransfers::finish() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_);
  Backoff backoff;
  std::size_t open = requests_.size();
  std::vector<int> done(requests_.size());
  std::vector<MPI_Status> statuses(requests_.size());
  while (open > 0) {
    int count = 0;
    const int code =
        MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, done.data(), statuses.data());
    if (code == MPI_ERR_IN_STATUS) check_statuses(count, done, statuses);
    check_mpi(code, where_);
    for (int i = 0; i < count; ++i)
      check_received(done[static_cast<std::size_t>(i)], statuses[static_cast<std::size_t>(i)]);
    open -= static_cast<std::size_t>(std::max(count, 0));
    if (count > 0) continue;
    if (std::chrono::steady_clock::now() > deadline) throw Error(stall_message(where_, timeout_, open_peers()));
    backoff.pause();
  }
  requests_.clear();
}

// MPI writes the handle during the call that the result is passed to, so the vector may grow again afterwards.
MPI_Request* MpiTransfers::add(int peer, int expected_bytes) {
  operations_.push_back({peer, expected_bytes});
  requests_.push_back(MPI_REQUEST_NULL);
  return &requests_.back();
}

void MpiTransfers::check_statuses(int count, const std::vector<int>& done,
                                  const std::vector<MPI_Status>& statuses) const {
  for (int i = 0; i < count; ++i) {
    const int code = statuses[static_cast<std::size_t>(i)].MPI_ERROR;
    const Operation& operation = operations_[static_cast<std::size_t>(done[static_cast<std::size_t>(i)])];
    if (code != MPI_SUCCESS) fail("{}: exchange with rank {}: {}", where_, operation.peer, mpi_error_text(code));
  }
}

void MpiTransfers::check_received(int index, const MPI_Status& status) const {
  const Operation& operation = operations_[static_cast<std::size_t>(index)];
  if (operation.expected_bytes < 0) return;
  int bytes = 0;
  check_mpi(MPI_Get_count(&status, MPI_BYTE, &bytes), where_);
  require(bytes == operation.expected_bytes, "{}: rank {} sent {} bytes, {} expected: the ranks are out of step",
          where_, operation.peer, bytes, operation.expected_bytes);
}

std::vector<int> MpiTransfers::open_peers() const {
  std::vector<int> peers;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] != MPI_REQUEST_NULL) peers.push_back(operations_[i].peer);
  }
  std::sort(peers.begin(), peers.end());
  peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
  return peers;
}

// After a failure the buffers may go away: receives are cancelled, sends are left to MPI.
void MpiTransfers::abandon() noexcept {
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    if (operations_[i].expected_bytes >= 0) MPI_Cancel(&requests_[i]);
    MPI_Request_free(&requests_[i]);
  }
}

}  // namespace llama_zero
