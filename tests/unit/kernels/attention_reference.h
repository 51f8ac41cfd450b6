// Attention of documents in double, written from the formulas, with bounds on what fp32 arithmetic may differ by.
#pragma once

#include "tests/unit/kernels/support.h"

namespace llama_zero::test {

struct AttentionShape {
  std::int64_t query_heads, kv_heads, head_dim;
  std::int64_t width() const { return (query_heads + 2 * kv_heads) * head_dim; }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(head_dim)); }
};

/// Reads one head of a fused qkv; part 0 is the query head `head`, 1 and 2 are its key and value heads.
struct QkvReader {
  const AttentionShape& shape;
  const std::vector<double>& qkv;

  std::int64_t offset(std::int64_t token, int part, std::int64_t head) const {
    const std::int64_t kv = head / (shape.query_heads / shape.kv_heads);
    const std::int64_t column = part == 0 ? head : shape.query_heads + (part - 1) * shape.kv_heads + kv;
    return token * shape.width() + column * shape.head_dim;
  }
  const double* at(std::int64_t token, int part, std::int64_t head) const {
    return qkv.data() + offset(token, part, head);
  }
};

inline double inner(const double* a, const double* b, std::int64_t n) {
  double total = 0.0;
  for (std::int64_t i = 0; i < n; ++i) total += a[i] * b[i];
  return total;
}
inline double inner_abs(const double* a, const double* b, std::int64_t n) {
  double total = 0.0;
  for (std::int64_t i = 0; i < n; ++i) total += std::fabs(a[i] * b[i]);
  return total;
}

/// The softmax of one query over the keys up to its own, with the relative error that fp32 may leave in a probability.
struct QueryRow {
  std::vector<double> probability;
  double log_sum_exp = 0.0;
  double score_error = 0.0;        ///< of any scaled score: (D + 2) u times the largest sum of |q k|
  double probability_error = 0.0;  ///< relative: two scores (its own and the sum's), exp, sum of n terms, quotient

  QueryRow(const QkvReader& reader, std::int64_t start, std::int64_t query, std::int64_t head) {
    const auto& shape = reader.shape;
    double largest = -INFINITY;
    for (std::int64_t k = start; k <= query; ++k) {
      const double* q = reader.at(query, 0, head);
      probability.push_back(shape.scale() * inner(q, reader.at(k, 1, head), shape.head_dim));
      largest = std::max(largest, probability.back());
      score_error = std::max(score_error, kU32 * static_cast<double>(shape.head_dim + 2) * shape.scale() *
                                              inner_abs(q, reader.at(k, 1, head), shape.head_dim));
    }
    double total = 0.0;
    double spread = 0.0;
    for (double& p : probability) {
      spread = std::max(spread, largest - p);
      p = std::exp(p - largest);
      total += p;
    }
    for (double& p : probability) p /= total;
    log_sum_exp = largest + std::log(total);
    const auto terms = static_cast<double>(probability.size());
    // exp(s - m): the subtraction rounds by u |s - m|, which exp turns into a relative error.
    probability_error = 2.0 * (score_error + kU32 * (spread + std::fabs(log_sum_exp))) + kU32 * (terms + 8.0);
  }
};

struct AttentionExpected {
  Expected output, log_sum_exp;
};

inline AttentionExpected attention_forward(const AttentionShape& shape, const DocumentSet& set,
                                           const std::vector<double>& qkv) {
  const std::int64_t dim = shape.head_dim;
  AttentionExpected expected{Expected(set.tokens() * shape.query_heads * dim),
                             Expected(shape.query_heads * set.tokens())};
  const QkvReader reader{shape, qkv};
  for (std::size_t d = 0; d + 1 < set.cu.size() && set.cu[d] < set.attended; ++d) {
    for (std::int64_t query = set.cu[d]; query < set.cu[d + 1]; ++query) {
      for (std::int64_t head = 0; head < shape.query_heads; ++head) {
        const QueryRow row(reader, set.cu[d], query, head);
        const auto terms = static_cast<double>(row.probability.size());
        const double lse_error = row.score_error + kU32 * (terms + 4.0 + 2.0 * std::fabs(row.log_sum_exp));
        expected.log_sum_exp.set(head * set.tokens() + query, row.log_sum_exp, lse_error);
        for (std::int64_t i = 0; i < dim; ++i) {
          double value = 0.0;
          double magnitude = 0.0;
          for (std::size_t k = 0; k < row.probability.size(); ++k) {
            const double term = row.probability[k] * reader.at(set.cu[d] + static_cast<std::int64_t>(k), 2, head)[i];
            value += term;
            magnitude += std::fabs(term);
          }
          expected.output.set((query * shape.query_heads + head) * dim + i, value,
                              magnitude * (row.probability_error + kU32 * (terms + 2.0)));
        }
      }
    }
  }
  return expected;
}

/// d(qkv) for d(output) = grad. `output` is the forward's result as stored: its rounding enters d(scores) by the row's
/// sum of grad * output, within u_storage of the terms' magnitudes.
inline Expected attention_backward(const AttentionShape& shape, const DocumentSet& set, const std::vector<double>& qkv,
                                   const std::vector<double>& grad, const Expected& output, DType storage) {
  const std::int64_t dim = shape.head_dim;
  Expected expected(set.tokens() * shape.width());
  const QkvReader reader{shape, qkv};
  const auto add = [&](std::int64_t at, const double* vector, double factor, double factor_error, double relative) {
    for (std::int64_t i = 0; i < dim; ++i) {
      expected.value[static_cast<std::size_t>(at + i)] += factor * vector[i];
      expected.bound[static_cast<std::size_t>(at + i)] +=
          std::fabs(vector[i]) * (factor_error + relative * std::fabs(factor));
    }
  };
  for (std::size_t d = 0; d + 1 < set.cu.size() && set.cu[d] < set.attended; ++d) {
    const double sum_error =
        kU32 * (static_cast<double>((set.cu[d + 1] - set.cu[d]) * (shape.query_heads / shape.kv_heads)) + 4.0);
    for (std::int64_t query = set.cu[d]; query < set.cu[d + 1]; ++query) {
      for (std::int64_t head = 0; head < shape.query_heads; ++head) {
        const QueryRow row(reader, set.cu[d], query, head);
        const std::int64_t out_at = (query * shape.query_heads + head) * dim;
        const double* g = grad.data() + out_at;
        const double* o = output.value.data() + out_at;
        const double delta = inner(g, o, dim);
        double delta_error = inner_abs(g, o, dim) * (kU32 * static_cast<double>(dim + 2) + unit_roundoff(storage));
        delta_error += inner_abs(g, output.bound.data() + out_at, dim);
        for (std::size_t k = 0; k < row.probability.size(); ++k) {
          const std::int64_t key = set.cu[d] + static_cast<std::int64_t>(k);
          const double p = row.probability[k];
          const double dp = inner(g, reader.at(key, 2, head), dim);
          const double dp_error = inner_abs(g, reader.at(key, 2, head), dim) * kU32 * static_cast<double>(dim + 2);
          const double ds = p * (dp - delta) * shape.scale();
          const double ds_error =
              p * shape.scale() * (dp_error + delta_error) + std::fabs(ds) * (row.probability_error + 4.0 * kU32);
          add(reader.offset(query, 0, head), reader.at(key, 1, head), ds, ds_error, sum_error);
          add(reader.offset(key, 1, head), reader.at(query, 0, head), ds, ds_error, sum_error);
          add(reader.offset(key, 2, head), g, p, p * row.probability_error, sum_error);
        }
      }
    }
  }
  return expected;
}

}  // namespace llama_zero::test
