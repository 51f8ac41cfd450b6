// Storage types in, arithmetic types out: rows are converted in bulk, so kernels are written once for float and once
// for double and never see a 16-bit number. The dtype switches of the CPU backend are here.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/view.h"

namespace llama_zero::cpu {

/// Calls f(float{}) or f(double{}): the type that tensors of `storage` are computed in.
template <typename F>
decltype(auto) with_compute_type(DType storage, const F& f) {
  return storage == DType::kF64 ? f(double{}) : f(float{});
}

/// The arithmetic type of an op between two dtypes, as a dtype for with_compute_type.
inline DType wider(DType a, DType b) { return a == DType::kF64 || b == DType::kF64 ? DType::kF64 : DType::kF32; }

/// The numbers [offset, offset + count) of a floating view as C (float or double).
template <typename C>
void load(const ConstView& view, std::int64_t offset, std::int64_t count, C* out);

/// Rounds `count` numbers once, to nearest even, into [offset, offset + count) of a floating view.
template <typename C>
void store(const View& view, std::int64_t offset, std::int64_t count, const C* in);

/// `rows` rows of `count` numbers, `stride` elements apart in the view, packed one after another.
template <typename C>
void load_rows(const ConstView& view, std::int64_t offset, std::int64_t stride, std::int64_t rows, std::int64_t count,
               C* out);
template <typename C>
void store_rows(const View& view, std::int64_t offset, std::int64_t stride, std::int64_t rows, std::int64_t count,
                const C* in);

/// The numbers of the view: the memory itself when it already holds C, else `buffer` filled by load.
template <typename C>
const C* read(const ConstView& view, std::int64_t offset, std::int64_t count, C* buffer) {
  if (view.dtype() == DTypeOf<C>::value) return reinterpret_cast<const C*>(view.raw()) + offset;
  load(view, offset, count, buffer);
  return buffer;
}

/// Where to compute results for the view: its memory when it holds C, else `buffer`. finish() completes it.
template <typename C>
C* place(const View& view, std::int64_t offset, C* buffer) {
  return view.dtype() == DTypeOf<C>::value ? reinterpret_cast<C*>(view.raw()) + offset : buffer;
}

/// Stores `values` from place() unless they already are where they belong.
template <typename C>
void finish(const View& view, std::int64_t offset, std::int64_t count, const C* values) {
  if (view.dtype() != DTypeOf<C>::value) store(view, offset, count, values);
}

void to_float(const Half* in, std::int64_t count, float* out);
void to_float(const BFloat16* in, std::int64_t count, float* out);
void from_float(const float* in, std::int64_t count, Half* out);
void from_float(const float* in, std::int64_t count, BFloat16* out);

/// A double as the nearest float below or above that keeps the direction of rounding: its last bit is set when the
/// value is inexact ("round to odd"), so that rounding on to a 16-bit format gives what rounding the double once would
/// give.
float round_to_odd(double value);

}  // namespace llama_zero::cpu
