// Tensors on the host, a CPU backend with exactly sized scratch, and comparison against derived bounds.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/rng.h"
#include "core/view.h"
#include "kernels/ops.h"

namespace llama_zero::test {

inline const std::vector<DType> kStorageTypes = {DType::kF32, DType::kF16, DType::kBF16};

/// Half the distance between neighbours, relative: the error of one rounding.
inline double unit_roundoff(DType dtype) { return epsilon_of(dtype) / 2.0; }
inline const double kU32 = unit_roundoff(DType::kF32);

/// A host tensor of any dtype, filled with 0xff (NaN) until written.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, std::int64_t numel)
      : dtype_(dtype), numel_(numel), bytes_(static_cast<std::size_t>(numel) * size_of(dtype), std::byte{0xff}) {}

  /// Normal numbers times `scale`, rounded to the dtype.
  static Tensor random(DType dtype, std::int64_t numel, std::uint64_t seed, double scale = 1.0) {
    Tensor t(dtype, numel);
    const CounterRng rng(seed, 1);
    for (std::int64_t i = 0; i < numel; ++i) t.set(i, scale * rng.normal(static_cast<std::uint64_t>(i)));
    return t;
  }
  static Tensor of(DType dtype, const std::vector<double>& values) {
    Tensor t(dtype, static_cast<std::int64_t>(values.size()));
    for (std::size_t i = 0; i < values.size(); ++i) t.set(static_cast<std::int64_t>(i), values[i]);
    return t;
  }
  static Tensor ints(const std::vector<std::int32_t>& values) {
    Tensor t(DType::kI32, static_cast<std::int64_t>(values.size()));
    if (!values.empty()) std::memcpy(t.bytes_.data(), values.data(), t.bytes_.size());
    return t;
  }

  View view() { return {bytes_.data(), numel_, dtype_}; }
  operator View() { return view(); }                                      // NOLINT
  operator ConstView() const { return {bytes_.data(), numel_, dtype_}; }  // NOLINT
  DType dtype() const { return dtype_; }
  std::int64_t numel() const { return numel_; }
  bool operator==(const Tensor& other) const = default;

  double operator[](std::int64_t i) const {
    switch (dtype_) {
      case DType::kF32:
        return static_cast<double>(at<float>(i));
      case DType::kF16:
        return static_cast<double>(static_cast<float>(at<Half>(i)));
      case DType::kBF16:
        return static_cast<double>(static_cast<float>(at<BFloat16>(i)));
      case DType::kF64:
        return at<double>(i);
      case DType::kI32:
        return static_cast<double>(at<std::int32_t>(i));
      case DType::kU8:
        return static_cast<double>(at<std::uint8_t>(i));
    }
    return 0.0;
  }
  void set(std::int64_t i, double value) {
    switch (dtype_) {
      case DType::kF32:
        return put(i, static_cast<float>(value));
      case DType::kF16:
        return put(i, Half(static_cast<float>(value)));
      case DType::kBF16:
        return put(i, BFloat16(static_cast<float>(value)));
      case DType::kF64:
        return put(i, value);
      case DType::kI32:
        return put(i, static_cast<std::int32_t>(value));
      case DType::kU8:
        return put(i, static_cast<std::uint8_t>(value));
    }
  }
  std::vector<double> values() const {
    std::vector<double> out(static_cast<std::size_t>(numel_));
    for (std::int64_t i = 0; i < numel_; ++i) out[static_cast<std::size_t>(i)] = (*this)[i];
    return out;
  }
  /// The same numbers in another dtype, rounded.
  Tensor as(DType dtype) const { return of(dtype, values()); }

 private:
  template <typename T>
  T at(std::int64_t i) const {
    T value;
    std::memcpy(&value, bytes_.data() + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
    return value;
  }
  template <typename T>
  void put(std::int64_t i, T value) {
    std::memcpy(bytes_.data() + static_cast<std::size_t>(i) * sizeof(T), &value, sizeof(T));
  }

  DType dtype_ = DType::kF32;
  std::int64_t numel_ = 0;
  std::vector<std::byte> bytes_;
};

/// A CPU backend whose workspace has exactly the bytes that a call asks for, filled with NaN before it.
class Cpu {
 public:
  explicit Cpu(int threads = 1) : ops_(make_cpu_ops(threads)), device_(make_cpu_device()) {
    stream_ = device_->create_stream("test");
  }

  void run(const EmbeddingForward& a) { ops_->embedding_forward(a, *stream_); }
  void run(const EmbeddingBackward& a) { sized(a).embedding_backward(a, *stream_); }
  void run(const RmsNormForward& a) { ops_->rmsnorm_forward(a, *stream_); }
  void run(const RmsNormBackward& a) { sized(a).rmsnorm_backward(a, *stream_); }
  void run(const LinearForward& a) { sized(a).linear_forward(a, *stream_); }
  void run(const LinearBackwardInput& a) { sized(a).linear_backward_input(a, *stream_); }
  void run(const LinearBackwardWeight& a) { sized(a).linear_backward_weight(a, *stream_); }
  void run(const Rope& a) { ops_->rope(a, *stream_); }
  void run(const AttentionForward& a) { sized(a).attention_forward(a, *stream_); }
  void run(const AttentionBackward& a) { sized(a).attention_backward(a, *stream_); }
  void run(const AttentionDecode& a) { sized(a).attention_decode(a, *stream_); }
  void run(const StoreKeyValue& a) { ops_->store_key_value(a, *stream_); }
  void run(const SwiGluForward& a) { ops_->swiglu_forward(a, *stream_); }
  void run(const SwiGluBackward& a) { ops_->swiglu_backward(a, *stream_); }
  void run(const CrossEntropy& a) { ops_->cross_entropy(a, *stream_); }
  void run(const SumLosses& a) { ops_->sum_losses(a, *stream_); }
  void run(const Cast& a) { ops_->cast(a, *stream_); }
  void run(const Add& a) { ops_->add(a, *stream_); }
  void run(const Fill& a) { ops_->fill(a, *stream_); }
  void run(const ReducePieces& a) { ops_->reduce_pieces(a, *stream_); }
  void run(const SumOfSquares& a) { ops_->sum_of_squares(a, *stream_); }
  void run(const AdvanceStep& a) { ops_->advance_step(a, *stream_); }
  void run(const AdamW& a) { ops_->adamw(a, *stream_); }
  void run(const Lion& a) { ops_->lion(a, *stream_); }
  void run(const Adagrad& a) { ops_->adagrad(a, *stream_); }
  void run(const Sgd& a) { ops_->sgd(a, *stream_); }

  Ops& ops() { return *ops_; }
  Stream& stream() { return *stream_; }

 private:
  template <typename Args>
  Ops& sized(const Args& args) {
    workspace_.assign(ops_->workspace_bytes(args), std::byte{0xff});
    ops_->set_workspace({workspace_.data(), static_cast<std::int64_t>(workspace_.size()), DType::kU8});
    return *ops_;
  }

  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::byte> workspace_;
};

/// A result and how far from it an implementation may be.
struct Expected {
  std::vector<double> value;
  std::vector<double> bound;

  explicit Expected(std::int64_t count) : value(static_cast<std::size_t>(count)), bound(value.size()) {}
  void set(std::int64_t i, double v, double b) {
    value[static_cast<std::size_t>(i)] = v;
    bound[static_cast<std::size_t>(i)] = b;
  }
};

/// Half the smallest subnormal: the rounding error of results near zero.
inline double smallest_half_step(DType dtype) { return dtype == DType::kF16 ? std::ldexp(1.0, -25) : 1e-45; }

/// Fails unless every element is within its bound plus the one rounding to the tensor's dtype.
inline void check_within(const char* what, const Tensor& actual, const Expected& expected) {
  REQUIRE(static_cast<std::size_t>(actual.numel()) == expected.value.size());
  double worst = 0.0;
  std::int64_t where = 0;
  for (std::int64_t i = 0; i < actual.numel(); ++i) {
    const double want = expected.value[static_cast<std::size_t>(i)];
    const double bound = expected.bound[static_cast<std::size_t>(i)];
    const double rounding = unit_roundoff(actual.dtype()) * (std::fabs(want) + bound);
    const double allowed = bound + rounding + smallest_half_step(actual.dtype());
    const double ratio = std::fabs(actual[i] - want) / allowed;
    if (!(ratio <= worst)) {  // true for NaN
      worst = ratio;
      where = i;
    }
  }
  const std::string observed =
      fmt::format("{} {}: worst error is {:.3f} of the bound, at {}", what, name_of(actual.dtype()), worst, where);
  INFO(observed);
  CHECK(worst <= 1.0);
}

/// Documents with their storage; `padding` tokens follow the attended ones.
struct DocumentSet {
  DocumentSet(const std::vector<std::int32_t>& lengths, std::int32_t padding) {
    cu.push_back(0);
    for (const std::int32_t length : lengths) {
      cu.push_back(cu.back() + length);
      longest = std::max<std::int64_t>(longest, length);
    }
    attended = cu.back();
    if (padding > 0) cu.push_back(cu.back() + padding);
  }
  Documents documents() const { return {ConstView::of(std::span<const std::int32_t>(cu)), cu, longest, attended}; }
  std::int64_t tokens() const { return cu.back(); }

  std::vector<std::int32_t> cu;
  std::int64_t longest = 0;
  std::int64_t attended = 0;
};

}  // namespace llama_zero::test
