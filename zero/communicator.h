// Stream-ordered collectives between ranks.
//
// All ranks of a communicator call the same collectives in the same order with the same counts and dtypes. Views say
// their counts; buffers belong to the communicator until the stream has passed the call. A communicator is used by one
// thread. A failure of any rank (thrown Error, lost process, a collective that stalls longer than the timeout) ends
// every rank with an Error that names rank, step and collective.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/view.h"
#include "zero/comm_observer.h"

namespace llama_zero {

/// Which part of every rank's piece an all-to-all moves: pieces lie `stride` elements apart in the send buffer, and of
/// each the elements [offset, offset + count) travel.
struct PieceRange {
  std::int64_t stride = 0;
  std::int64_t offset = 0;
  std::int64_t count = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// "MPI (8 ranks, host-staged)": for the header.
  virtual std::string description() const = 0;

  // Every call throws Error when its counts or dtypes do not fit, before anything moves.

  /// recv = concatenation over ranks of their send. recv.numel = size * send.numel. send may be slice `rank` of recv.
  void all_gather(ConstView send, View recv, Stream& stream);
  /// Piece r of send goes to rank r; piece s of recv comes from rank s. Both have size * n elements, no aliasing.
  void all_to_all(ConstView send, View recv, Stream& stream);
  /// The same for a part of every piece: send has size * stride elements, recv size * count.
  void all_to_all(ConstView send, const PieceRange& range, View recv, Stream& stream);
  /// Every rank's buffer becomes the root's.
  void broadcast(View buffer, int root, Stream& stream);
  void send(ConstView buffer, int destination, Stream& stream);
  void recv(View buffer, int source, Stream& stream);
  /// Returns when every rank has called it.
  void barrier();

  /// Later work of `stream` follows `event`, up to which another stream runs collectives of kind `op` (a literal).
  void wait(std::string_view op, Event& event, Stream& stream);
  /// device.copy between host and device memory, which observers see; `op` is one of CommCall's that begin with "copy".
  void host_copy(std::string_view op, Device& device, ConstView source, View destination, Stream& stream);

  /// Calls on these streams run beside the computation, which only stands still where it waits for them; calls on
  /// others are part of it. None, as at first: all are.
  void set_background(std::vector<const Stream*> streams) { background_ = std::move(streams); }

  /// The optimizer step that the watchdog's message names.
  void set_step(std::int64_t step) { step_ = step; }

  /// `observer` sees every call from now on; it must outlive the communicator or be removed. Without observers a call
  /// costs nothing more.
  void add_observer(CommObserver& observer) { observers_.push_back(&observer); }
  void remove_observer(CommObserver& observer) { std::erase(observers_, &observer); }

 protected:
  virtual void do_all_gather(ConstView send, View recv, Stream& stream) = 0;
  virtual void do_all_to_all(ConstView send, const PieceRange& range, View recv, Stream& stream) = 0;
  virtual void do_broadcast(View buffer, int root, Stream& stream) = 0;
  virtual void do_send(ConstView buffer, int destination, Stream& stream) = 0;
  virtual void do_recv(View buffer, int source, Stream& stream) = 0;
  virtual void do_barrier() = 0;

  /// "rank 2: all_gather of step 17": how messages begin.
  std::string where(std::string_view operation) const;
  std::int64_t step() const { return step_; }

 private:
  void require_peer(int peer, std::string_view operation) const;
  CommCall completed(CommCall call) const {
    call.step = step_;
    call.background = std::find(background_.begin(), background_.end(), call.stream) != background_.end();
    return call;
  }
  template <typename Call>
  void observed(const CommCall& given, const Call& run) {
    const CommCall call = completed(given);
    for (CommObserver* observer : observers_) observer->before(call);
    run();
    for (CommObserver* observer : observers_) observer->after(call);
  }

  std::vector<CommObserver*> observers_;
  std::int64_t step_ = 0;
  std::vector<const Stream*> background_;
};

/// The text every watchdog uses: "rank R: all_gather of step S did not finish in N s; ranks 1, 3 have not answered (a
/// rank may have died or stalled)".
std::string stall_message(std::string_view where, double timeout_seconds, const std::vector<int>& missing);

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
void run_rank_threads(int size, const std::function<void(Communicator&)>& body, double timeout_seconds = 60.0);

/// Does nothing, claims to be rank `rank` of `size`: the memory planner.
std::unique_ptr<Communicator> make_null_communicator(int rank, int size);

}  // namespace llama_zero
