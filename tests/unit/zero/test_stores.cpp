// How the stores are used rightly and wrongly.
#include <doctest/doctest.h>

#include <cmath>

#include "rank_stack.h"
#include "zero/communicator.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

const std::vector<std::int64_t> kUnits{100, 1000, 900, 800, 1000};  // unit 0 is persistent in RankStack

StackOptions stage(int number) {
  StackOptions options;
  options.stage = number;
  return options;
}

void set_numbered_weights(RankStack& rank) {
  for (int unit = 0; unit < rank.layout.unit_count(); ++unit) {
    const View own = rank.params->own(unit);
    for (std::int64_t i = 0; i < own.numel(); ++i) {
      own.as<float>()[i] = static_cast<float>(10000 * unit + rank.layout.own_begin(unit) + i);
    }
  }
  rank.params->publish(*rank.stream);
}

void require_numbered(ConstView weights, int unit, std::int64_t numel) {
  for (std::int64_t i = 0; i < numel; ++i) {
    require(weights.as<float>()[i] == static_cast<float>(10000 * unit + i), "unit {} element {} is {}", unit, i,
            weights.as<float>()[i]);
  }
}

LeasedParamStore& leases(RankStack& rank) { return dynamic_cast<LeasedParamStore&>(*rank.params); }

}  // namespace

TEST_CASE(
    "forward and backward order see every unit whole, with two units gathered at the peak besides persistent ones") {
  run_rank_threads(3, [](Communicator& communicator) {
    RankStack rank(kUnits, stage(3), communicator);
    set_numbered_weights(rank);
    require(leases(rank).slot_count() == 2, "{} slots", leases(rank).slot_count());
    const int last = rank.layout.unit_count() - 1;
    const auto visit = [&](int unit, int next) {
      const ConstView weights = rank.params->acquire(unit, *rank.stream);
      if (next >= 0 && next <= last) rank.params->prefetch(next);
      require_numbered(weights, unit, rank.layout[unit].numel);
      rank.params->release(unit, *rank.stream);
    };
    for (int unit = 0; unit <= last; ++unit) visit(unit, unit + 1);
    for (int unit = last; unit >= 0; --unit) visit(unit, unit - 1);
    const std::int64_t peak = rank.params->gathered_elements_peak();
    require(peak == 100 + 1000 + 900, "{} elements were gathered at the peak", peak);
  });
}

TEST_CASE("a larger prefetch bucket takes more slots and gathers further ahead in the direction of travel") {
  StackOptions options = stage(3);
  options.leases.prefetch_bucket_size = 2 * 1024;  // a unit of 1000 is padded to 1,024 on 2 ranks
  run_rank_threads(2, [&](Communicator& communicator) {
    RankStack rank(kUnits, options, communicator);
    set_numbered_weights(rank);
    require(leases(rank).slot_count() == 3, "{} slots", leases(rank).slot_count());
    rank.params->acquire(4, *rank.stream);
    rank.params->prefetch(4);
    rank.params->prefetch(3);
    require(rank.params->gathered_elements_peak() == 100 + 1000 + 800 + 900, "units 3 and 2 were not prefetched: {}",
            rank.params->gathered_elements_peak());
    rank.params->release(4, *rank.stream);
  });
}

TEST_CASE("without a prefetch bucket hints do nothing") {
  StackOptions options = stage(3);
  options.leases.prefetch_bucket_size = 0;
  run_rank_threads(2, [&](Communicator& communicator) {
    RankStack rank(kUnits, options, communicator);
    set_numbered_weights(rank);
    rank.params->prefetch(1);
    require(rank.params->gathered_elements_peak() == 100, "something was gathered");
  });
}

TEST_CASE("a released lease reads as NaN") {
  run_rank_threads(2, [](Communicator& communicator) {
    RankStack rank(kUnits, stage(3), communicator);
    set_numbered_weights(rank);
    const ConstView weights = rank.params->acquire(2, *rank.stream);
    require_numbered(weights, 2, 900);
    rank.params->release(2, *rank.stream);
    for (const float value : weights.span<float>()) require(std::isnan(value), "{} was left behind", value);
  });
}

TEST_CASE("nested acquires keep a unit until the last release") {
  run_rank_threads(2, [](Communicator& communicator) {
    RankStack rank(kUnits, stage(3), communicator);
    set_numbered_weights(rank);
    const ConstView outer = rank.params->acquire(1, *rank.stream);
    const ConstView inner = rank.params->acquire(1, *rank.stream);
    require(outer.raw() == inner.raw(), "the unit was gathered twice");
    rank.params->release(1, *rank.stream);
    require_numbered(outer, 1, 1000);
    rank.params->release(1, *rank.stream);
    require(std::isnan(outer.as<float>()[0]), "the last release did not free the unit");
  });
}

TEST_CASE("a unit that is needed takes the slot of one that was only prefetched") {
  run_rank_threads(2, [](Communicator& communicator) {
    RankStack rank(kUnits, stage(3), communicator);
    set_numbered_weights(rank);
    rank.params->acquire(1, *rank.stream);
    rank.params->prefetch(2);
    require_numbered(rank.params->acquire(4, *rank.stream), 4, 1000);
    rank.params->release(4, *rank.stream);
    rank.params->release(1, *rank.stream);
  });
}

TEST_CASE("prefetched weights are gathered again after an update") {
  run_rank_threads(2, [](Communicator& communicator) {
    RankStack rank(kUnits, stage(3), communicator);
    rank.params->prefetch(1);
    set_numbered_weights(rank);
    require_numbered(rank.params->acquire(1, *rank.stream), 1, 1000);
    require_numbered(rank.params->acquire(0, *rank.stream), 0, 100);
  });
}

TEST_CASE("one rank gathers nothing: its shard is the unit") {
  const auto device = make_cpu_device();
  const auto communicator = make_local_communicator(*device);
  RankStack rank(kUnits, stage(3), *communicator);
  CHECK(leases(rank).slot_count() == 0);
  const ConstView weights = rank.params->acquire(3, *rank.stream);
  CHECK(weights.raw() == rank.params->own(3).raw());
  CHECK(rank.params->gathered_elements_peak() == 0);
  CHECK(rank.arena.report().peak_by_label.count("leases") == 0);
  CHECK(rank.arena.report().peak_by_label.count("buckets") == 0);
}

TEST_CASE("parameters used out of order are refused") {
  for (const int number : {0, 2, 3}) {
    run_rank_threads(2, [number](Communicator& communicator) {
      RankStack rank(kUnits, stage(number), communicator);
      const auto refuses = [](const auto& call) {
        try {
          call();
        } catch (const Error&) {
          return true;
        }
        return false;
      };
      require(refuses([&] { rank.params->release(1, *rank.stream); }), "a release without acquire passed");
      require(refuses([&] { rank.params->acquire(5, *rank.stream); }), "a unit that does not exist was acquired");
      rank.params->acquire(1, *rank.stream);
      require(refuses([&] { rank.params->publish(*rank.stream); }), "an acquired unit was updated");
      rank.params->acquire(2, *rank.stream);
      if (number == 3) require(refuses([&] { rank.params->acquire(3, *rank.stream); }), "a third unit was acquired");
      rank.params->release(1, *rank.stream);
      rank.params->release(2, *rank.stream);
      require(refuses([&] { rank.params->release(2, *rank.stream); }), "a second release passed");
    });
  }
}

TEST_CASE("gradients used out of order are refused") {
  for (const int number : {0, 1, 2, 3}) {
    CAPTURE(number);
    const auto device = make_cpu_device();
    const auto communicator = make_local_communicator(*device);
    RankStack rank(kUnits, stage(number), *communicator);
    rank.gradients->begin_step();
    CHECK_THROWS_AS(rank.gradients->commit(1, *rank.stream), Error);
    CHECK_THROWS_AS(rank.gradients->finish(*rank.stream), Error);
    rank.gradients->acquire(1, *rank.stream);
    CHECK_THROWS_AS(rank.gradients->acquire(1, *rank.stream), Error);
    CHECK_THROWS_AS(rank.gradients->acquire(5, *rank.stream), Error);
  }
}

TEST_CASE("stage 2 keeps one unit in flight and refuses a second, but for the table that tied embeddings hold open") {
  run_rank_threads(2, [](Communicator& communicator) {
    RankStack rank(kUnits, stage(2), communicator);
    rank.gradients->begin_step();
    rank.gradients->acquire(4, *rank.stream);
    rank.gradients->acquire(0, *rank.stream);
    bool refused = false;
    try {
      rank.gradients->acquire(3, *rank.stream);
    } catch (const Error&) {
      refused = true;
    }
    require(refused, "a second unit went into the same bucket");
  });
}

TEST_CASE("bytes by label follow the stage table") {
  const std::vector<std::int64_t> units{64 * 4 * 100, 64 * 4 * 300, 64 * 4 * 200};
  const std::size_t total = 64 * 4 * 600;
  for (int number = 0; number <= 3; ++number) {
    run_rank_threads(4, [&](Communicator& communicator) {
      StackOptions options = stage(number);
      options.dtype = DType::kBF16;
      options.grad_dtype = DType::kF32;
      RankStack rank(units, options, communicator);
      auto bytes = rank.arena.report().peak_by_label;
      const std::size_t weights = 2 * total / (number == 3 ? 4 : 1);
      const std::size_t gradients = 4 * total / (number >= 2 ? 4 : 1);
      const std::size_t optimizer = 12 * total / (number >= 1 ? 4 : 1);
      require(bytes["weights"] == weights, "stage {}: {} bytes of weights", number, bytes["weights"]);
      require(bytes["gradients"] == gradients, "stage {}: {} bytes of gradients", number, bytes["gradients"]);
      require(bytes["optimizer"] == optimizer, "stage {}: {} bytes of optimizer", number, bytes["optimizer"]);
    });
  }
}

TEST_CASE("in fp32 training the weight is the master: the optimizer holds two moments only") {
  const std::vector<std::int64_t> units{64 * 4 * 100};
  for (int number = 0; number <= 3; ++number) {
    run_rank_threads(4, [&](Communicator& communicator) {
      RankStack rank(units, stage(number), communicator);
      auto bytes = rank.arena.report().peak_by_label;
      const std::size_t share = 64 * 4 * 100 / (number >= 1 ? 4 : 1);
      require(bytes["optimizer"] == 8 * share, "stage {}: {} bytes of optimizer", number, bytes["optimizer"]);
    });
  }
}
