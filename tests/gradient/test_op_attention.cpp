// Gradients of attention and of the rotary embedding.
#include "tests/gradient/test_op_support.h"

namespace llama_zero {
namespace {

using test::check_gradient;
using test::DoubleOps;
using test::inner;
using test::Numbers;
using test::random_numbers;
using test::view_of;

struct AttentionCase {
  std::int64_t query_heads, kv_heads, head_dim;
  std::vector<std::int32_t> cu_seqlens;
  std::int64_t longest, attended;
};

void check_attention(const AttentionCase& c) {
  DoubleOps ops;
  const std::int64_t tokens = c.cu_seqlens.back();
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  const Documents documents{view_of(c.cu_seqlens), c.cu_seqlens, c.longest, c.attended};
  Numbers qkv = random_numbers(tokens * (c.query_heads + 2 * c.kv_heads) * c.head_dim, 1);
  const Numbers upstream = random_numbers(tokens * c.query_heads * c.head_dim, 2);
  Numbers output(upstream.size());
  Numbers log_sum_exp(static_cast<std::size_t>(c.query_heads * tokens));
  const auto loss = [&] {
    ops->attention_forward({tokens, c.query_heads, c.kv_heads, c.head_dim, scale, view_of(qkv), documents,
                            view_of(output), view_of(log_sum_exp)},
                           ops.stream());
    return inner(output, upstream);
  };
  loss();
  Numbers grad(qkv.size(), NAN);
  ops->attention_backward({tokens, c.query_heads, c.kv_heads, c.head_dim, scale, view_of(upstream), view_of(qkv),
                           view_of(output), view_of(log_sum_exp), documents, view_of(grad)},
                          ops.stream());
  check_gradient("attention qkv", qkv, grad, loss);
}

TEST_CASE("the gradient of attention agrees with central differences: one document, one head") {
  check_attention({1, 1, 8, {0, 6}, 6, 6});
}

TEST_CASE("the gradient of attention agrees with central differences: several documents, grouped heads, padding") {
  check_attention({4, 2, 8, {0, 1, 6, 9, 11}, 5, 9});
}

TEST_CASE("the gradient of attention agrees with central differences: a document of two query tiles") {
  check_attention({2, 1, 8, {0, 67}, 67, 67});
}

TEST_CASE("the gradient of rope is the inverse rotation") {
  DoubleOps ops;
  const std::int64_t tokens = 3, query_heads = 2, kv_heads = 1, dim = 8, positions = 5;
  const std::vector<std::int32_t> position = {0, 4, 1};
  Numbers table;
  for (int p = 0; p < positions; ++p) {
    for (int i = 0; i < dim / 2; ++i) {
      table.push_back(std::cos(p * std::pow(10.0, -i)));
      table.push_back(std::sin(p * std::pow(10.0, -i)));
    }
  }
  Numbers qkv = random_numbers(tokens * 4 * dim, 1);
  const Numbers upstream = random_numbers(tokens * 4 * dim, 2);
  const auto rotate = [&](Numbers& x, bool inverse) {
    ops->rope({tokens, query_heads, kv_heads, dim, positions, view_of(x), view_of(position),
               view_of(std::as_const(table)), inverse},
              ops.stream());
  };
  const auto loss = [&] {
    Numbers rotated = qkv;
    rotate(rotated, false);
    return inner(rotated, upstream);
  };
  Numbers grad = upstream;
  rotate(grad, true);
  check_gradient("rope qkv", qkv, grad, loss);
}

}  // namespace
}  // namespace llama_zero
