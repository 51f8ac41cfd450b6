#include "zero/communicator.h"

namespace llama_zero {
namespace {

std::int64_t bytes_of(const ConstView& view) { return static_cast<std::int64_t>(view.bytes()); }

}  // namespace

void Communicator::all_gather(ConstView send, View recv, Stream& stream) {
  require(recv.numel() == send.numel() * size() && recv.dtype() == send.dtype(),
          "{}: {} elements of {} from each of {} ranks do not fill {} of {}", where("all_gather"), send.numel(),
          name_of(send.dtype()), size(), recv.numel(), name_of(recv.dtype()));
  observed({"all_gather", bytes_of(send), &stream}, [&] { do_all_gather(send, recv, stream); });
}

void Communicator::all_to_all(ConstView send, View recv, Stream& stream) {
  const std::int64_t count = send.numel() / size();
  require(count * size() == send.numel(), "{}: {} elements do not divide among {} ranks", where("all_to_all"),
          send.numel(), size());
  all_to_all(send, PieceRange{count, 0, count}, recv, stream);
}

void Communicator::all_to_all(ConstView send, const PieceRange& range, View recv, Stream& stream) {
  require(send.numel() == range.stride * size() && recv.numel() == range.count * size() && recv.dtype() == send.dtype(),
          "{}: send {} of {}, recv {} of {} do not fit pieces of {} (of {}) for {} ranks", where("all_to_all"),
          send.numel(), name_of(send.dtype()), recv.numel(), name_of(recv.dtype()), range.count, range.stride, size());
  require(range.offset >= 0 && range.count >= 0 && range.offset + range.count <= range.stride,
          "{}: part [{}, +{}) of pieces of {}", where("all_to_all"), range.offset, range.count, range.stride);
  observed({"all_to_all", bytes_of(recv), &stream}, [&] { do_all_to_all(send, range, recv, stream); });
}

void Communicator::broadcast(View buffer, int root, Stream& stream) {
  require(root >= 0 && root < size(), "{}: root {} of {} ranks", where("broadcast"), root, size());
  observed({"broadcast", bytes_of(buffer), &stream}, [&] { do_broadcast(buffer, root, stream); });
}

void Communicator::send(ConstView buffer, int destination, Stream& stream) {
  require_peer(destination, "send");
  observed({"send", bytes_of(buffer), &stream}, [&] { do_send(buffer, destination, stream); });
}

void Communicator::recv(View buffer, int source, Stream& stream) {
  require_peer(source, "recv");
  observed({"recv", bytes_of(buffer), &stream}, [&] { do_recv(buffer, source, stream); });
}

void Communicator::barrier() {
  observed({"barrier", 0, nullptr}, [&] { do_barrier(); });
}

void Communicator::wait(std::string_view op, Event& event, Stream& stream) {
  const CommCall call = completed({op, 0, &stream});
  for (CommObserver* observer : observers_) observer->before_wait(call);
  event.wait(stream);
  for (CommObserver* observer : observers_) observer->after_wait(call);
}

void Communicator::host_copy(std::string_view op, Device& device, ConstView source, View destination, Stream& stream) {
  const CommCall call = completed({op, bytes_of(source), &stream});
  for (CommObserver* observer : observers_) observer->before_copy(call);
  device.copy(source, destination, stream);
  for (CommObserver* observer : observers_) observer->after_copy(call);
}

std::string Communicator::where(std::string_view operation) const {
  return fmt::format("rank {}: {} of step {}", rank(), operation, step_);
}

void Communicator::require_peer(int peer, std::string_view operation) const {
  require(peer >= 0 && peer < size() && peer != rank(), "{}: no such peer: rank {} of {}", where(operation), peer,
          size());
}

std::string stall_message(std::string_view where, double timeout_seconds, const std::vector<int>& missing) {
  std::string who = missing.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < missing.size(); ++i) {
    if (i > 0) who += ", ";
    who += std::to_string(missing[i]);
  }
  who += missing.size() == 1 ? " has" : " have";
  return fmt::format("{} did not finish in {:g} s; {} not answered (a rank may have died or stalled)", where,
                     timeout_seconds, who);
}

namespace {

class LocalCommunicator final : public Communicator {
 public:
  explicit LocalCommunicator(Device& device) : device_(device) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string description() const override { return "local (1 rank)"; }

 protected:
  void do_all_gather(ConstView send, View recv, Stream& stream) override { copy(send, recv, stream); }
  void do_all_to_all(ConstView send, const PieceRange& range, View recv, Stream& stream) override {
    copy(send.slice(range.offset, range.count), recv, stream);
  }
  void do_broadcast(View, int, Stream&) override {}
  void do_send(ConstView, int, Stream&) override {}
  void do_recv(View, int, Stream&) override {}
  void do_barrier() override {}

 private:
  void copy(ConstView from, View to, Stream& stream) {
    if (from.raw() != to.raw()) device_.copy(from, to, stream);
  }

  Device& device_;
};

class NullCommunicator final : public Communicator {
 public:
  NullCommunicator(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string description() const override { return fmt::format("planner ({} ranks)", size_); }

 protected:
  void do_all_gather(ConstView, View, Stream&) override {}
  void do_all_to_all(ConstView, const PieceRange&, View, Stream&) override {}
  void do_broadcast(View, int, Stream&) override {}
  void do_send(ConstView, int, Stream&) override {}
  void do_recv(View, int, Stream&) override {}
  void do_barrier() override {}

 private:
  int rank_, size_;
};

}  // namespace

std::unique_ptr<Communicator> make_local_communicator(Device& device) {
  return std::make_unique<LocalCommunicator>(device);
}

std::unique_ptr<Communicator> make_null_communicator(int rank, int size) {
  require(size > 0 && rank >= 0 && rank < size, "communicator: rank {} of {}", rank, size);
  return std::make_unique<NullCommunicator>(rank, size);
}

}  // namespace llama_zero
