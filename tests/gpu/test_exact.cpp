// Ops that promise the CPU's bits.
#include <limits>

#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

const std::vector<std::int64_t> kCounts = {1, 7, 8, 509, 4096, 4097, 100003};

GPU_TEST_CASE("cast gives the CPU's bits between all pairs of dtypes, aligned or not") {
  for (const DType from : kStorageTypes) {
    for (const DType to : kStorageTypes) {
      for (const std::int64_t count : kCounts) {
        for (const std::int64_t shift : {0, 1}) {
          Case c(shift);
          Pair& source = c.random(from, count, 100.0);
          Pair& destination = c.output(to, count);
          c.run([&](auto side, Ops& ops, Stream& s) { ops.cast({side(source), side(destination), 0.3}, s); });
          destination.check_same_bits("cast");
        }
      }
    }
  }
}

GPU_TEST_CASE("cast in place gives the CPU's bits, subnormals and overflows of fp16 included") {
  for (const double scale : {1e-6, 1.0, 1e5}) {
    Case c;
    Pair& values = c.random(DType::kF16, 10007, scale > 1.0 ? 10000.0 : scale);
    c.run([&](auto side, Ops& ops, Stream& s) { ops.cast({side(values), side(values), scale > 1.0 ? 7.7 : 0.9}, s); });
    values.check_same_bits("cast in place");
  }
}

GPU_TEST_CASE("add gives the CPU's bits between all pairs of dtypes, aligned or not") {
  for (const DType from : kStorageTypes) {
    for (const DType to : kStorageTypes) {
      for (const std::int64_t count : kCounts) {
        for (const std::int64_t shift : {0, 1}) {
          Case c(shift);
          Pair& source = c.random(from, count);
          Pair& destination = c.random(to, count);
          c.run([&](auto side, Ops& ops, Stream& s) { ops.add({side(source), side(destination)}, s); });
          destination.check_same_bits("add");
        }
      }
    }
  }
}

GPU_TEST_CASE("fill writes every element and nothing else") {
  for (const DType dtype : kStorageTypes) {
    for (const std::int64_t count : kCounts) {
      Case c(count % 2);
      Pair& destination = c.output(dtype, count);
      c.run([&](auto side, Ops& ops, Stream& s) { ops.fill({side(destination), -0.1}, s); });
      destination.check_same_bits("fill");
    }
  }
}

GPU_TEST_CASE("reduce_pieces gives the CPU's bits, in place of any piece too") {
  for (const DType from : kStorageTypes) {
    for (const DType to : kStorageTypes) {
      for (const std::int64_t ranks : {1, 2, 5}) {
        for (const std::int64_t count : {1, 509, 8192}) {
          for (const bool accumulate : {false, true}) {
            Case c(count == 509 ? 1 : 0);
            Pair& pieces = c.random(from, ranks * count);
            Pair& output = accumulate ? c.random(to, count) : c.output(to, count);
            c.run([&](auto side, Ops& ops, Stream& s) {
              ops.reduce_pieces({ranks, side(pieces), 1.0 / 3.0, side(output), accumulate}, s);
            });
            output.check_same_bits("reduce_pieces");
          }
        }
      }
    }
    for (const std::int64_t alias : {0, 2}) {
      Case c;
      constexpr std::int64_t kCount = 4096;
      Pair& pieces = c.random(from, 3 * kCount);
      c.run([&](auto side, Ops& ops, Stream& s) {
        const View all = side(pieces);
        ops.reduce_pieces({3, all, 0.25, all.slice(alias * kCount, kCount), false}, s);
      });
      pieces.check_same_bits("reduce_pieces in place");
    }
  }
}

GPU_TEST_CASE("sum_of_squares gives the CPU's bits at any length, alignment and number of groups") {
  for (const DType dtype : kStorageTypes) {
    for (const std::int64_t count :
         {1, 255, 257, 4095, 4096, 4097, 3 * 4096 + 17, 1000003, 256 * 4096, 4096 * 1500 + 5}) {
      if (count > sized(count, 256 * 4096)) continue;
      for (const bool accumulate : {false, true}) {
        for (const std::int64_t shift : {0, 1}) {
          Case c(shift);
          Pair& values = c.random(dtype, count);
          Pair& result = accumulate ? c.random(DType::kF64, 2) : c.output(DType::kF64, 2);
          c.run([&](auto side, Ops& ops, Stream& s) {
            ops.sum_of_squares({side(values), side(result), accumulate}, s);
          });
          result.check_same_bits("sum_of_squares");
        }
      }
    }
  }
}

GPU_TEST_CASE("sum_of_squares of nothing is zero, and counts what is not finite") {
  for (const DType dtype : kStorageTypes) {
    Case empty;
    Pair& none = empty.output(dtype, 0);
    Pair& zero = empty.output(DType::kF64, 2);
    empty.run([&](auto side, Ops& ops, Stream& s) { ops.sum_of_squares({side(none), side(zero), false}, s); });
    CHECK(zero.gpu[0] == 0.0);
    CHECK(zero.gpu[1] == 0.0);

    Case c;
    Tensor values = Tensor::random(dtype, 10000, 3);
    for (const std::int64_t i : {0, 4095, 4096, 9999}) values.set(i, std::numeric_limits<double>::infinity());
    values.set(5000, std::numeric_limits<double>::quiet_NaN());
    Pair& bad = c.tensor(values);
    Pair& result = c.output(DType::kF64, 2);
    c.run([&](auto side, Ops& ops, Stream& s) { ops.sum_of_squares({side(bad), side(result), false}, s); });
    CHECK(result.gpu[1] == 5.0);
    CHECK(result.cpu[1] == 5.0);
  }
}

GPU_TEST_CASE("sum_losses gives the CPU's bits") {
  for (const std::int64_t count : {0L, 1L, 509L, 1024L, 1025L, 8192L, 30001L, sized(300001, 30001)}) {
    for (const bool accumulate : {false, true}) {
      Case c;
      Pair& losses = c.random(DType::kF32, count, 5.0);
      Pair& total = accumulate ? c.random(DType::kF64, 1) : c.output(DType::kF64, 1);
      c.run([&](auto side, Ops& ops, Stream& s) { ops.sum_losses({side(losses), side(total), accumulate}, s); });
      total.check_same_bits("sum_losses");
    }
  }
}

std::vector<ScheduleRow> schedule_rows() {
  std::vector<ScheduleRow> rows;
  double power1 = 1.0;
  double power2 = 1.0;
  for (int i = 0; i < 20; ++i) {
    power1 *= 0.9;
    power2 *= 0.999;
    rows.push_back({1e-3 / (1.0 + i), 1.0 - power1, std::sqrt(1.0 - power2), 0.9 - 0.01 * i, 0.99, 1.0 + 0.1 * i});
  }
  return rows;
}

/// Sum of squares and non-finite count of three ranks.
Tensor rank_sums(double first, double bad) { return Tensor::of(DType::kF64, {first, 0.0, 0.7123, bad, 1e-9, 0.0}); }

GPU_TEST_CASE("advance_step gives the CPU's bits through overflows, growth, clipping and the end of the schedule") {
  LossScalerConfig scaler;
  scaler.check_overflow = true;
  scaler.dynamic = true;
  scaler.initial_scale = 65536.0F;
  scaler.window = 3;
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<StepState> state = {initial_step_state(scaler)};
  Tensor carried;
  for (int step = 0; step < 30; ++step) {
    Case c;
    const double squares = step == 7 ? infinity : 1.3e9 * (step + 1) / 3.0;
    Pair& sums = c.tensor(rank_sums(squares, step % 5 == 4 ? 2.0 : 0.0));
    Pair& device_state = step == 0 ? c.plain_data(state) : c.tensor(carried);
    Pair& schedule = c.plain_data(schedule_rows());
    c.run([&](auto side, Ops& ops, Stream& s) {
      ops.advance_step({3, side(sums), side(device_state), side(schedule), scaler, step % 2 == 0 ? 1.0 : 0.0}, s);
    });
    device_state.check_same_bits("state");
    carried = device_state.gpu;
  }
}

}  // namespace
}  // namespace llama_zero::test
