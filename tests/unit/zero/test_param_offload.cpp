// Stage 3's shards in host memory.
#include <doctest/doctest.h>

#include <algorithm>

#include "rank_stack.h"
#include "tests/support/recording_device.h"
#include "zero/unit_shards.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

const std::vector<std::int64_t> kUnits{100, 1000, 900, 800, 1000};  // unit 0 is persistent in RankStack

StackOptions offloaded() {
  StackOptions options;
  options.stage = 3;
  options.offload.enabled = true;
  return options;
}

/// Counts the copies to the device and their bytes.
class CopyCounter final : public CommObserver {
 public:
  int copies = 0;
  std::int64_t bytes = 0, largest = 0;
  void before(const CommCall&) override {}
  void after(const CommCall&) override {}
  void before_copy(const CommCall& call) override {
    if (call.op != "copy_to_device") return;
    copies += 1;
    bytes += call.bytes;
    largest = std::max(largest, call.bytes);
  }
};

/// By updates, as the optimizer does.
void set_numbered_weights(RankStack& rank) {
  for (int unit = 0; unit < rank.layout.unit_count(); ++unit) {
    const View target = rank.params->begin_update(unit, *rank.stream);
    require(target.numel() == rank.layout[unit].shard, "an update of {} elements", target.numel());
    for (std::int64_t i = 0; i < target.numel(); ++i) {
      target.as<float>()[i] = static_cast<float>(10000 * unit + rank.layout.own_begin(unit) + i);
    }
    rank.params->end_update(unit, *rank.stream);
  }
  rank.params->publish(*rank.stream);
}

void require_numbered(RankStack& rank, int unit) {
  const ConstView weights = rank.params->acquire(unit, *rank.stream);
  for (std::int64_t i = 0; i < rank.layout[unit].numel; ++i) {
    require(weights.as<float>()[i] == static_cast<float>(10000 * unit + i), "unit {} element {} is {}", unit, i,
            weights.as<float>()[i]);
  }
  rank.params->release(unit, *rank.stream);
}

}  // namespace

TEST_CASE("offloaded units are seen whole after an update, at 1 to 4 ranks, and persistent ones stay on the device") {
  for (const int ranks : {1, 2, 3, 4}) {
    run_rank_threads(ranks, [](Communicator& communicator) {
      RankStack rank(kUnits, offloaded(), communicator);
      set_numbered_weights(rank);
      for (int unit = 0; unit < 5; ++unit) {
        require(rank.params->on_host(unit) == (unit > 0), "unit {} is on the wrong side", unit);
        require_numbered(rank, unit);
      }
      for (int unit = 4; unit >= 0; --unit) require_numbered(rank, unit);
      std::size_t shards = 0;
      for (int unit = 1; unit < 5; ++unit) shards += static_cast<std::size_t>(rank.layout[unit].shard) * sizeof(float);
      auto host = rank.host.report().at_peak;
      require(host.size() == 1 && host["host weights"] == shards, "{} bytes on the host", host["host weights"]);
      auto device = rank.arena.report().at_peak;
      require(device["weights"] == static_cast<std::size_t>(rank.layout[0].shard) * sizeof(float),
              "{} bytes of weights on the device", device["weights"]);
      const auto slot = static_cast<std::size_t>(rank.layout[1].padded()) * sizeof(float);
      require(device["leases"] < 3 * slot, "{} bytes of leases", device["leases"]);
    });
  }
}

TEST_CASE("the host may write its weights itself") {
  run_rank_threads(2, [](Communicator& communicator) {
    RankStack rank(kUnits, offloaded(), communicator);
    for (int unit = 0; unit < 5; ++unit) {
      const View own = rank.params->own(unit);
      for (std::int64_t i = 0; i < own.numel(); ++i) {
        own.as<float>()[i] = static_cast<float>(10000 * unit + rank.layout.own_begin(unit) + i);
      }
    }
    rank.params->publish(*rank.stream);
    for (int unit = 0; unit < 5; ++unit) require_numbered(rank, unit);
  });
}

TEST_CASE("pin_memory decides which kind of host memory weights lie in") {
  const Layout layout({1000, 500}, 1, 0);
  for (const bool pinned : {true, false}) {
    RecordingDevice device;
    const auto communicator = make_local_communicator(device);
    const auto ops = make_cpu_ops(1);
    const auto stream = device.create_stream("all");
    Arena arena(device, std::size_t{1} << 20U, "test");
    HostArena host(device);
    const RankContext context{device, *ops, *communicator, arena, host, layout, *stream, *stream, *stream};
    ParamOffload offload;
    offload.enabled = true;
    offload.pin_memory = pinned;
    const UnitShards shards(context, {false, false}, DType::kF16, offload);
    const HostMemory expected = pinned ? HostMemory::kPinned : HostMemory::kPageable;
    CHECK(device.host_memory == std::vector<HostMemory>{expected, expected});
  }
}

TEST_CASE("buffer_count bounds the units on the device, buffer_size cuts their copies") {
  const auto leased = [](std::int64_t count, std::int64_t size, int copies) {
    StackOptions options = offloaded();
    options.leases.prefetch_bucket_size = 1 << 20;
    options.offload.buffer_count = count;
    options.offload.buffer_size = size;
    const auto device = make_cpu_device();
    const auto communicator = make_local_communicator(*device);
    RankStack rank(kUnits, options, *communicator);
    set_numbered_weights(rank);
    CopyCounter counter;
    communicator->add_observer(counter);
    require_numbered(rank, 3);
    CHECK(counter.copies == copies);
    CHECK(counter.bytes == rank.layout[3].shard * 4);
    CHECK(counter.largest <= size * 4);
    return dynamic_cast<LeasedParamStore&>(*rank.params).slot_count();
  };
  CHECK(leased(100, 1000, 1) == 4);
  CHECK(leased(3, 400, 3) == 3);  // 832 elements, with padding
  CHECK(leased(1, 832, 1) == 2);  // this stack's model reads two units at once
}

TEST_CASE("what max_in_cpu leaves on the device is gathered from there") {
  for (const int ranks : {1, 2}) {
    run_rank_threads(ranks, [](Communicator& communicator) {
      StackOptions options = offloaded();
      const Layout layout(kUnits, communicator.size(), communicator.rank());
      options.offload.max_in_cpu = layout[1].shard + layout[3].shard;  // unit 2 is larger than what unit 1 leaves
      RankStack rank(kUnits, options, communicator);
      require(rank.params->on_host(1) && !rank.params->on_host(2) && rank.params->on_host(3), "wrong shards moved");
      set_numbered_weights(rank);
      for (int unit = 0; unit < 5; ++unit) require_numbered(rank, unit);
    });
  }
}
