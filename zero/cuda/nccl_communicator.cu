#include "zero/cuda/nccl_communicator.h"

#include "core/cuda/cuda_device.h"
#include "core/error.h"

#if defined(LLAMA_ZERO_WITH_NCCL)

#include <cstring>
#include <span>
#include <vector>

#include "zero/cuda/nccl_watch.h"

namespace llama_zero {
namespace {

/// What rank 0 sends to start the others.
struct Invitation {
  ncclUniqueId id;
  char failure[512];  ///< empty, or why there is no id
};

Invitation invite(Communicator& bootstrap) {
  Invitation invitation{};
  if (bootstrap.rank() == 0) {
    const ncclResult_t result = nccl_api().GetUniqueId(&invitation.id);
    if (result != ncclSuccess) {
      const std::string text = describe_nccl_error(result, nullptr);
      std::strncpy(invitation.failure, text.c_str(), sizeof(invitation.failure) - 1);
    }
  }
  const auto host = make_cpu_device();
  const auto stream = host->create_stream("bootstrap");
  const View bytes(reinterpret_cast<std::byte*>(&invitation), sizeof(Invitation), DType::kU8);
  bootstrap.broadcast(bytes, 0, *stream);
  require(invitation.failure[0] == '\0', "rank 0: {}", invitation.failure);
  return invitation;
}

ncclDataType_t nccl_type(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return ncclFloat16;
    case DType::kBF16:
      return ncclBfloat16;
    case DType::kF32:
      return ncclFloat32;
    default:
      fail("NCCL: {} is not summed", name_of(dtype));
  }
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> bootstrap, Device& device, double timeout_seconds)
      : bootstrap_(std::move(bootstrap)),
        gpu_(cuda_properties(device)),
        stream_(device.create_stream("NCCL")),
        before_(device.create_event()),
        after_(device.create_event()) {
    const Invitation invitation = invite(*bootstrap_);
    make_current(gpu_);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    const ncclResult_t result = api_.CommInitRankConfig(&comm, size(), invitation.id, rank(), &config);
    watch_ = std::make_unique<NcclWatch>(gpu_, comm, timeout_seconds);
    const std::scoped_lock lock(watch_->mutex());
    watch_->settle(result, fmt::format("rank {}: start of NCCL", rank()));
  }
  ~NcclCommunicator() override {
    const std::scoped_lock lock(watch_->mutex());
    for (void* handle : registered_) {
      if (watch_->comm() != nullptr) api_.CommDeregister(watch_->comm(), handle);
    }
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  /// NCCL's own sum, for comparison: its order depends on the algorithm that NCCL chooses.
  void reduce_scatter(ConstView send, View recv, Stream& stream) {
    require(api_.ReduceScatter != nullptr, "NCCL: no ncclReduceScatter");
    require(send.numel() == recv.numel() * size() && send.dtype() == recv.dtype(), "reduce_scatter: counts differ");
    run("reduce_scatter", stream, [&](ncclComm_t comm, cudaStream_t on) {
      return api_.ReduceScatter(send.raw(), recv.raw(), static_cast<std::size_t>(recv.numel()), nccl_type(send.dtype()),
                                ncclSum, comm, on);
    });
  }

  void register_memory(View memory) {
    require(api_.CommRegister != nullptr && api_.CommDeregister != nullptr, "NCCL: too old to register memory");
    const std::scoped_lock lock(watch_->mutex());
    watch_->require_healthy();
    void* handle = nullptr;
    const ncclResult_t result = api_.CommRegister(watch_->comm(), memory.raw(), memory.bytes(), &handle);
    watch_->settle(result, fmt::format("rank {}: registration of memory", rank()));
    registered_.push_back(handle);
  }

  int rank() const override { return bootstrap_->rank(); }
  int size() const override { return bootstrap_->size(); }
  std::string description() const override {
    int version = 0;
    api_.GetVersion(&version);
    return fmt::format("NCCL {}.{}.{} ({} rank{})", version / 10000, version / 100 % 100, version % 100, size(),
                       size() == 1 ? "" : "s");
  }

 protected:
  void do_all_gather(ConstView send, View recv, Stream& stream) override {
    run("all_gather", stream, [&](ncclComm_t comm, cudaStream_t on) {
      return api_.AllGather(send.raw(), recv.raw(), send.bytes(), ncclUint8, comm, on);
    });
  }

  void do_all_to_all(ConstView send, const PieceRange& range, View recv, Stream& stream) override {
    run("all_to_all", stream, [&](ncclComm_t comm, cudaStream_t on) {
      return grouped([&](int peer) {
        const ConstView out = send.slice(peer * range.stride + range.offset, range.count);
        const View in = recv.slice(peer * range.count, range.count);
        const ncclResult_t sent = api_.Send(out.raw(), out.bytes(), ncclUint8, peer, comm, on);
        const ncclResult_t received = api_.Recv(in.raw(), in.bytes(), ncclUint8, peer, comm, on);
        return is_trouble(sent) ? sent : received;
      });
    });
  }

  void do_broadcast(View buffer, int root, Stream& stream) override {
    run("broadcast", stream, [&](ncclComm_t comm, cudaStream_t on) {
      return api_.Broadcast(buffer.raw(), buffer.raw(), buffer.bytes(), ncclUint8, root, comm, on);
    });
  }

  void do_send(ConstView buffer, int destination, Stream& stream) override {
    run("send", stream, [&](ncclComm_t comm, cudaStream_t on) {
      return api_.Send(buffer.raw(), buffer.bytes(), ncclUint8, destination, comm, on);
    });
  }

  void do_recv(View buffer, int source, Stream& stream) override {
    run("recv", stream, [&](ncclComm_t comm, cudaStream_t on) {
      return api_.Recv(buffer.raw(), buffer.bytes(), ncclUint8, source, comm, on);
    });
  }

  void do_barrier() override {
    {
      const std::scoped_lock lock(watch_->mutex());
      watch_->require_healthy();
    }
    bootstrap_->set_step(step());
    bootstrap_->barrier();
  }

 private:
  static bool is_trouble(ncclResult_t result) { return result != ncclSuccess && result != ncclInProgress; }

  /// send_recv(peer) for every rank, as one operation.
  template <typename SendRecv>
  ncclResult_t grouped(SendRecv send_recv) {
    ncclResult_t result = api_.GroupStart();
    for (int peer = 0; peer < size() && !is_trouble(result); ++peer) result = send_recv(peer);
    const ncclResult_t ended = api_.GroupEnd();
    return is_trouble(result) ? result : ended;
  }

  /// Gives the collective to the communicator's stream, after the work of `stream` and before what `stream` gets next:
  /// so the collectives of all streams have one order, the same on every rank.
  template <typename Call>
  void run(std::string_view operation, Stream& stream, Call call) {
    make_current(gpu_);
    before_->record(stream);
    before_->wait(*stream_);
    auto* on = static_cast<cudaStream_t>(stream_->handle());
    {
      const std::scoped_lock lock(watch_->mutex());
      watch_->require_healthy();
      const std::string place = where(operation);
      watch_->start(on, place);
      watch_->settle(call(watch_->comm(), on), place);
      watch_->finish(on);
    }
    after_->record(*stream_);
    after_->wait(stream);
  }

  const NcclApi& api_ = nccl_api();
  std::unique_ptr<Communicator> bootstrap_;
  CudaProperties gpu_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Event> before_, after_;
  std::unique_ptr<NcclWatch> watch_;
  std::vector<void*> registered_;
};

NcclCommunicator& nccl_of(Communicator& communicator) {
  auto* nccl = dynamic_cast<NcclCommunicator*>(&communicator);
  require(nccl != nullptr, "{} is not NCCL", communicator.description());
  return *nccl;
}

}  // namespace

std::string why_no_nccl() { return nccl_api().missing; }

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> bootstrap, Device& device,
                                                     double timeout_seconds) {
  const std::string missing = why_no_nccl();
  require(missing.empty(), "NCCL cannot be used: {}", missing);
  return std::make_unique<NcclCommunicator>(std::move(bootstrap), device, timeout_seconds);
}

void nccl_reduce_scatter(Communicator& communicator, ConstView send, View recv, Stream& stream) {
  nccl_of(communicator).reduce_scatter(send, recv, stream);
}

void nccl_register(Communicator& communicator, View memory) { nccl_of(communicator).register_memory(memory); }

}  // namespace llama_zero

#else

namespace llama_zero {

std::string why_no_nccl() { return "this program was built without NCCL (nccl.h was not found)"; }

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator>, Device&, double) {
  fail("NCCL cannot be used: {}", why_no_nccl());
}

void nccl_reduce_scatter(Communicator& communicator, ConstView, View, Stream&) {
  fail("{} is not NCCL", communicator.description());
}

void nccl_register(Communicator& communicator, View) { fail("{} is not NCCL", communicator.description()); }

}  // namespace llama_zero

#endif
