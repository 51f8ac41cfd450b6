#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "model/safetensors.h"

namespace llama_zero {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and written as it lies in memory");

constexpr std::size_t kChunkElements = std::size_t{1} << 20U;
constexpr std::size_t kPiece = std::size_t{1} << 16U;  // elements that a thread rounds at a time

const char* format_dtype(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    default:
      fail("safetensors: weights of {} cannot be written", name_of(dtype));
  }
}

std::string format_header(const std::vector<TensorSpec>& tensors, DType dtype) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::set<std::string> names;
  std::uint64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    require(names.insert(tensor.name).second, "safetensors: tensor '{}' is given twice", tensor.name);
    const std::uint64_t end = offset + static_cast<std::uint64_t>(tensor.numel()) * size_of(dtype);
    header[tensor.name] = {{"dtype", format_dtype(dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

template <typename T>
void narrow(std::span<const float> values, std::byte* out) {
#pragma omp parallel for schedule(static) if (values.size() >= 2 * kPiece)
  for (std::size_t begin = 0; begin < values.size(); begin += kPiece) {
    const std::size_t end = std::min(values.size(), begin + kPiece);
    for (std::size_t i = begin; i < end; ++i) {
      const T value(values[i]);
      std::memcpy(out + i * sizeof(T), &value, sizeof(T));
    }
  }
}

}  // namespace

std::int64_t TensorSpec::numel() const {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) {
    require(size >= 0 && !__builtin_mul_overflow(product, size, &product),
            "safetensors: tensor '{}' has an impossible shape", name);
  }
  return product;
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, const std::vector<TensorSpec>& tensors, DType dtype)
    : path_(path), file_(path), dtype_(dtype) {
  const std::string header = format_header(tensors, dtype);
  const auto length = static_cast<std::uint64_t>(header.size());
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(header);
  for (const TensorSpec& tensor : tensors) expected_ += tensor.numel();
}

void SafetensorsWriter::append(std::span<const float> values) {
  written_ += static_cast<std::int64_t>(values.size());
  require(written_ <= expected_, "{}: more than the {} elements that its tensors hold", path_.string(), expected_);
  if (dtype_ == DType::kF32) {
    file_.write(std::as_bytes(values));
    return;
  }
  for (std::size_t begin = 0; begin < values.size(); begin += kChunkElements) {
    const auto chunk = values.subspan(begin, std::min(kChunkElements, values.size() - begin));
    buffer_.resize(chunk.size() * size_of(dtype_));
    if (dtype_ == DType::kF16) {
      narrow<Half>(chunk, buffer_.data());
    } else {
      narrow<BFloat16>(chunk, buffer_.data());
    }
    file_.write(buffer_);
  }
}

void SafetensorsWriter::finish() {
  require(written_ == expected_, "{}: {} of {} elements were given", path_.string(), written_, expected_);
  file_.commit();
}

}  // namespace llama_zero
