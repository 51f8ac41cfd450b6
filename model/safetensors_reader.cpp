#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "model/json_fields.h"
#include "model/safetensors.h"

namespace llama_zero {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100000000;  // the format's own limit

/// Bytes of one element, 0 for an unknown word.
std::int64_t element_bytes(std::string_view dtype) {
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 15> kSizes{{{"F64", 8},
                                                                              {"F32", 4},
                                                                              {"F16", 2},
                                                                              {"BF16", 2},
                                                                              {"F8_E4M3", 1},
                                                                              {"F8_E5M2", 1},
                                                                              {"I64", 8},
                                                                              {"I32", 4},
                                                                              {"I16", 2},
                                                                              {"I8", 1},
                                                                              {"U64", 8},
                                                                              {"U32", 4},
                                                                              {"U16", 2},
                                                                              {"U8", 1},
                                                                              {"BOOL", 1}}};
  for (const auto& [word, bytes] : kSizes) {
    if (word == dtype) return bytes;
  }
  return 0;
}

std::string_view header_text(const MappedFile& file) {
  const std::string origin = file.path().string();
  require(file.size() >= kLengthBytes, "{}: {} bytes are too few for a safetensors file", origin, file.size());
  std::uint64_t length = 0;
  std::memcpy(&length, file.bytes().data(), kLengthBytes);
  require(length <= kMaxHeaderBytes && length <= file.size() - kLengthBytes,
          "{}: header of {} bytes does not fit into a file of {} bytes: truncated, or not a safetensors file", origin,
          length, file.size());
  return file.text().substr(kLengthBytes, length);
}

/// Parses the description of one tensor.
class TensorParser {
 public:
  TensorParser(std::string origin, std::span<const std::byte> data) : origin_(std::move(origin)), data_(data) {}

  SafetensorsFile::Tensor parse(std::string_view name, const simdjson::dom::element& value) const {
    simdjson::dom::object fields;
    check(value.get(fields) == simdjson::SUCCESS, name, "must be an object");
    check(JsonFields::first_repeated(fields).data() == nullptr, name, "has a field twice");
    SafetensorsFile::Tensor tensor;
    std::string_view dtype;
    check(fields["dtype"].get(dtype) == simdjson::SUCCESS, name, "has no dtype");
    tensor.dtype = dtype;
    const std::int64_t width = element_bytes(dtype);
    require(width > 0, "{}: tensor '{}' has unknown dtype '{}'", origin_, printable(name), printable(dtype));
    tensor.shape = integers(fields, "shape", name);
    const std::vector<std::int64_t> offsets = integers(fields, "data_offsets", name);
    check(offsets.size() == 2, name, "needs two data_offsets");
    tensor.bytes = slice(name, offsets[0], offsets[1]);
    tensor.numel = 1;
    for (const std::int64_t size : tensor.shape) {
      check(!__builtin_mul_overflow(tensor.numel, size, &tensor.numel), name, "has an impossible shape");
    }
    std::int64_t bytes = 0;
    check(!__builtin_mul_overflow(tensor.numel, width, &bytes), name, "has an impossible shape");
    require(bytes == offsets[1] - offsets[0], "{}: tensor '{}' needs {} bytes, its data_offsets hold {}", origin_,
            printable(name), bytes, offsets[1] - offsets[0]);
    return tensor;
  }

 private:
  void check(bool condition, std::string_view name, std::string_view fault) const {
    require(condition, "{}: tensor '{}' {}", origin_, printable(name), fault);
  }

  std::vector<std::int64_t> integers(const simdjson::dom::object& fields, std::string_view key,
                                     std::string_view name) const {
    simdjson::dom::array array;
    require(fields[key].get(array) == simdjson::SUCCESS, "{}: tensor '{}' has no {}", origin_, printable(name), key);
    std::vector<std::int64_t> values;
    for (const simdjson::dom::element item : array) {
      std::int64_t number = 0;
      require(item.get(number) == simdjson::SUCCESS && number >= 0,
              "{}: tensor '{}' has a {} that is no natural number", origin_, printable(name), key);
      values.push_back(number);
    }
    return values;
  }

  std::span<const std::byte> slice(std::string_view name, std::int64_t begin, std::int64_t end) const {
    require(begin <= end && static_cast<std::uint64_t>(end) <= data_.size(),
            "{}: tensor '{}' lies at bytes {}..{} of {} bytes of data: truncated or damaged", origin_, printable(name),
            begin, end, data_.size());
    return data_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  }

  std::string origin_;
  std::span<const std::byte> data_;
};

/// Tensors must tile the data: a gap or an overlap means a damaged header.
void check_tiling(const std::string& origin, std::span<const std::byte> data,
                  const std::map<std::string, SafetensorsFile::Tensor>& tensors) {
  std::vector<std::pair<const std::byte*, std::string_view>> order;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.bytes.empty()) order.emplace_back(tensor.bytes.data(), name);
  }
  std::sort(order.begin(), order.end());
  const std::byte* expected = data.data();
  for (const auto& [begin, name] : order) {
    require(begin >= expected, "{}: tensor '{}' overlaps another", origin, printable(name));
    require(begin == expected, "{}: {} bytes before tensor '{}' belong to no tensor", origin, begin - expected,
            printable(name));
    expected = begin + tensors.at(std::string(name)).bytes.size();
  }
  require(expected == data.data() + data.size(), "{}: the last {} bytes belong to no tensor", origin,
          data.data() + data.size() - expected);
}

constexpr std::size_t kPiece = std::size_t{1} << 16U;  // elements that a thread takes at a time

// By several threads: the pages of the file come from the disk as they are touched.
template <typename T>
void widen(std::span<const std::byte> bytes, std::span<float> out) {
#pragma omp parallel for schedule(static) if (out.size() >= 2 * kPiece)
  for (std::size_t begin = 0; begin < out.size(); begin += kPiece) {
    const std::size_t end = std::min(out.size(), begin + kPiece);
    for (std::size_t i = begin; i < end; ++i) {
      T value;
      std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
      out[i] = static_cast<float>(value);
    }
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& path) : file_(path) {
  const std::string origin = path.string();
  const std::string_view text = header_text(file_);
  const auto data = file_.bytes().subspan(kLengthBytes + text.size());
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  const auto error = parser.parse(simdjson::padded_string(text)).get(root);
  require(error == simdjson::SUCCESS, "{}: the header is not a JSON object: {}", origin,
          simdjson::error_message(error));
  const TensorParser tensor_parser(origin, data);
  for (const auto field : root) {
    if (field.key == "__metadata__") continue;
    const bool added = tensors_.try_emplace(std::string(field.key), tensor_parser.parse(field.key, field.value)).second;
    require(added, "{}: tensor '{}' is there twice", origin, printable(field.key));
  }
  check_tiling(origin, data, tensors_);
}

const SafetensorsFile::Tensor& SafetensorsFile::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  require(found != tensors_.end(), "{}: tensor '{}' is missing", path().string(), name);
  return found->second;
}

void SafetensorsFile::read(const std::string& name, std::int64_t begin, std::span<float> out) const {
  const Tensor& tensor = find(name);
  const auto count = static_cast<std::int64_t>(out.size());
  require(begin >= 0 && begin <= tensor.numel && count <= tensor.numel - begin,
          "{}: elements [{}, +{}) of tensor '{}', which has {}", path().string(), begin, count, name, tensor.numel);
  const auto bytes = [&](std::size_t width) { return tensor.bytes.subspan(static_cast<std::size_t>(begin) * width); };
  if (tensor.dtype == "F32") {
    widen<float>(bytes(4), out);
  } else if (tensor.dtype == "F16") {
    widen<Half>(bytes(2), out);
  } else if (tensor.dtype == "BF16") {
    widen<BFloat16>(bytes(2), out);
  } else {
    fail("{}: tensor '{}' has dtype {}; weights must be F32, F16 or BF16", path().string(), name, tensor.dtype);
  }
}

}  // namespace llama_zero
