// Stream-ordered collectives between ranks.
//
// All ranks of a communicator call the same collectives in the same order with the same counts and dtypes. Views say their
// counts; buffers belong to the communicator until the stream has passed the call. A communicator is used by one thread.
// A failure of any rank (thrown Error, lost process, a collective that stalls longer than the timeout) ends every rank
// with an Error that names rank, step and collective.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/device.h"
#include "core/view.h"

namespace llama_zero {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// "MPI (8 ranks, host-staged)": for the header.
  virtual std::string description() const = 0;

  /// recv = concatenation over ranks of their send. recv.numel = size * send.numel. send may be slice `rank` of recv.
  virtual void all_gather(ConstView send, View recv, Stream& stream) = 0;
  /// Piece r of send goes to rank r; piece s of recv comes from rank s. Both have size * n elements, no aliasing.
  virtual void all_to_all(ConstView send, View recv, Stream& stream) = 0;
  /// Every rank's buffer becomes the root's.
  virtual void broadcast(View buffer, int root, Stream& stream) = 0;
  virtual void send(ConstView buffer, int destination, Stream& stream) = 0;
  virtual void recv(View buffer, int source, Stream& stream) = 0;
  /// Returns when every rank has called it.
  virtual void barrier() = 0;

  /// The optimizer step that the watchdog's message names.
  void set_step(std::int64_t step) { step_ = step; }

 protected:
  std::int64_t step_ = 0;
};

/// One rank: collectives are copies on `device`.
std::unique_ptr<Communicator> make_local_communicator(Device& device);

/// Shared state of `size` rank-threads of one process.
class ThreadWorld;
std::shared_ptr<ThreadWorld> make_thread_world(int size, double timeout_seconds = 60.0);
/// The communicator of rank `rank`; each thread uses its own.
std::unique_ptr<Communicator> make_thread_communicator(std::shared_ptr<ThreadWorld> world, int rank);
/// Makes every collective of the world throw Error(reason), now and later: a rank-thread that fails calls this.
void abort_thread_world(ThreadWorld& world, const std::string& reason);
/// Runs body(communicator) on `size` threads; rethrows the first failure after all have ended.
void run_rank_threads(int size, const std::function<void(Communicator&)>& body);

/// Does nothing, claims to be rank `rank` of `size`: the memory planner.
std::unique_ptr<Communicator> make_null_communicator(int rank, int size);

}  // namespace llama_zero
