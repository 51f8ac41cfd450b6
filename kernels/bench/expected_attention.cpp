// Attention recomputed in fp64 for sampled rows: a row is one token of one head.
#include <cmath>

#include "kernels/bench/expected.h"
#include "kernels/bench/host_tensor.h"

namespace llama_zero::bench {
namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// The fused tensor [T, (Hq + 2 Hkv) * D] seen head by head.
class Heads {
 public:
  Heads(Backend& backend, const ConstView& qkv, std::int64_t query_heads, std::int64_t kv_heads, std::int64_t head_dim)
      : tensor_(backend, qkv), query_heads_(query_heads), kv_heads_(kv_heads), head_dim_(head_dim) {}
  std::int64_t width() const { return (query_heads_ + 2 * kv_heads_) * head_dim_; }
  std::int64_t query_at(std::int64_t t, std::int64_t head) const { return t * width() + head * head_dim_; }
  std::int64_t key_at(std::int64_t t, std::int64_t head) const { return query_at(t, query_heads_ + head); }
  std::int64_t value_at(std::int64_t t, std::int64_t head) const {
    return query_at(t, query_heads_ + kv_heads_ + head);
  }
  std::vector<double> query(std::int64_t t, std::int64_t head) const {
    return tensor_.range(query_at(t, head), head_dim_);
  }
  std::vector<double> key(std::int64_t t, std::int64_t head) const { return tensor_.range(key_at(t, head), head_dim_); }
  std::vector<double> value(std::int64_t t, std::int64_t head) const {
    return tensor_.range(value_at(t, head), head_dim_);
  }
  std::int64_t group() const { return query_heads_ / kv_heads_; }

 private:
  HostTensor tensor_;
  std::int64_t query_heads_, kv_heads_, head_dim_;
};

/// The document of token t: [begin, end).
std::pair<std::int64_t, std::int64_t> document_of(const Documents& documents, std::int64_t t) {
  const auto& starts = documents.host_cu_seqlens;
  const auto next = std::upper_bound(starts.begin(), starts.end(), static_cast<std::int32_t>(t));
  return {*(next - 1), *next};
}

void add_row(Expected& expected, std::int64_t begin, const std::vector<double>& row) {
  for (std::size_t d = 0; d < row.size(); ++d) expected.add(begin + static_cast<std::int64_t>(d), row[d]);
}

void accumulate(std::vector<double>& sum, double factor, const std::vector<double>& row) {
  for (std::size_t d = 0; d < row.size(); ++d) sum[d] += factor * row[d];
}

struct AttendedRow {
  std::vector<double> output;
  double log_sum_exp = 0.0;
};

/// softmax(scores) * values; value(s) gives a row.
template <typename Value>
AttendedRow attend(const std::vector<double>& scores, std::size_t width, Value value) {
  AttendedRow row{std::vector<double>(width), 0.0};
  const double most = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  for (const double score : scores) sum += std::exp(score - most);
  row.log_sum_exp = most + std::log(sum);
  for (std::size_t s = 0; s < scores.size(); ++s) {
    accumulate(row.output, std::exp(scores[s] - row.log_sum_exp), value(static_cast<std::int64_t>(s)));
  }
  return row;
}

/// Enough rows of head_dim numbers for the samples.
std::vector<std::int64_t> sampled_rows(std::int64_t rows, std::int64_t head_dim, std::int64_t kinds) {
  return places(rows, std::max<std::int64_t>(16, kSamples / head_dim / kinds + 1));
}

/// The pieces of the backward: Dao et al., FlashAttention, 2022, section B.2, one element of P and dS at a time.
class Backward {
 public:
  Backward(Backend& backend, const AttentionBackward& args)
      : args_(args),
        heads_(backend, args.qkv, args.query_heads, args.kv_heads, args.head_dim),
        grad_(backend, args.grad_output),
        output_(backend, args.output),
        log_sum_exp_(backend, args.log_sum_exp) {}

  void add_query(Expected& expected, std::int64_t t, std::int64_t head) const {
    std::vector<double> sum(static_cast<std::size_t>(args_.head_dim));
    for (std::int64_t s = document_of(args_.documents, t).first; s <= t; ++s) {
      accumulate(sum, args_.scale * grad_score(t, s, head), heads_.key(s, head / heads_.group()));
    }
    add_row(expected, heads_.query_at(t, head), sum);
  }

  void add_key_value(Expected& expected, std::int64_t s, std::int64_t kv_head) const {
    std::vector<double> key(static_cast<std::size_t>(args_.head_dim));
    std::vector<double> value(key.size());
    for (std::int64_t head = kv_head * heads_.group(); head < (kv_head + 1) * heads_.group(); ++head) {
      for (std::int64_t t = s; t < document_of(args_.documents, s).second; ++t) {
        accumulate(key, args_.scale * grad_score(t, s, head), heads_.query(t, head));
        accumulate(value, probability(t, s, head), grad_row(t, head));
      }
    }
    add_row(expected, heads_.key_at(s, kv_head), key);
    add_row(expected, heads_.value_at(s, kv_head), value);
  }

 private:
  std::int64_t row_at(std::int64_t t, std::int64_t head) const {
    return (t * args_.query_heads + head) * args_.head_dim;
  }
  std::vector<double> grad_row(std::int64_t t, std::int64_t head) const {
    return grad_.range(row_at(t, head), args_.head_dim);
  }
  double probability(std::int64_t t, std::int64_t s, std::int64_t head) const {
    const double score = args_.scale * dot(heads_.query(t, head), heads_.key(s, head / heads_.group()));
    return std::exp(score - log_sum_exp_.at(head * args_.tokens_count + t));
  }
  double grad_score(std::int64_t t, std::int64_t s, std::int64_t head) const {
    const std::vector<double> grad = grad_row(t, head);
    const double delta = dot(grad, output_.range(row_at(t, head), args_.head_dim));
    return probability(t, s, head) * (dot(grad, heads_.value(s, head / heads_.group())) - delta);
  }

  const AttentionBackward& args_;
  Heads heads_;
  HostTensor grad_, output_, log_sum_exp_;
};

}  // namespace

Expectation expected(Backend& backend, const AttentionForward& args) {
  const Heads heads(backend, args.qkv, args.query_heads, args.kv_heads, args.head_dim);
  Expectation all(2);
  for (const std::int64_t row : sampled_rows(args.tokens_count * args.query_heads, args.head_dim, 1)) {
    const std::int64_t t = row / args.query_heads;
    const std::int64_t head = row % args.query_heads;
    const std::int64_t kv_head = head / heads.group();
    const std::int64_t begin = document_of(args.documents, t).first;
    std::vector<double> scores;
    for (std::int64_t s = begin; s <= t; ++s)
      scores.push_back(args.scale * dot(heads.query(t, head), heads.key(s, kv_head)));
    const AttendedRow attended = attend(scores, static_cast<std::size_t>(args.head_dim),
                                        [&](std::int64_t s) { return heads.value(begin + s, kv_head); });
    add_row(all[0], row * args.head_dim, attended.output);
    all[1].add(head * args.tokens_count + t, attended.log_sum_exp);
  }
  return all;
}

Expectation expected(Backend& backend, const AttentionBackward& args) {
  const Backward backward(backend, args);
  Expectation all(1);
  for (const std::int64_t row : sampled_rows(args.tokens_count * args.query_heads, args.head_dim, 3)) {
    backward.add_query(all[0], row / args.query_heads, row % args.query_heads);
  }
  for (const std::int64_t row : sampled_rows(args.tokens_count * args.kv_heads, args.head_dim, 3)) {
    backward.add_key_value(all[0], row / args.kv_heads, row % args.kv_heads);
  }
  return all;
}

Expectation expected(Backend& backend, const AttentionDecode& args) {
  const Heads heads(backend, args.qkv, args.query_heads, args.kv_heads, args.head_dim);
  const HostTensor keys(backend, args.key_cache);
  const HostTensor values(backend, args.value_cache);
  const auto slot = [&](std::int64_t b, std::int64_t s, std::int64_t head) {
    return ((b * args.capacity + s) * args.kv_heads + head) * args.head_dim;
  };
  Expectation all(1);
  for (const std::int64_t row : sampled_rows(args.batch * args.query_heads, args.head_dim, 1)) {
    const std::int64_t b = row / args.query_heads;
    const std::int64_t head = row % args.query_heads;
    const std::int64_t kv_head = head / heads.group();
    const std::int64_t length = args.host_lengths[static_cast<std::size_t>(b)];
    const auto key = [&](std::int64_t s) {
      return s == length ? heads.key(b, kv_head) : keys.range(slot(b, s, kv_head), args.head_dim);
    };
    const auto value = [&](std::int64_t s) {
      return s == length ? heads.value(b, kv_head) : values.range(slot(b, s, kv_head), args.head_dim);
    };
    std::vector<double> scores;
    for (std::int64_t s = 0; s <= length; ++s) scores.push_back(args.scale * dot(heads.query(b, head), key(s)));
    add_row(all[0], row * args.head_dim, attend(scores, static_cast<std::size_t>(args.head_dim), value).output);
  }
  return all;
}

}  // namespace llama_zero::bench
