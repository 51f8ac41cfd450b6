// Collectives over MPI and NCCL: staged through host memory chunk by chunk, on GPU buffers, and what happens on
// failure. Run alone or under mpirun: every rank runs the same cases.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/cuda/cuda_device.h"
#include "core/error.h"
#include "zero/cuda/nccl_communicator.h"
#include "zero/cuda/pinned_staging.h"
#include "zero/mpi_communicator.h"

namespace llama_zero::test {
namespace {

constexpr double kTimeoutSeconds = 30.0;
constexpr std::int64_t kCount = 1000;  // elements of a part: many chunks, the last one short
constexpr std::size_t kSmallChunk = 1536;

MpiWorld& world() {
  static MpiWorld mpi;
  return mpi;
}

bool has_gpu() { return cuda_available(); }
/// NCCL wants a GPU for each rank.
bool has_nccl() { return has_gpu() && why_no_nccl().empty() && world().local_size() <= cuda_device_count(); }

/// Host memory that stands in for a device: parts go through buffers of their own, and breaches of the order of calls
/// are seen: a part that is read before wait_outgoing, or written after its slot was begun again, has the wrong bytes.
class ScratchStaging final : public HostStaging {
 public:
  std::size_t chunk_bytes() const override { return kSmallChunk; }
  void begin_outgoing(int slot) override { outgoing_[slot].clear(); }
  ConstView fetch(ConstView source, int slot, Stream&) override {
    auto& part = outgoing_[slot].emplace_back(source, std::vector<std::byte>(source.bytes(), std::byte{0xff}));
    return {part.second.data(), source.numel(), source.dtype()};
  }
  void wait_outgoing(int slot, Stream&) override {
    for (auto& [source, bytes] : outgoing_[slot]) std::copy_n(source.raw(), source.bytes(), bytes.begin());
  }
  void begin_incoming(int slot) override {
    for (auto& bytes : incoming_[slot]) std::ranges::fill(bytes, std::byte{0xff});
    incoming_[slot].clear();
  }
  View open(View destination, int slot, Stream&) override {
    auto& bytes = incoming_[slot].emplace_back(destination.bytes());
    total_ = std::max(total_, total_of(slot));
    return {bytes.data(), destination.numel(), destination.dtype()};
  }
  void close(View host, View destination, int, Stream&) override {
    std::copy_n(host.raw(), host.bytes(), destination.raw());
  }
  std::size_t largest_chunk() const { return total_; }

 private:
  std::size_t total_of(int slot) const {
    return std::accumulate(incoming_[slot].begin(), incoming_[slot].end(), std::size_t{0},
                           [](std::size_t sum, const auto& bytes) { return sum + bytes.size(); });
  }
  std::vector<std::pair<ConstView, std::vector<std::byte>>> outgoing_[kSlots];
  std::vector<std::vector<std::byte>> incoming_[kSlots];
  std::size_t total_ = 0;
};

/// i32 elements on a device.
class Buffer {
 public:
  Buffer(Device& device, std::int64_t count)
      : device_(device),
        bytes_(static_cast<std::size_t>(count) * sizeof(std::int32_t)),
        view_(device.allocate(bytes_), count, DType::kI32) {}
  ~Buffer() { device_.deallocate(view_.raw(), bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  View view() const { return view_; }
  void set(const std::vector<std::int32_t>& values, Stream& stream) {
    device_.copy(ConstView::of(std::span<const std::int32_t>(values)), view_, stream);
    stream.synchronize();
  }
  std::vector<std::int32_t> get(Stream& stream) const {
    std::vector<std::int32_t> values(static_cast<std::size_t>(view_.numel()));
    device_.copy(view_, View::of(std::span<std::int32_t>(values)), stream);
    stream.synchronize();
    return values;
  }

 private:
  Device& device_;
  std::size_t bytes_;
  View view_;
};

/// What rank `rank` has at element i of its buffers.
std::int32_t value_of(int rank, std::int64_t i) { return rank * 1000000 + static_cast<std::int32_t>(i); }

std::vector<std::int32_t> values_of(int rank, std::int64_t count) {
  std::vector<std::int32_t> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(value_of(rank, i));
  return values;
}

void check_all_gather(Communicator& communicator, Device& device, Stream& stream) {
  const int ranks = communicator.size();
  Buffer all(device, kCount * ranks);
  const View own = all.view().slice(communicator.rank() * kCount, kCount);  // in place
  device.copy(ConstView::of(std::span<const std::int32_t>(values_of(communicator.rank(), kCount))), own, stream);
  stream.synchronize();
  communicator.all_gather(own, all.view(), stream);
  const std::vector<std::int32_t> got = all.get(stream);
  bool same = true;
  for (int r = 0; r < ranks; ++r) {
    for (std::int64_t i = 0; i < kCount; ++i)
      same = same && got[static_cast<std::size_t>(r * kCount + i)] == value_of(r, i);
  }
  CHECK(same);
}

void check_all_to_all(Communicator& communicator, Device& device, Stream& stream) {
  const int ranks = communicator.size();
  const PieceRange range{kCount, 100, 801};
  Buffer send(device, kCount * ranks);
  Buffer recv(device, range.count * ranks);
  send.set(values_of(communicator.rank(), kCount * ranks), stream);
  communicator.all_to_all(send.view(), range, recv.view(), stream);
  const std::vector<std::int32_t> got = recv.get(stream);
  bool same = true;
  for (int r = 0; r < ranks; ++r) {
    for (std::int64_t i = 0; i < range.count; ++i) {
      const std::int64_t from = communicator.rank() * range.stride + range.offset + i;
      same = same && got[static_cast<std::size_t>(r * range.count + i)] == value_of(r, from);
    }
  }
  CHECK(same);
}

void check_broadcast_and_ring(Communicator& communicator, Device& device, Stream& stream) {
  const int ranks = communicator.size();
  const int rank = communicator.rank();
  Buffer buffer(device, kCount);
  buffer.set(values_of(rank, kCount), stream);
  communicator.broadcast(buffer.view(), ranks - 1, stream);
  CHECK(buffer.get(stream) == values_of(ranks - 1, kCount));
  if (ranks == 1) return;
  buffer.set(values_of(rank, kCount), stream);
  if (rank == 0) communicator.send(buffer.view(), 1, stream);
  if (rank == 1) {
    communicator.recv(buffer.view(), 0, stream);
    CHECK(buffer.get(stream) == values_of(0, kCount));
  }
}

void check_collectives(Communicator& communicator, Device& device) {
  const auto stream = device.create_stream("test");
  for (int round = 0; round < 3; ++round) {
    check_all_gather(communicator, device, *stream);
    check_all_to_all(communicator, device, *stream);
    check_broadcast_and_ring(communicator, device, *stream);
    communicator.barrier();
  }
}

TEST_CASE("collectives through small staging chunks move every byte, and no chunk is larger than allowed") {
  const auto device = make_cpu_device();
  auto staging = std::make_unique<ScratchStaging>();
  const ScratchStaging& seen = *staging;
  const auto communicator = make_mpi_communicator(world(), kTimeoutSeconds, std::move(staging));
  check_collectives(*communicator, *device);
  CHECK(seen.largest_chunk() <= kSmallChunk);
  CHECK((world().size() == 1 || seen.largest_chunk() > kSmallChunk / 2));
}

TEST_CASE("GPU buffers are exchanged through page-locked chunks" * doctest::skip(!has_gpu())) {
  const auto device = make_cuda_device(world().local_rank() % cuda_device_count());
  const auto communicator = make_mpi_communicator(world(), kTimeoutSeconds, make_pinned_staging(*device, kSmallChunk));
  check_collectives(*communicator, *device);
}

TEST_CASE("NCCL exchanges GPU buffers" * doctest::skip(!has_nccl())) {
  const auto device = make_cuda_device(world().local_rank());
  const auto communicator =
      make_nccl_communicator(make_mpi_communicator(world(), kTimeoutSeconds), *device, kTimeoutSeconds);
  CHECK(communicator->description().find("NCCL 2.") == 0);
  check_collectives(*communicator, *device);
}

TEST_CASE("NCCL's collectives of two streams keep the order of their calls" * doctest::skip(!has_nccl())) {
  const auto device = make_cuda_device(world().local_rank());
  const auto communicator =
      make_nccl_communicator(make_mpi_communicator(world(), kTimeoutSeconds), *device, kTimeoutSeconds);
  constexpr std::int64_t kLarge = std::int64_t{8} << 20;
  const auto first = device->create_stream("first");
  const auto second = device->create_stream("second");
  Buffer buffer(*device, kLarge);
  Buffer gathered(*device, kLarge * communicator->size());
  Buffer again(*device, kLarge * communicator->size() * communicator->size());
  buffer.set(values_of(communicator->rank(), kLarge), *first);
  // The second collective reads what the first one writes; only the communicator orders the two streams.
  communicator->all_gather(buffer.view(), gathered.view(), *first);
  communicator->all_gather(gathered.view(), again.view(), *second);
  const std::vector<std::int32_t> got = again.get(*second);
  CHECK(std::equal(got.begin(), got.begin() + kLarge, values_of(0, kLarge).begin()));
}

TEST_CASE("NCCL without a GPU is an error that says what is missing" * doctest::skip(has_gpu())) {
  const auto device = make_cpu_device();
  auto bootstrap = make_mpi_communicator(world(), kTimeoutSeconds);
  CHECK_THROWS_AS(make_nccl_communicator(std::move(bootstrap), *device, kTimeoutSeconds), Error);
  CHECK_THROWS_AS(make_pinned_staging(*device), Error);
}

}  // namespace
}  // namespace llama_zero::test
