// host_adam against the CPU backend's AdamW, bit for bit, on every path that this machine has.
#include <bit>
#include <limits>

#include "kernels/host_adam.h"
#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Tensor;

constexpr std::int64_t kSizes[] = {0, 1, 31, 32, 33, 95, 1024, 5003, 40'003};

/// Elements [shift, shift + n) of memory that is aligned to 64 bytes.
class Aligned {
 public:
  Aligned(const Tensor& values, std::int64_t shift)
      : storage_(static_cast<std::size_t>(values.numel() + shift) * size_of(values.dtype()) + 64) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    std::byte* data =
        storage_.data() + (64 - address % 64) % 64 + static_cast<std::size_t>(shift) * size_of(values.dtype());
    view_ = {data, values.numel(), values.dtype()};
    if (values.numel() > 0) std::memcpy(data, ConstView(values).raw(), view_.bytes());
  }
  View view() const { return view_; }

 private:
  std::vector<std::byte> storage_;
  View view_;
};

/// What an update reads and writes. Two of one seed hold the same bits.
struct Problem {
  Tensor master, exp_avg, exp_avg_sq, gradient, weights;
  StepState state;
  double weight_decay = 0.1;
  bool decoupled = true;

  static Problem random(std::int64_t n, DType gradient, DType weights) {
    Problem p;
    p.master = Tensor::random(DType::kF32, n, 1);
    p.exp_avg = Tensor::random(DType::kF32, n, 2, 0.1);
    p.exp_avg_sq = Tensor::random(DType::kF32, n, 3, 0.1);
    for (std::int64_t i = 0; i < n; ++i) p.exp_avg_sq.set(i, std::fabs(p.exp_avg_sq[i]));
    p.gradient = Tensor::random(gradient, n, 4);
    if (weights != DType::kU8) p.weights = Tensor(weights, n);
    p.state.lr = 1e-3;
    p.state.bias_correction1 = 1.0 - 0.9;
    p.state.bias_correction2_sqrt = std::sqrt(1.0 - 0.999);
    p.state.grad_multiplier = 0.37F;
    return p;
  }
};

/// The bits after `steps` updates.
struct Outcome {
  Tensor master, exp_avg, exp_avg_sq, weights;
};

ConstView bytes_of(const StepState& state) {
  return {reinterpret_cast<const std::byte*>(&state), sizeof(state), DType::kU8};
}

Outcome by_op(Problem p, int steps) {
  Cpu cpu;
  for (int step = 0; step < steps; ++step) {
    AdamW args{p.master, p.exp_avg, p.exp_avg_sq, p.gradient, {}, bytes_of(p.state), 1e-8, p.weight_decay, p.decoupled};
    if (p.weights.numel() > 0) args.weights = p.weights;
    cpu.run(args);
  }
  return {p.master, p.exp_avg, p.exp_avg_sq, p.weights};
}

Tensor copy_of(const View& view) {
  Tensor t(view.dtype(), view.numel());
  if (view.numel() > 0) std::memcpy(t.view().raw(), view.raw(), view.bytes());
  return t;
}

Outcome by_host(const Problem& p, int steps, const HostAdamOptions& options, std::int64_t shift = 0) {
  const Aligned master(p.master, shift), m(p.exp_avg, shift), v(p.exp_avg_sq, shift), g(p.gradient, shift);
  const Aligned weights(p.weights, shift);
  for (int step = 0; step < steps; ++step) {
    AdamW args{master.view(), m.view(), v.view(), g.view(), {}, bytes_of(p.state), 1e-8, p.weight_decay, p.decoupled};
    if (p.weights.numel() > 0) args.weights = weights.view();
    host_adam(args, options);
  }
  return {copy_of(master.view()), copy_of(m.view()), copy_of(v.view()), copy_of(weights.view())};
}

/// Elements whose bits differ; with `any_nan` NaNs count as the same.
int differences(const Tensor& a, const Tensor& b, bool any_nan) {
  REQUIRE(a.numel() == b.numel());
  const std::size_t width = size_of(a.dtype());
  int different = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const std::size_t at = static_cast<std::size_t>(i) * width;
    const bool same = std::memcmp(ConstView(a).raw() + at, ConstView(b).raw() + at, width) == 0;
    if (!same && !(any_nan && std::isnan(a[i]) && std::isnan(b[i]))) ++different;
  }
  return different;
}

void check_same(const Outcome& a, const Outcome& b, bool any_nan = false) {
  CHECK(differences(a.master, b.master, any_nan) == 0);
  CHECK(differences(a.exp_avg, b.exp_avg, any_nan) == 0);
  CHECK(differences(a.exp_avg_sq, b.exp_avg_sq, any_nan) == 0);
  CHECK(differences(a.weights, b.weights, any_nan) == 0);
}

/// One test case for each path; those that this machine has not count as skipped.
#define HOST_ADAM_TEST(function, name)                                                           \
  void function(HostAdamPath path);                                                              \
  TEST_CASE("host AdamW, portable: " name) { function(HostAdamPath::kPortable); }                \
  TEST_CASE("host AdamW, AVX2: " name* doctest::skip(!is_available(HostAdamPath::kAvx2))) {      \
    function(HostAdamPath::kAvx2);                                                               \
  }                                                                                              \
  TEST_CASE("host AdamW, AVX-512: " name* doctest::skip(!is_available(HostAdamPath::kAvx512))) { \
    function(HostAdamPath::kAvx512);                                                             \
  }                                                                                              \
  void function(HostAdamPath path)

HOST_ADAM_TEST(all_dtypes, "ten steps have the bits of the op for every dtype of gradient and weights, both decays") {
  for (const DType gradient : test::kStorageTypes) {
    for (const DType weights : {DType::kU8, DType::kF32, DType::kF16, DType::kBF16}) {
      for (const bool decoupled : {true, false}) {
        CAPTURE(name_of(gradient));
        CAPTURE(name_of(weights));
        Problem p = Problem::random(5003, gradient, weights);
        p.decoupled = decoupled;
        check_same(by_host(p, 10, {2, path}), by_op(p, 10));
      }
    }
  }
}

HOST_ADAM_TEST(all_sizes, "sizes below and beside the vector's, and memory that is not aligned, keep the bits") {
  for (const std::int64_t n : kSizes) {
    for (const std::int64_t shift : {0, 1, 32}) {
      for (const bool streaming : {true, false}) {
        CAPTURE(n);
        CAPTURE(shift);
        const Problem p = Problem::random(n, DType::kF16, DType::kF16);
        check_same(by_host(p, 2, {3, path, streaming}, shift), by_op(p, 2));
      }
    }
  }
}

HOST_ADAM_TEST(all_teams, "bits do not depend on the number of threads") {
  const Problem p = Problem::random(40'003, DType::kBF16, DType::kBF16);
  const Outcome one = by_host(p, 2, {1, path});
  for (const int threads : {2, 3, 7}) check_same(by_host(p, 2, {threads, path}), one);
}

/// Numbers at which arithmetic changes its ways.
std::vector<float> special_numbers() {
  using Limits = std::numeric_limits<float>;
  std::vector<float> numbers;
  for (const float x : {0.0F, 1.0F, Limits::min(), Limits::denorm_min(), Limits::min() / 3.0F, Limits::max(), 65504.0F,
                        65519.0F, 65520.0F, 3.0e-8F, 6.1e-5F, 1e-20F, 1e19F, Limits::infinity(), Limits::quiet_NaN()}) {
    numbers.push_back(x);
    numbers.push_back(-x);
  }
  return numbers;
}

HOST_ADAM_TEST(specials, "subnormals, zeros of both signs, infinities and NaN give what the op gives") {
  const std::vector<float> numbers = special_numbers();
  const auto count = static_cast<std::int64_t>(numbers.size());
  const std::int64_t n = count * count * count * count;
  for (const DType dtype : test::kStorageTypes) {
    Problem p = Problem::random(0, dtype, dtype);
    p.master = p.exp_avg = p.exp_avg_sq = Tensor(DType::kF32, n);
    p.gradient = p.weights = Tensor(dtype, n);
    const auto special = [&](std::int64_t i) {
      return static_cast<double>(numbers[static_cast<std::size_t>(i % count)]);
    };
    for (std::int64_t i = 0; i < n; ++i) {
      p.gradient.set(i, special(i));
      p.exp_avg.set(i, special(i / count));
      p.exp_avg_sq.set(i, special(i / count / count));
      p.master.set(i, special(i / count / count / count));
    }
    for (const bool decoupled : {true, false}) {
      p.decoupled = decoupled;
      check_same(by_host(p, 1, {2, path}), by_op(p, 1), true);
    }
  }
}

HOST_ADAM_TEST(gradients, "every 16-bit gradient is read exactly") {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    Problem p = Problem::random(65536, dtype, DType::kU8);
    for (std::size_t i = 0; i < 65536; ++i) {
      const auto bits = static_cast<std::uint16_t>(i);
      std::memcpy(p.gradient.view().raw() + i * sizeof(bits), &bits, sizeof(bits));
    }
    check_same(by_host(p, 1, {1, path}), by_op(p, 1), true);
  }
}

HOST_ADAM_TEST(rounding,
               "weights are the masters rounded to nearest even, between all 16-bit numbers and at the ends") {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const std::uint32_t step = dtype == DType::kF16 ? 0x400U : 0x4000U;  // eighths, quarters of a step of the format
    const std::int64_t n = std::int64_t{1} << (dtype == DType::kF16 ? 22 : 18);
    Problem p = Problem::random(0, dtype, dtype);
    p.state.lr = 0.0;  // the master stays
    p.weight_decay = 0.0;
    p.exp_avg = Tensor::of(DType::kF32, std::vector<double>(static_cast<std::size_t>(n), 0.0));
    p.exp_avg_sq = p.exp_avg;
    p.gradient = Tensor(dtype, n);
    p.weights = Tensor(dtype, n);
    p.master = Tensor(DType::kF32, n);
    for (std::int64_t i = 0; i < n; ++i) {
      p.gradient.set(i, 0.0);
      const auto bits =
          static_cast<std::uint32_t>(i) * step + static_cast<std::uint32_t>(i % 3) - 1U;  // and beside ties
      p.master.view().as<float>()[i] = std::bit_cast<float>(bits);
    }
    const Outcome host = by_host(p, 1, {2, path});
    check_same(host, by_op(p, 1), true);
    int wrong = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const double want = Tensor::of(dtype, {p.master[i]})[0];
      if (host.weights[i] != want && !std::isnan(want)) ++wrong;
    }
    CHECK(wrong == 0);
  }
}

HOST_ADAM_TEST(skipped, "a step that the state skips changes nothing") {
  Problem p = Problem::random(1000, DType::kF16, DType::kF16);
  p.state.skip = 1;
  check_same(by_host(p, 1, {1, path}), {p.master, p.exp_avg, p.exp_avg_sq, p.weights});
}

HOST_ADAM_TEST(in_place, "weights may take the place of the gradient") {
  for (const std::int64_t n : kSizes) {
    const Problem p = Problem::random(n, DType::kBF16, DType::kBF16);
    const Aligned master(p.master, 0), m(p.exp_avg, 0), v(p.exp_avg_sq, 0), both(p.gradient, 0);
    host_adam({master.view(), m.view(), v.view(), both.view(), both.view(), bytes_of(p.state), 1e-8, 0.1}, {2, path});
    CHECK(differences(copy_of(both.view()), by_op(p, 1).weights, false) == 0);
  }
}

TEST_CASE("host AdamW: what it cannot do is refused by name") {
  Tensor wide = Tensor::of(DType::kF64, {1.0});
  Tensor gradient = Tensor::of(DType::kF16, {1.0});
  const StepState state;
  const AdamW args{wide, wide, wide, gradient, {}, bytes_of(state)};
  CHECK_THROWS_WITH_AS(host_adam(args), "host_adam: the states hold fp64, not fp32", Error);
  for (const HostAdamPath path : {HostAdamPath::kAvx2, HostAdamPath::kAvx512}) {
    if (is_available(path)) continue;
    Tensor states = Tensor::of(DType::kF32, {1.0});
    const AdamW other{states, states, states, gradient, {}, bytes_of(state)};
    CHECK_THROWS_WITH_AS(host_adam(other, {1, path}),
                         fmt::format("host_adam: this machine has no {}", name_of(path)).c_str(), Error);
  }
}

TEST_CASE("host AdamW: the path that is taken by itself is the widest that the machine has") {
  CHECK(is_available(HostAdamPath::kPortable));
  CHECK(is_available(best_host_adam_path()));
  for (const HostAdamPath path : {HostAdamPath::kAvx2, HostAdamPath::kAvx512}) {
    if (is_available(path)) CHECK(best_host_adam_path() >= path);
  }
}

TEST_CASE("memory after its first touch is zero, up to the last element") {
  for (const std::int64_t n : kSizes) {
    Tensor memory(DType::kF16, n);
    first_touch(memory, 3);
    int wrong = 0;
    for (std::int64_t i = 0; i < n; ++i) wrong += memory[i] == 0.0 ? 0 : 1;
    CHECK(wrong == 0);
  }
}

}  // namespace
}  // namespace llama_zero
