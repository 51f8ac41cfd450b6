// Nonblocking sends and receives of MPI that are polled against a deadline. For the files that speak MPI only.
#pragma once

#include <mpi.h>

#include <string>
#include <utility>
#include <vector>

#include "core/view.h"

namespace llama_zero {

/// Throws Error "where: what MPI says" unless `code` is MPI_SUCCESS.
void check_mpi(int code, const std::string& where);

/// The operations of one collective.
class MpiTransfers {
 public:
  /// `where` begins messages; `timeout_seconds` may be infinite.
  MpiTransfers(MPI_Comm comm, std::string where, double timeout_seconds)
      : comm_(comm), where_(std::move(where)), timeout_(timeout_seconds) {}
  ~MpiTransfers() { abandon(); }
  MpiTransfers(const MpiTransfers&) = delete;
  MpiTransfers& operator=(const MpiTransfers&) = delete;

  /// Buffers must stay until finish() has returned.
  void send(ConstView buffer, int peer, int tag);
  void recv(View buffer, int peer, int tag);
  /// Polls until all are done. Throws Error after the deadline, naming the peers whose part is open.
  void finish();

 private:
  struct Operation {
    int peer = 0;
    int expected_bytes = -1;  ///< of a receive; -1: a send
  };

  MPI_Request* add(int peer, int expected_bytes);
  void check_statuses(int count, const std::vector<int>& done, const std::vector<MPI_Status>& statuses) const;
  void check_received(int index, const MPI_Status& status) const;
  std::vector<int> open_peers() const;
  void abandon() noexcept;

  MPI_Comm comm_;
  std::string where_;
  double timeout_;
  std::vector<Operation> operations_;
  std::vector<MPI_Request> requests_;
};

}  // namespace llama_zero
