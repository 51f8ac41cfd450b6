#include "tests/unit/kernels/attention_reference.h"

namespace llama_zero {
namespace {

using test::AttentionShape;
using test::Cpu;
using test::DocumentSet;
using test::Tensor;

struct Case {
  AttentionShape shape;
  DocumentSet set;
};

/// One token; documents of one token, of a tile, of a tile and one more; several tiles; padding; every grouping.
std::vector<Case> cases() {
  return {{{1, 1, 8}, {{1}, 0}},
          {{2, 2, 24}, {{1, 5, 1, 64, 65}, 7}},
          {{4, 2, 32}, {{70, 3, 131}, 52}},
          {{6, 1, 64}, {{20, 40}, 1}},
          {{2, 1, 256}, {{33}, 0}}};
}

struct Result {
  Tensor output, log_sum_exp, grad_qkv;
};

Result run(Cpu& cpu, const Case& c, const Tensor& qkv, const Tensor& grad_output) {
  const std::int64_t tokens = c.set.tokens();
  const AttentionShape& s = c.shape;
  Result r{Tensor(qkv.dtype(), tokens * s.query_heads * s.head_dim),
           Tensor(stat_dtype(qkv.dtype()), s.query_heads * tokens), Tensor(qkv.dtype(), qkv.numel())};
  cpu.run(AttentionForward{tokens, s.query_heads, s.kv_heads, s.head_dim, s.scale(), qkv, c.set.documents(), r.output,
                           r.log_sum_exp});
  cpu.run(AttentionBackward{tokens, s.query_heads, s.kv_heads, s.head_dim, s.scale(), grad_output, qkv, r.output,
                            r.log_sum_exp, c.set.documents(), r.grad_qkv});
  return r;
}

/// Inputs with NaN in the padding, which attention must not read.
Tensor with_poisoned_padding(const Case& c, Tensor t) {
  const std::int64_t width = t.numel() / c.set.tokens();
  for (std::int64_t i = c.set.attended * width; i < t.numel(); ++i) t.set(i, NAN);
  return t;
}

TEST_CASE("attention forward and backward match a double reference within derived bounds") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const Case& c : cases()) {
      CAPTURE(c.shape.head_dim);
      const std::int64_t tokens = c.set.tokens();
      const Tensor qkv = with_poisoned_padding(c, Tensor::random(dtype, tokens * c.shape.width(), 1));
      const Tensor grad =
          with_poisoned_padding(c, Tensor::random(dtype, tokens * c.shape.query_heads * c.shape.head_dim, 2));
      const Result r = run(cpu, c, qkv, grad);
      const auto expected = test::attention_forward(c.shape, c.set, qkv.values());
      test::check_within("output", r.output, expected.output);
      test::check_within("log_sum_exp", r.log_sum_exp, expected.log_sum_exp);
      test::check_within("grad_qkv", r.grad_qkv,
                         test::attention_backward(c.shape, c.set, qkv.values(), grad.values(), expected.output, dtype));
    }
  }
}

TEST_CASE("attention writes zeros for padding rows and reads nothing of them") {
  Cpu cpu(2);
  const Case c{{4, 2, 16}, {{9, 30}, 25}};
  for (const DType dtype : test::kStorageTypes) {
    const std::int64_t tokens = c.set.tokens();
    const Tensor qkv = with_poisoned_padding(c, Tensor::random(dtype, tokens * c.shape.width(), 1));
    const Tensor grad = with_poisoned_padding(c, Tensor::random(dtype, tokens * 64, 2));
    const Result r = run(cpu, c, qkv, grad);
    int not_zero = 0;
    for (std::int64_t t = c.set.attended; t < tokens; ++t) {
      for (std::int64_t i = 0; i < 64; ++i) not_zero += r.output[t * 64 + i] == 0.0 ? 0 : 1;
      for (std::int64_t i = 0; i < c.shape.width(); ++i) not_zero += r.grad_qkv[t * c.shape.width() + i] == 0.0 ? 0 : 1;
      for (std::int64_t h = 0; h < 4; ++h) not_zero += r.log_sum_exp[h * tokens + t] == 0.0 ? 0 : 1;
    }
    CHECK(not_zero == 0);
  }
}

TEST_CASE("a pass of padding alone gives zeros") {
  Cpu cpu(2);
  const Case c{{2, 1, 8}, {{}, 12}};
  const Tensor qkv(DType::kF16, 12 * c.shape.width());  // all NaN
  const Tensor grad(DType::kF16, 12 * 16);
  const Result r = run(cpu, c, qkv, grad);
  CHECK(r.output == Tensor::of(DType::kF16, std::vector<double>(12 * 16, 0.0)));
  CHECK(r.grad_qkv ==
        Tensor::of(DType::kF16, std::vector<double>(static_cast<std::size_t>(12 * c.shape.width()), 0.0)));
}

TEST_CASE("a document's attention does not depend on its neighbours") {
  Cpu cpu;
  const AttentionShape shape{2, 1, 16};
  const Case alone{shape, {{90}, 0}};
  const Case among{shape, {{3, 90, 17}, 6}};
  const Tensor all = Tensor::random(DType::kF32, among.set.tokens() * shape.width(), 1);
  const Tensor grad = Tensor::random(DType::kF32, among.set.tokens() * 32, 2);
  const auto slice = [](const Tensor& t, std::int64_t from, std::int64_t count) {
    Tensor part(t.dtype(), count);
    for (std::int64_t i = 0; i < count; ++i) part.set(i, t[from + i]);
    return part;
  };
  const Result one = run(cpu, alone, slice(all, 3 * shape.width(), 90 * shape.width()), slice(grad, 3 * 32, 90 * 32));
  const Result many = run(cpu, among, all, grad);
  CHECK(slice(many.output, 3 * 32, 90 * 32) == one.output);
  CHECK(slice(many.grad_qkv, 3 * shape.width(), 90 * shape.width()) == one.grad_qkv);
}

TEST_CASE("attention stays finite when scores are large") {
  Cpu cpu;
  const Case c{{1, 1, 8}, {{40}, 0}};
  const Tensor qkv = Tensor::random(DType::kF32, 40 * 24, 1, 100.0);
  const Tensor grad = Tensor::random(DType::kF32, 40 * 8, 2);
  const Result r = run(cpu, c, qkv, grad);
  int bad = 0;
  for (std::int64_t i = 0; i < r.output.numel(); ++i) bad += std::isfinite(r.output[i]) ? 0 : 1;
  for (std::int64_t i = 0; i < r.grad_qkv.numel(); ++i) bad += std::isfinite(r.grad_qkv[i]) ? 0 : 1;
  CHECK(bad == 0);
}

struct DecodeCase {
  AttentionShape shape;
  std::int64_t capacity;
  std::vector<std::int32_t> lengths;
};

/// What decoding the last token of each document must give: the same as attention over the whole document.
void check_decode(DType dtype, const DecodeCase& c, Cpu& cpu) {
  const AttentionShape& s = c.shape;
  const auto batch = static_cast<std::int64_t>(c.lengths.size());
  const std::int64_t cache_width = s.kv_heads * s.head_dim;
  std::vector<std::int32_t> with_new;
  for (const std::int32_t length : c.lengths) with_new.push_back(length + 1);
  const DocumentSet whole(with_new, 0);
  const Tensor qkv = Tensor::random(dtype, whole.tokens() * s.width(), 1);
  const DocumentSet prefix(c.lengths, 3);
  Tensor prefill(dtype, prefix.tokens() * s.width());
  Tensor last(dtype, batch * s.width());
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto d = static_cast<std::size_t>(b);
    for (std::int64_t i = 0; i < c.lengths[d] * s.width(); ++i) {
      prefill.set(prefix.cu[d] * s.width() + i, qkv[whole.cu[d] * s.width() + i]);
    }
    for (std::int64_t i = 0; i < s.width(); ++i)
      last.set(b * s.width() + i, qkv[(whole.cu[d + 1] - 1) * s.width() + i]);
  }
  Tensor keys(dtype, batch * c.capacity * cache_width);
  Tensor values(dtype, batch * c.capacity * cache_width);
  cpu.run(StoreKeyValue{prefix.tokens(), s.query_heads, s.kv_heads, s.head_dim, c.capacity, prefill, prefix.documents(),
                        keys, values});
  Tensor output(dtype, batch * s.query_heads * s.head_dim);
  const Tensor lengths = Tensor::ints(c.lengths);
  cpu.run(AttentionDecode{batch, s.query_heads, s.kv_heads, s.head_dim, c.capacity, s.scale(), last, lengths, c.lengths,
                          keys, values, output});
  const auto expected = test::attention_forward(s, whole, qkv.values());
  test::Expected at_last(output.numel());
  const std::int64_t row = s.query_heads * s.head_dim;
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t i = 0; i < row; ++i) {
      const auto from = static_cast<std::size_t>((whole.cu[static_cast<std::size_t>(b) + 1] - 1) * row + i);
      at_last.set(b * row + i, expected.output.value[from], expected.output.bound[from]);
    }
  }
  test::check_within("decode", output, at_last);
  // The new key is in its slot; slots after it are untouched (still NaN).
  for (std::int64_t b = 0; b < batch; ++b) {
    const std::int64_t slot = b * c.capacity + c.lengths[static_cast<std::size_t>(b)];
    CHECK(keys[slot * cache_width] == last[b * s.width() + s.query_heads * s.head_dim]);
    if (c.lengths[static_cast<std::size_t>(b)] + 1 < c.capacity) CHECK(std::isnan(values[(slot + 1) * cache_width]));
  }
}

TEST_CASE("decoding the next token against the cache equals attention over the whole document") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    check_decode(dtype, {{1, 1, 8}, 2, {1}}, cpu);
    check_decode(dtype, {{4, 2, 32}, 140, {1, 64, 139, 63}}, cpu);
    check_decode(dtype, {{6, 1, 24}, 70, {65, 2}}, cpu);
  }
}

TEST_CASE("decoding the first token of an empty cache returns its own value") {
  Cpu cpu;
  const Tensor qkv = Tensor::random(DType::kF32, 24, 1);
  Tensor keys(DType::kF32, 8);
  Tensor values(DType::kF32, 8);
  Tensor output(DType::kF32, 8);
  const std::vector<std::int32_t> lengths = {0};
  const Tensor device_lengths = Tensor::ints(lengths);
  cpu.run(AttentionDecode{1, 1, 1, 8, 1, 0.3, qkv, device_lengths, lengths, keys, values, output});
  for (std::int64_t i = 0; i < 8; ++i) CHECK(output[i] == qkv[16 + i]);
}

}  // namespace
}  // namespace llama_zero
