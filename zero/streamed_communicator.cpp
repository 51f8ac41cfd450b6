#include "zero/streamed_communicator.h"

#include <chrono>
#include <thread>
#include <utility>

namespace llama_zero {
namespace {

class StreamedCommunicator final : public Communicator {
 public:
  StreamedCommunicator(Device& device, Communicator& inner, Network network)
      : inner_(inner),
        network_(std::move(network)),
        host_(make_cpu_device()),
        inline_(host_->create_stream("inline")),
        arrived_(device.create_event()),
        done_(device.create_event()),
        stream_(device.create_stream("collectives")) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::string description() const override { return inner_.description() + ", beside the computation"; }

 protected:
  void do_all_gather(ConstView send, View recv, Stream& stream) override {
    give("all_gather", stream, [this, send, recv] { inner_.all_gather(send, recv, *inline_); });
  }
  void do_all_to_all(ConstView send, const PieceRange& range, View recv, Stream& stream) override {
    give("all_to_all", stream, [this, send, range, recv] { inner_.all_to_all(send, range, recv, *inline_); });
  }
  void do_broadcast(View buffer, int root, Stream& stream) override {
    give("broadcast", stream, [this, buffer, root] { inner_.broadcast(buffer, root, *inline_); });
  }
  void do_send(ConstView buffer, int destination, Stream& stream) override {
    settle(&stream);
    inner_.send(buffer, destination, *inline_);
  }
  void do_recv(View buffer, int source, Stream& stream) override {
    settle(&stream);
    inner_.recv(buffer, source, *inline_);
  }
  void do_barrier() override {
    settle(nullptr);
    inner_.barrier();
  }

 private:
  void give(std::string_view op, Stream& stream, std::function<void()> call) {
    arrived_->record(stream);
    arrived_->wait(*stream_);
    worker_stream(*stream_).give([this, op, step = step(), call = std::move(call)] {
      if (network_) network_(op);
      inner_.set_step(step);
      call();
    });
    done_->record(*stream_);
    done_->wait(stream);
  }

  void settle(Stream* stream) {
    if (stream != nullptr) stream->synchronize();
    stream_->synchronize();
    inner_.set_step(step());
  }

  Communicator& inner_;
  Network network_;
  std::unique_ptr<Device> host_;
  std::unique_ptr<Stream> inline_;
  std::unique_ptr<Event> arrived_, done_;
  std::unique_ptr<Stream> stream_;  // last: its thread uses the others
};

}  // namespace

Network slow_network(double milliseconds) {
  return [milliseconds](std::string_view) {
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(milliseconds));
  };
}

std::unique_ptr<Communicator> make_streamed_communicator(Device& worker_device, Communicator& inner, Network network) {
  return std::make_unique<StreamedCommunicator>(worker_device, inner, std::move(network));
}

}  // namespace llama_zero
