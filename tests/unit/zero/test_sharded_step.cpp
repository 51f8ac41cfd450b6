// Partition, all-to-all reduction, norm, AdamW and the stores together, against the same arithmetic on one thread.
#include <doctest/doctest.h>

#include "serial_reference.h"
#include "zero/communicator.h"
#include "zero/lr_schedule.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

const std::vector<std::int64_t> kUnits{63, 1, 64, 65, 509 * 7};
constexpr int kSteps = 3;

StackOptions options_of(int stage, DType dtype, DType grad_dtype) {
  StackOptions options;
  options.stage = stage;
  options.dtype = dtype;
  options.grad_dtype = grad_dtype;
  options.clip = 1.0;
  options.schedule = build_schedule_table(WarmupDecayLr{{1e-3, 1e-2, 2, WarmupType::kLinear}, 8}, {0.9, 0.95}, true, 4);
  return options;
}

void set_weights(RankStack& rank) {
  for (int unit = 0; unit < rank.layout.unit_count(); ++unit) {
    const View master = rank.optimizer.master(unit);
    const bool whole = master.numel() == rank.layout[unit].padded();
    const std::int64_t first = whole ? 0 : rank.layout.own_begin(unit);
    for (std::int64_t i = 0; i < master.numel(); ++i) {
      const bool padding = first + i >= rank.layout[unit].numel;
      master.as<float>()[i] = padding ? 0.0F : made_weight(unit, first + i);
    }
  }
  rank.optimizer.restart(*rank.stream);
  rank.params->publish(*rank.stream);
}

/// Backward of a model that is only gradients: the last unit first.
void write_gradients(RankStack& rank, int step, int pass) {
  for (int unit = rank.layout.unit_count() - 1; unit >= 0; --unit) {
    const UnitGradient gradient = rank.gradients->acquire(unit, *rank.stream);
    for (std::int64_t i = 0; i < rank.layout[unit].numel; ++i) {
      const float old = gradient.accumulate ? load_element(gradient.gradient, i) : 0.0F;
      store_element(gradient.gradient, i, old + made_gradient(step, pass, rank.layout.rank(), unit, i));
    }
    rank.gradients->commit(unit, *rank.stream);
  }
}

void run_step(RankStack& rank, int step, int passes) {
  rank.gradients->begin_step(passes);
  for (int pass = 0; pass < passes; ++pass) write_gradients(rank, step, pass);
  rank.gradients->finish(*rank.stream);
  rank.boundary.advance(*rank.gradients, *rank.stream);
  rank.optimizer.update(*rank.gradients, rank.boundary.state(), *rank.stream);
  rank.params->publish(*rank.stream);
}

void require_same(RankStack& rank, const SerialModel& serial, DType dtype) {
  const StepState state = rank.boundary.read(*rank.stream);
  require(state.grad_norm == serial.state.grad_norm, "rank {}: norm {:.17g}, serially {:.17g}", rank.layout.rank(),
          state.grad_norm, serial.state.grad_norm);
  require(state.grad_multiplier < 1.0F, "clipping is not active");
  for (int unit = 0; unit < rank.layout.unit_count(); ++unit) {
    const auto& expected = serial.units[static_cast<std::size_t>(unit)];
    const ConstView weights = rank.params->acquire(unit, *rank.stream);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const float value = load_element(weights, static_cast<std::int64_t>(i));
      require(value == round_to(dtype, expected[i].theta), "rank {}: weight {} of unit {} is {:.9g}, serially {:.9g}",
              rank.layout.rank(), i, unit, value, expected[i].theta);
    }
    for (std::int64_t i = rank.layout[unit].numel; i < rank.layout[unit].padded(); ++i) {
      require(load_element(weights, i) == 0.0F, "padding {} of unit {} is not zero", i, unit);
    }
    rank.params->release(unit, *rank.stream);
  }
}

void check_equals_serial(const StackOptions& options, int ranks, int passes) {
  SerialModel serial(kUnits, options, ranks, passes);
  for (int step = 0; step < kSteps; ++step) serial.step(step);
  const auto body = [&](Communicator& communicator) {
    RankStack rank(kUnits, options, communicator);
    set_weights(rank);
    for (int step = 0; step < kSteps; ++step) run_step(rank, step, passes);
    require_same(rank, serial, options.dtype);
  };
  INFO("stage " << options.stage << ", " << ranks << " ranks, " << passes << " passes, " << name_of(options.dtype)
                << " weights, " << name_of(options.grad_dtype) << " gradients, bucket " << options.reduce_bucket_size);
  CHECK_NOTHROW(run_rank_threads(ranks, body));
}

}  // namespace

TEST_CASE("sharded training equals the serial arithmetic bit for bit at every stage and rank count") {
  for (int stage = 0; stage <= 3; ++stage) {
    for (int ranks = 1; ranks <= 4; ++ranks) {
      for (const int passes : {1, 3}) check_equals_serial(options_of(stage, DType::kF32, DType::kF32), ranks, passes);
    }
  }
}

TEST_CASE("so it does with 16-bit weights and 16-bit or fp32 gradients") {
  for (int stage = 0; stage <= 3; ++stage) {
    for (const int ranks : {1, 3}) {
      check_equals_serial(options_of(stage, DType::kF16, DType::kF16), ranks, 2);
      check_equals_serial(options_of(stage, DType::kBF16, DType::kBF16), ranks, 2);
      check_equals_serial(options_of(stage, DType::kBF16, DType::kF32), ranks, 2);
    }
  }
}

TEST_CASE("so it does with every optimizer, whole units decaying or ranges of them") {
  OptimizerOptions kinds[6];
  kinds[1].kind = OptimizerKind::kAdam;
  kinds[2].kind = OptimizerKind::kLion;
  kinds[3].kind = OptimizerKind::kAdagrad;
  kinds[3].initial_accumulator_value = 0.25;
  kinds[4].kind = kinds[5].kind = OptimizerKind::kSgd;
  kinds[5].momentum = 0.9;
  kinds[5].dampening = 0.1;
  for (OptimizerOptions& kind : kinds) {
    kind.weight_decay = 0.1;
    for (const bool exempt : {false, true}) {
      for (const int stage : {0, 1, 3}) {
        StackOptions options = options_of(stage, DType::kBF16, DType::kF32);
        options.optimizer = kind;
        options.optimizer.exempt_norms_and_embeddings = exempt;
        // Ranges that begin and end inside shards, in a unit that decays, one that does not, and one of both.
        options.decay_ranges = {{{0, 63, true}},
                                {{0, 1, false}},
                                {{0, 5, false}, {5, 64, true}},
                                {{0, 33, true}, {33, 65, false}},
                                {{0, 509, false}, {509, 3000, true}, {3000, 509 * 7, false}}};
        check_equals_serial(options, 3, 1);
      }
    }
  }
}

TEST_CASE("the size of the reduction bucket changes no bit") {
  for (int stage = 0; stage <= 3; ++stage) {
    for (const std::int64_t bucket : {1, 192, 1000, 3 * 640}) {
      StackOptions options = options_of(stage, DType::kF32, DType::kF32);
      options.reduce_bucket_size = bucket;
      check_equals_serial(options, 3, 1);
    }
  }
}

TEST_CASE("the comparison notices when one rank's gradient is dropped") {
  const StackOptions options = options_of(2, DType::kF32, DType::kF32);
  SerialModel serial(kUnits, options, 3, 1);
  serial.step(0);
  const auto body = [&](Communicator& communicator) {
    RankStack rank(kUnits, options, communicator);
    set_weights(rank);
    if (communicator.rank() == 1) {
      rank.gradients->set_hook([&](int unit, View gradient) {
        if (unit == 3) rank.device->fill_bytes(gradient, 0, *rank.stream);
      });
    }
    run_step(rank, 0, 1);
    require_same(rank, serial, options.dtype);
  };
  CHECK_THROWS_AS(run_rank_threads(3, body), Error);
}

TEST_CASE("a gradient that is not finite on one rank skips the step on all and changes nothing") {
  for (int stage = 0; stage <= 3; ++stage) {
    StackOptions options = options_of(stage, DType::kF32, DType::kF32);
    options.scaler.check_overflow = true;
    SerialModel untouched(kUnits, options, 3, 1);
    const auto body = [&](Communicator& communicator) {
      RankStack rank(kUnits, options, communicator);
      set_weights(rank);
      if (communicator.rank() == 2) {
        rank.gradients->set_hook([](int unit, View gradient) {
          if (unit == 4) gradient.as<float>()[5] = INFINITY;
        });
      }
      run_step(rank, 0, 1);
      const StepState state = rank.boundary.read(*rank.stream);
      require(state.skip == 1 && state.skipped_steps == 1 && state.applied_steps == 0, "the step was not skipped");
      for (int unit = 0; unit < rank.layout.unit_count(); ++unit) {
        const ConstView weights = rank.params->acquire(unit, *rank.stream);
        for (std::int64_t i = 0; i < rank.layout[unit].numel; ++i) {
          require(load_element(weights, i) == made_weight(unit, i), "weight {} of unit {} changed", i, unit);
        }
        rank.params->release(unit, *rank.stream);
      }
    };
    INFO("stage " << stage);
    CHECK_NOTHROW(run_rank_threads(3, body));
  }
}
