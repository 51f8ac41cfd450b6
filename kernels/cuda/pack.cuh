// Loads and stores of neighbouring numbers: storage type in memory, fp32 in registers, 16 bytes an access.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

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

/// N numbers of T as they lie in memory; at most 16 bytes.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  static_assert(sizeof(T) * N <= 16);
  T values[N];
};

template <typename T, int N>
__device__ __forceinline__ void unpack(const Pack<T, N>& pack, float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = to_float(pack.values[i]);
}

template <typename T, int N>
__device__ __forceinline__ Pack<T, N> make_pack(const float (&x)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.values[i] = from_float<T>(x[i]);
  return pack;
}

template <typename T, int N>
__device__ __forceinline__ Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <typename T, int N>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

/// N numbers as fp32, in accesses of up to 16 bytes; `from` must be aligned to the access.
template <typename T, int N>
__device__ __forceinline__ void load(const T* from, float (&x)[N]) {
  constexpr int kStep = N < kPackOf<T> ? N : kPackOf<T>;
#pragma unroll
  for (int i = 0; i < N; i += kStep) {
    const Pack<T, kStep> pack = load_pack<T, kStep>(from + i);
#pragma unroll
    for (int j = 0; j < kStep; ++j) x[i + j] = to_float(pack.values[j]);
  }
}

/// Rounds N numbers once and stores them.
template <typename T, int N>
__device__ __forceinline__ void store(T* to, const float (&x)[N]) {
  constexpr int kStep = N < kPackOf<T> ? N : kPackOf<T>;
#pragma unroll
  for (int i = 0; i < N; i += kStep) {
    Pack<T, kStep> pack;
#pragma unroll
    for (int j = 0; j < kStep; ++j) pack.values[j] = from_float<T>(x[i + j]);
    store_pack<T, kStep>(to + i, pack);
  }
}

}  // namespace llama_zero::cuda
