// Ranks as threads of one process: every rank posts its buffers, all meet, each copies what it needs from the others,
// all meet again. The fast test matrix, the thread sanitizer and the debugger run on it.
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "zero/communicator.h"

namespace llama_zero {
namespace {

/// What a rank brings to a collective. Everything but the buffers must agree among ranks.
struct Post {
  std::string_view operation;
  std::int64_t numel = 0;
  DType dtype = DType::kU8;
  int root = 0;
  PieceRange range;
  ConstView send;

  bool agrees_with(const Post& other) const {
    return operation == other.operation && numel == other.numel && dtype == other.dtype && root == other.root &&
           range.stride == other.range.stride && range.offset == other.range.offset && range.count == other.range.count;
  }
  std::string describe() const { return fmt::format("{} of {} elements of {}", operation, numel, name_of(dtype)); }
};

void copy_bytes(ConstView from, View to) {
  if (from.bytes() > 0 && from.raw() != to.raw()) std::memcpy(to.raw(), from.raw(), from.bytes());
}

}  // namespace

class ThreadWorld {
 public:
  ThreadWorld(int size, double timeout_seconds)
      : size_(size), timeout_(timeout_seconds), posts_(static_cast<std::size_t>(size)), here_(posts_.size(), false) {}

  int size() const { return size_; }

  /// Returns when all ranks have brought a post that agrees; `where` begins the watchdog's message.
  void meet(int rank, const Post& post, const std::string& where) {
    std::unique_lock lock(mutex_);
    throw_if_failed();
    posts_[index(rank)] = post;
    gather(lock, rank, where);
  }

  /// Returns when all ranks have read what they need of each other's posts. Leaves the posts alone: others still read
  /// them.
  void part(int rank, const std::string& where) {
    std::unique_lock lock(mutex_);
    throw_if_failed();
    gather(lock, rank, where);
  }

  /// The post that `rank` brought to the last meeting; valid until the caller parts.
  const Post& post_of(int rank) const { return posts_[index(rank)]; }

  void send(int source, int destination, ConstView buffer, const std::string& where) {
    std::unique_lock lock(mutex_);
    throw_if_failed();
    mail_[{source, destination}] = buffer;
    changed_.notify_all();
    wait(
        lock,
        [&] {
          return !mail_.contains({source, destination});
        },
        where, [&] { return std::vector{destination}; });
  }

  void recv(int source, int destination, View buffer, const std::string& where) {
    std::unique_lock lock(mutex_);
    throw_if_failed();
    wait(
        lock,
        [&] {
          return mail_.contains({source, destination});
        },
        where, [&] { return std::vector{source}; });
    const ConstView letter = mail_.at({source, destination});
    if (letter.numel() != buffer.numel() || letter.dtype() != buffer.dtype()) {
      abort_locked(fmt::format("{}: rank {} sent {} elements of {}, {} of {} expected", where, source, letter.numel(),
                               name_of(letter.dtype()), buffer.numel(), name_of(buffer.dtype())));
      throw_if_failed();
    }
    copy_bytes(letter, buffer);
    mail_.erase({source, destination});
    changed_.notify_all();
  }

  void abort(const std::string& reason) {
    const std::scoped_lock lock(mutex_);
    abort_locked(reason);
  }

 private:
  static std::size_t index(int rank) { return static_cast<std::size_t>(rank); }

  void gather(std::unique_lock<std::mutex>& lock, int rank, const std::string& where) {
    here_[index(rank)] = true;
    const std::uint64_t meeting = meeting_;
    if (++arrived_ == size_) {
      check_agreement();
      arrived_ = 0;
      here_.assign(here_.size(), false);
      meeting_ += 1;
      changed_.notify_all();
      throw_if_failed();
      return;
    }
    wait(
        lock, [&] { return meeting_ != meeting; }, where, [&] { return missing_ranks(); });
  }

  template <typename Done, typename Missing>
  void wait(std::unique_lock<std::mutex>& lock, Done done, const std::string& where, Missing missing) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_);
    const auto limit = std::chrono::time_point_cast<std::chrono::steady_clock::duration>(deadline);
    changed_.wait_until(lock, limit, [&] { return done() || !failure_.empty(); });
    if (failure_.empty() && !done()) abort_locked(stall_message(where, timeout_, missing()));
    throw_if_failed();
  }

  void check_agreement() {
    for (int rank = 1; rank < size_; ++rank) {
      if (post_of(rank).agrees_with(post_of(0))) continue;
      abort_locked(fmt::format("ranks disagree: rank 0 calls {}, rank {} calls {}", post_of(0).describe(), rank,
                               post_of(rank).describe()));
      return;
    }
  }

  std::vector<int> missing_ranks() const {
    std::vector<int> missing;
    for (int rank = 0; rank < size_; ++rank) {
      if (!here_[index(rank)]) missing.push_back(rank);
    }
    return missing;
  }

  void abort_locked(const std::string& reason) {
    if (failure_.empty()) failure_ = reason.empty() ? "aborted" : reason;
    changed_.notify_all();
  }

  void throw_if_failed() const {
    if (!failure_.empty()) throw Error(failure_);
  }

  int size_;
  double timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Post> posts_;
  std::vector<bool> here_;
  int arrived_ = 0;
  std::uint64_t meeting_ = 0;
  std::map<std::pair<int, int>, ConstView> mail_;
  std::string failure_;
};

namespace {

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadWorld> world, int rank) : world_(std::move(world)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return world_->size(); }
  std::string description() const override { return fmt::format("threads ({} ranks)", size()); }

 protected:
  void do_all_gather(ConstView send, View recv, Stream& stream) override {
    stream.synchronize();
    exchange({"all_gather", send.numel(), send.dtype(), 0, {}, send}, [&] {
      for (int r = 0; r < size(); ++r) {
        copy_bytes(world_->post_of(r).send, recv.slice(r * send.numel(), send.numel()));
      }
    });
  }

  void do_all_to_all(ConstView send, const PieceRange& range, View recv, Stream& stream) override {
    stream.synchronize();
    exchange({"all_to_all", send.numel(), send.dtype(), 0, range, send}, [&] {
      for (int r = 0; r < size(); ++r) {
        const ConstView piece = world_->post_of(r).send.slice(rank_ * range.stride + range.offset, range.count);
        copy_bytes(piece, recv.slice(r * range.count, range.count));
      }
    });
  }

  void do_broadcast(View buffer, int root, Stream& stream) override {
    stream.synchronize();
    exchange({"broadcast", buffer.numel(), buffer.dtype(), root, {}, buffer},
             [&] { copy_bytes(world_->post_of(root).send, buffer); });
  }

  void do_send(ConstView buffer, int destination, Stream& stream) override {
    stream.synchronize();
    world_->send(rank_, destination, buffer, where("send"));
  }

  void do_recv(View buffer, int source, Stream& stream) override {
    stream.synchronize();
    world_->recv(source, rank_, buffer, where("recv"));
  }

  void do_barrier() override {
    Post post;
    post.operation = "barrier";
    world_->meet(rank_, post, where("barrier"));
  }

 private:
  template <typename Copy>
  void exchange(const Post& post, Copy copy) {
    const std::string place = where(post.operation);
    world_->meet(rank_, post, place);
    copy();
    world_->part(rank_, place);
  }

  std::shared_ptr<ThreadWorld> world_;
  int rank_;
};

}  // namespace

std::shared_ptr<ThreadWorld> make_thread_world(int size, double timeout_seconds) {
  require(size > 0, "communicator: {} ranks", size);
  return std::make_shared<ThreadWorld>(size, timeout_seconds);
}

std::unique_ptr<Communicator> make_thread_communicator(std::shared_ptr<ThreadWorld> world, int rank) {
  require(rank >= 0 && rank < world->size(), "communicator: rank {} of {}", rank, world->size());
  return std::make_unique<ThreadCommunicator>(std::move(world), rank);
}

void abort_thread_world(ThreadWorld& world, const std::string& reason) { world.abort(reason); }

void run_rank_threads(int size, const std::function<void(Communicator&)>& body, double timeout_seconds) {
  const auto world = make_thread_world(size, timeout_seconds);
  std::mutex mutex;
  std::exception_ptr first;
  const auto keep_first = [&](const std::string& reason) {
    {
      const std::scoped_lock lock(mutex);
      if (!first) first = std::current_exception();
    }
    world->abort(reason);
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        const auto communicator = make_thread_communicator(world, rank);
        body(*communicator);
      } catch (const std::exception& error) {
        keep_first(error.what());
      } catch (...) {
        keep_first(fmt::format("rank {} failed", rank));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace llama_zero
