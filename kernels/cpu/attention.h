// What the attention kernels share: where heads and documents lie, and the size of a query tile.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/kernels.h"

namespace llama_zero::cpu {

/// Queries whose scores against all earlier keys of the document exist at a time.
inline constexpr std::int64_t kQueryTile = 64;

/// Layout of a fused qkv row.
struct QkvLayout {
  std::int64_t query_heads, kv_heads, head_dim;

  std::int64_t stride() const { return (query_heads + 2 * kv_heads) * head_dim; }
  std::int64_t output_stride() const { return query_heads * head_dim; }
  std::int64_t query(std::int64_t token, std::int64_t head) const { return token * stride() + head * head_dim; }
  std::int64_t key(std::int64_t token, std::int64_t kv_head) const { return query(token, query_heads + kv_head); }
  std::int64_t value(std::int64_t token, std::int64_t kv_head) const {
    return query(token, query_heads + kv_heads + kv_head);
  }
  std::int64_t output(std::int64_t token, std::int64_t head) const { return token * output_stride() + head * head_dim; }
  std::int64_t group() const { return query_heads / kv_heads; }
};

/// Documents before the padding one.
inline std::int64_t attended_documents(const Documents& documents) {
  const auto cu = documents.host_cu_seqlens;
  std::int64_t count = 0;
  for (std::size_t d = 0; d + 1 < cu.size(); ++d) count += cu[d] < documents.attended_tokens ? 1 : 0;
  return count;
}

struct DocumentRange {
  std::int64_t start, length;
};

inline DocumentRange document_range(const Documents& documents, std::int64_t document) {
  const auto d = static_cast<std::size_t>(document);
  return {documents.host_cu_seqlens[d], documents.host_cu_seqlens[d + 1] - documents.host_cu_seqlens[d]};
}

/// Zeros rows [first, last) of a [rows, width] tensor.
inline void zero_rows(const Context& context, const View& view, std::int64_t width, std::int64_t first,
                      std::int64_t last) {
  const std::size_t row_bytes = static_cast<std::size_t>(width) * size_of(view.dtype());
  parallel_rows(context, last - first, width, [&](std::int64_t from, std::int64_t to) {
    std::fill_n(view.raw() + static_cast<std::size_t>(first + from) * row_bytes,
                static_cast<std::size_t>(to - from) * row_bytes, std::byte{0});
  });
}

}  // namespace llama_zero::cpu
