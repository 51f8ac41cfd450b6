// Loads and stores of neighbouring numbers: storage type in memory, fp32 in registers, 16 bytes an access.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace llama_zero::cuda {

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

/// Rounds to nearest even.
template <typename T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// Numbers of T in one 16-byte access.
template <typename T>
inline constexpr int kPackOf = 16 / static_cast<int>(sizeof(T));

namespace detail {

/// The integer type that is accessed at once: structs of __half would be copied member by member.
template <int kBytes>
struct Word;
template <>
struct Word<2> {
  using Type = unsigned short;
};
template <>
struct Word<4> {
  using Type = unsigned;
};
template <>
struct Word<8> {
  using Type = uint2;
};
template <>
struct Word<16> {
  using Type = uint4;
};

template <typename T>
__device__ __forceinline__ float2 unpack_two(unsigned word) {
  if constexpr (std::is_same_v<T, __half>) {
    __half2 pair;
    std::memcpy(&pair, &word, sizeof(pair));
    return __half22float2(pair);
  } else {
    return {__uint_as_float(word << 16U), __uint_as_float(word & 0xffff0000U)};
  }
}

template <typename T>
__device__ __forceinline__ unsigned pack_two(float low, float high) {
  unsigned word;
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    std::memcpy(&word, &pair, sizeof(word));
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    std::memcpy(&word, &pair, sizeof(word));
  }
  return word;
}

}  // namespace detail

/// N numbers of T as they lie in memory; at most 16 bytes.
template <typename T, int N>
struct Pack {
  using Bits = typename detail::Word<static_cast<int>(sizeof(T)) * N>::Type;
  Bits bits;
};

template <typename T, int N>
__device__ __forceinline__ void unpack(const Pack<T, N> pack, float (&x)[N]) {
  if constexpr (sizeof(T) == sizeof(float)) {
    std::memcpy(x, &pack.bits, sizeof(x));
  } else if constexpr (N == 1) {
    T value;
    std::memcpy(&value, &pack.bits, sizeof(value));
    x[0] = to_float(value);
  } else {
    unsigned words[N / 2];
    std::memcpy(words, &pack.bits, sizeof(words));
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      const float2 two = detail::unpack_two<T>(words[i]);
      x[2 * i] = two.x;
      x[2 * i + 1] = two.y;
    }
  }
}

/// Rounds each number once.
template <typename T, int N>
__device__ __forceinline__ Pack<T, N> make_pack(const float (&x)[N]) {
  Pack<T, N> pack;
  if constexpr (sizeof(T) == sizeof(float)) {
    std::memcpy(&pack.bits, x, sizeof(x));
  } else if constexpr (N == 1) {
    const T value = from_float<T>(x[0]);
    std::memcpy(&pack.bits, &value, sizeof(value));
  } else {
    unsigned words[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; ++i) words[i] = detail::pack_two<T>(x[2 * i], x[2 * i + 1]);
    std::memcpy(&pack.bits, words, sizeof(words));
  }
  return pack;
}

template <typename T, int N>
__device__ __forceinline__ Pack<T, N> load_pack(const T* from) {
  return {*reinterpret_cast<const typename Pack<T, N>::Bits*>(from)};
}
template <typename T, int N>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, N> pack) {
  *reinterpret_cast<typename Pack<T, N>::Bits*>(to) = pack.bits;
}

/// N numbers as fp32, in accesses of up to 16 bytes; `from` must be aligned to the access.
template <typename T, int N>
__device__ __forceinline__ void load(const T* from, float (&x)[N]) {
  constexpr int kStep = N < kPackOf<T> ? N : kPackOf<T>;
#pragma unroll
  for (int i = 0; i < N; i += kStep) {
    float part[kStep];
    unpack(load_pack<T, kStep>(from + i), part);
#pragma unroll
    for (int j = 0; j < kStep; ++j) x[i + j] = part[j];
  }
}

/// Rounds N numbers once and stores them.
template <typename T, int N>
__device__ __forceinline__ void store(T* to, const float (&x)[N]) {
  constexpr int kStep = N < kPackOf<T> ? N : kPackOf<T>;
#pragma unroll
  for (int i = 0; i < N; i += kStep) {
    float part[kStep];
#pragma unroll
    for (int j = 0; j < kStep; ++j) part[j] = x[i + j];
    store_pack<T, kStep>(to + i, make_pack<T, kStep>(part));
  }
}

}  // namespace llama_zero::cuda
