#include "model/host_floats.h"

#include <span>

namespace llama_zero {
namespace {

template <typename T>
std::vector<float> copy_as(ConstView values, Device& device, Stream& stream) {
  std::vector<T> host(static_cast<std::size_t>(values.numel()));
  device.copy(values, View::of(std::span<T>(host)), stream);
  stream.synchronize();
  std::vector<float> result;
  result.reserve(host.size());
  for (const T& value : host) result.push_back(static_cast<float>(value));
  return result;
}

}  // namespace

std::vector<float> copy_to_host_floats(ConstView values, Device& device, Stream& stream) {
  switch (values.dtype()) {
    case DType::kF32:
      return copy_as<float>(values, device, stream);
    case DType::kF16:
      return copy_as<Half>(values, device, stream);
    case DType::kBF16:
      return copy_as<BFloat16>(values, device, stream);
    case DType::kF64:
      return copy_as<double>(values, device, stream);
    default:
      fail("values of {} are not floating-point numbers", name_of(values.dtype()));
  }
}

}  // namespace llama_zero
