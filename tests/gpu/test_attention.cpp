// Attention, forward, backward, decode, and the caches: the GPU against the CPU.
#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

struct Heads {
  std::int64_t query, kv, dim;
  std::int64_t width() const { return (query + 2 * kv) * dim; }
};

const std::vector<Heads> kHeads = {{1, 1, 8},   {4, 2, 24},  {3, 3, 64},  {4, 1, 64},
                                   {4, 2, 128}, {2, 2, 128}, {2, 1, 256}, {2, 2, 80}};

/// One token; one document; documents of one token; lengths that are no multiple of a tile; padding of many lengths; an
/// empty document; padding alone.
const std::vector<DocumentSet> kDocuments = {
    {{1}, 0},          {{130}, 0}, {{1, 1, 1, 1, 5}, 3}, {{33, 1, 64, 7, 100}, 51}, {{31, 32, 33}, 160},
    {{20, 0, 44}, 64}, {{}, 7},    {{300, 17}, 3}};

/// With sizes that racecheck gets through: the same kinds, each kernel with one tile and with a second one.
const std::vector<DocumentSet> kSmallDocuments = {{{1}, 0},         {{70}, 0},        {{1, 1, 5}, 3},
                                                  {{33, 1, 7}, 20}, {{20, 0, 9}, 40}, {{}, 7}};

const std::vector<DocumentSet>& document_sets() { return small_sizes() ? kSmallDocuments : kDocuments; }

/// Bounds for standard normal queries, keys and values, which stay below 5.5 in these sizes.
struct Bounds {
  /// Both backends compute in fp32; kAuto may take an implementation that rounds probabilities and their gradients to
  /// the storage type before the second product: one more step of storage for each factor.
  Bounds(const Heads& heads, std::int64_t longest, DType dtype, bool rounds_probabilities) {
    const double dim = static_cast<double>(heads.dim);
    // A scaled score is a sum of dim products, times 1 / sqrt(dim): its error, absolute, is the relative one of its
    // power.
    const double score = sum_bound(heads.dim, 0.64 * dim + 8.0) / std::sqrt(dim) + 32.0 * kU32;
    const double storage = rounds_probabilities && dtype != DType::kF32 ? epsilon_of(dtype) : 0.0;
    log_sum_exp = score + sum_bound(longest, 1.0);
    output = 5.5 * (2.0 * score + sum_bound(longest, 1.0) + storage);
    // dP and delta are sums of dim products; dS = P (dP - delta) scale, |dP - delta| < 8 sqrt(dim).
    const double grad_score =
        (2.0 * sum_bound(heads.dim, 0.64 * dim + 8.0) + 8.0 * std::sqrt(dim) * (2.0 * score + 2.0 * storage)) /
        std::sqrt(dim);
    // Rows of P sum to one; a column, times the query heads of a group, to at most the longest document's length, but
    // for a late key to few: the first key of a document collects about 1 + log(length) from each head.
    const double column =
        (3.0 + std::log(static_cast<double>(longest) + 1.0)) * static_cast<double>(heads.query / heads.kv);
    grad = 5.5 * column * (grad_score + sum_bound(longest, 8.0) + 2.0 * score + storage);
  }
  double log_sum_exp, output, grad;
};

void check_attention(bool plain) {
  Ops* ops_under_test = plain ? Gpu::get().plain_ops.get() : Gpu::get().ops.get();
  for (const DType dtype : kStorageTypes) {
    for (const Heads& heads : kHeads) {
      for (const DocumentSet& set : document_sets()) {
        // Small: each pair of heads and documents in one dtype.
        const auto which = static_cast<int>(&heads - kHeads.data()) + static_cast<int>(&set - document_sets().data());
        if (small_sizes() && (which + static_cast<int>(dtype)) % 3 != 0) continue;
        CAPTURE(heads.dim);
        CAPTURE(set.tokens());
        const std::int64_t tokens = set.tokens();
        const double scale = 1.0 / std::sqrt(static_cast<double>(heads.dim));
        const Bounds bounds(heads, set.longest, dtype, !plain);
        Case forward;
        PairedDocuments documents(forward, set);
        Pair& qkv = forward.random(dtype, tokens * heads.width());
        Pair& output = forward.output(dtype, tokens * heads.query * heads.dim);
        Pair& lse = forward.output(DType::kF32, heads.query * tokens);
        forward.run(
            [&](auto side, Ops& ops, Stream& s) {
              ops.attention_forward({tokens, heads.query, heads.kv, heads.dim, scale, side(qkv), documents.on(side),
                                     side(output), side(lse)},
                                    s);
            },
            ops_under_test);
        output.check_close("output", 0.0, bounds.output);
        lse.check_close("log_sum_exp", 4.0 * kU32, bounds.log_sum_exp);
        for (std::int64_t i = set.attended * heads.query * heads.dim; i < output.gpu.numel(); ++i) {
          REQUIRE(output.gpu[i] == 0.0);
        }

        // From the same output and log_sum_exp on both sides, so that only the backward's own error counts.
        Case backward;
        PairedDocuments documents_again(backward, set);
        Pair& x = backward.tensor(qkv.initial);
        Pair& y = backward.tensor(output.cpu);
        Pair& statistics = backward.tensor(lse.cpu);
        Pair& grad = backward.random(dtype, y.initial.numel());
        Pair& grad_qkv = backward.output(dtype, tokens * heads.width());
        backward.run(
            [&](auto side, Ops& ops, Stream& s) {
              ops.attention_backward({tokens, heads.query, heads.kv, heads.dim, scale, side(grad), side(x), side(y),
                                      side(statistics), documents_again.on(side), side(grad_qkv)},
                                     s);
            },
            ops_under_test);
        grad_qkv.check_close("grad_qkv", 0.0, bounds.grad);
      }
    }
  }
}

GPU_TEST_CASE("plain attention agrees with the CPU, forward and backward, at every kind of document") {
  check_attention(true);
}

GPU_TEST_CASE("the default attention agrees with the CPU, forward and backward, at every kind of document") {
  check_attention(false);
}

GPU_TEST_CASE("attention of unaligned tensors agrees with the CPU") {
  const DocumentSet set({40, 3}, 21);
  const Heads heads{2, 1, 64};
  for (const DType dtype : kStorageTypes) {
    Case c(1);
    PairedDocuments documents(c, set);
    Pair& qkv = c.random(dtype, set.tokens() * heads.width());
    Pair& output = c.output(dtype, set.tokens() * heads.query * heads.dim);
    Pair& lse = c.output(DType::kF32, heads.query * set.tokens());
    Pair& grad = c.random(dtype, set.tokens() * heads.query * heads.dim);
    Pair& grad_qkv = c.output(dtype, set.tokens() * heads.width());
    c.run(
        [&](auto side, Ops& ops, Stream& s) {
          const Documents d = documents.on(side);
          ops.attention_forward(
              {set.tokens(), heads.query, heads.kv, heads.dim, 0.125, side(qkv), d, side(output), side(lse)}, s);
          ops.attention_backward({set.tokens(), heads.query, heads.kv, heads.dim, 0.125, side(grad), side(qkv),
                                  side(output), side(lse), d, side(grad_qkv)},
                                 s);
        },
        Gpu::get().plain_ops.get());
    const Bounds bounds(heads, set.longest, dtype, true);
    output.check_close("output", 0.0, bounds.output);
    grad_qkv.check_close("grad_qkv", 0.0, bounds.grad);
  }
}

GPU_TEST_CASE("a prefill's keys and values land in their documents' caches, and nothing else does") {
  for (const DType dtype : kStorageTypes) {
    for (const Heads& heads : kHeads) {
      for (const DocumentSet& set : document_sets()) {
        for (const std::int64_t shift : {0, 1}) {
          Case c(shift);
          std::int64_t attended = 0;
          for (std::size_t d = 0; d + 1 < set.cu.size(); ++d) attended += set.cu[d] < set.attended ? 1 : 0;
          const std::int64_t capacity = set.longest + 2;
          const std::int64_t cache = attended * capacity * heads.kv * heads.dim;
          PairedDocuments documents(c, set);
          Pair& qkv = c.random(dtype, set.tokens() * heads.width());
          Pair& keys = c.random(dtype, cache);
          Pair& values = c.random(dtype, cache);
          c.run([&](auto side, Ops& ops, Stream& s) {
            ops.store_key_value({set.tokens(), heads.query, heads.kv, heads.dim, capacity, side(qkv),
                                 documents.on(side), side(keys), side(values)},
                                s);
          });
          keys.check_same_bits("key_cache");
          values.check_same_bits("value_cache");
        }
      }
    }
  }
}

GPU_TEST_CASE("decoding one token a sequence agrees with the CPU and appends to the caches") {
  for (const DType dtype : kStorageTypes) {
    for (const Heads& heads : kHeads) {
      for (const std::vector<std::int32_t>& lengths :
           std::vector<std::vector<std::int32_t>>{{0}, {1, 0, 31}, {200, 7, 3, 4, 32}}) {
        CAPTURE(heads.dim);
        Case c(lengths.size() == 3 ? 1 : 0);
        constexpr std::int64_t kCapacity = 205;
        const auto batch = static_cast<std::int64_t>(lengths.size());
        const std::int64_t cache = batch * kCapacity * heads.kv * heads.dim;
        Pair& device_lengths = c.ints(lengths);
        Pair& qkv = c.random(dtype, batch * heads.width());
        Pair& keys = c.random(dtype, cache);
        Pair& values = c.random(dtype, cache);
        Pair& output = c.output(dtype, batch * heads.query * heads.dim);
        const double scale = 1.0 / std::sqrt(static_cast<double>(heads.dim));
        c.run([&](auto side, Ops& ops, Stream& s) {
          ops.attention_decode({batch, heads.query, heads.kv, heads.dim, kCapacity, scale, side(qkv),
                                side(device_lengths), lengths, side(keys), side(values), side(output)},
                               s);
        });
        keys.check_same_bits("key_cache");
        values.check_same_bits("value_cache");
        output.check_close("output", 0.0, Bounds(heads, 201, dtype, false).output);
      }
    }
  }
}

}  // namespace
}  // namespace llama_zero::test
