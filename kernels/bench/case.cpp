#include "kernels/bench/case.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <sstream>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/cpu/convert.h"

namespace llama_zero::bench {

std::int64_t* Shape::find(char letter) {
  switch (letter) {
    case 'T':
      return &tokens;
    case 'H':
      return &hidden;
    case 'N':
      return &out;
    case 'I':
      return &intermediate;
    case 'Q':
      return &query_heads;
    case 'G':
      return &kv_heads;
    case 'D':
      return &head_dim;
    case 'V':
      return &vocab;
    case 'L':
      return &document_length;
    case 'R':
      return &ranks;
    case 'E':
      return &elements;
    default:
      return nullptr;
  }
}

void Shape::set(const std::string& text) {
  std::istringstream stream(text);
  for (std::string item; std::getline(stream, item, ',');) {
    std::int64_t* size = item.size() > 2 && item[1] == '=' ? find(item[0]) : nullptr;
    require(size != nullptr, "--shape: '{}' is not LETTER=SIZE with a letter of T H N I Q G D V L R E", item);
    const char* end = item.data() + item.size();
    const auto parsed = std::from_chars(item.data() + 2, end, *size);
    require(parsed.ec == std::errc() && parsed.ptr == end && *size > 0, "--shape: '{}' has no positive size", item);
  }
}

std::string Shape::describe(const std::string& letters) const {
  std::string text;
  for (const char letter : letters) {
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", letter, *const_cast<Shape*>(this)->find(letter));
  }
  return text;
}

View CaseBuilder::upload(DType dtype, const std::vector<double>& values) {
  const auto count = static_cast<std::int64_t>(values.size());
  std::vector<std::byte> rounded(values.size() * size_of(value_dtype_));
  const View rounded_view(rounded.data(), count, value_dtype_);
  cpu::store(rounded_view, 0, count, values.data());
  std::vector<double> exact(values.size());
  cpu::load(ConstView(rounded_view), 0, count, exact.data());
  std::vector<std::byte> host(values.size() * size_of(dtype));
  const View host_view(host.data(), count, dtype);
  cpu::store(host_view, 0, count, exact.data());
  const View view = empty(dtype, count);
  backend_.device->copy(host_view, view, *backend_.stream);
  backend_.stream->synchronize();
  return view;
}

View CaseBuilder::repeated(DType dtype, std::int64_t count, const std::function<double(std::uint64_t)>& value) {
  std::vector<double> values(static_cast<std::size_t>(std::min(count, kRepeatedBlock)));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = value(i);
  if (count <= kRepeatedBlock) return upload(dtype, values);
  const View view = empty(dtype, count);
  const Arena::Scope scope(*backend_.arena);
  const View block = upload(dtype, values);
  for (std::int64_t begin = 0; begin < count; begin += kRepeatedBlock) {
    const std::int64_t here = std::min(kRepeatedBlock, count - begin);
    backend_.device->copy(block.slice(0, here), view.slice(begin, here), *backend_.stream);
  }
  backend_.stream->synchronize();
  return view;
}

View CaseBuilder::random_as(DType dtype, std::int64_t count, double scale) {
  const CounterRng rng(1, next_stream_++);
  return repeated(dtype, count, [&](std::uint64_t i) { return scale * (2.0 * rng.uniform(i) - 1.0); });
}

View CaseBuilder::positive_as(DType dtype, std::int64_t count) {
  const CounterRng rng(1, next_stream_++);
  return repeated(dtype, count, [&](std::uint64_t i) { return 0.5 + rng.uniform(i); });
}

View CaseBuilder::ints(const std::vector<std::int32_t>& values) {
  const View view = empty(DType::kI32, static_cast<std::int64_t>(values.size()));
  backend_.device->copy(ConstView::of(std::span<const std::int32_t>(values)), view, *backend_.stream);
  backend_.stream->synchronize();
  return view;
}

View CaseBuilder::bytes(const void* data, std::size_t size) {
  const View view = empty(DType::kU8, static_cast<std::int64_t>(size));
  const ConstView host(static_cast<const std::byte*>(data), static_cast<std::int64_t>(size), DType::kU8);
  backend_.device->copy(host, view, *backend_.stream);
  backend_.stream->synchronize();
  return view;
}

const std::vector<std::int32_t>& CaseBuilder::keep(std::vector<std::int32_t> values) {
  return kept_.emplace_back(std::move(values));
}

Documents CaseBuilder::documents(const Shape& shape) {
  std::vector<std::int32_t> boundaries = {0};
  while (boundaries.back() < shape.tokens) {
    boundaries.push_back(static_cast<std::int32_t>(std::min(shape.tokens, boundaries.back() + shape.document_length)));
  }
  const auto& host = keep(std::move(boundaries));
  return {ints(host), host, std::min(shape.tokens, shape.document_length), shape.tokens};
}

std::vector<double> download(Backend& backend, const View& view) {
  std::vector<std::byte> host(view.bytes());
  const View host_view(host.data(), view.numel(), view.dtype());
  backend.device->copy(view, host_view, *backend.stream);
  backend.stream->synchronize();
  std::vector<double> values(static_cast<std::size_t>(view.numel()));
  cpu::load(ConstView(host_view), 0, view.numel(), values.data());
  return values;
}

}  // namespace llama_zero::bench
