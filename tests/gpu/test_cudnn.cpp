// cuDNN's attention: which calls are made for which documents, and the results against fp64 and against flash
// attention.
#include <map>

#include "kernels/cuda/attention/cudnn_calls.h"
#include "tests/gpu/attention_case.h"

namespace llama_zero::test {
namespace {

using cuda::CudnnCalls;
using cuda::CudnnDocuments;
using cuda::CudnnHeads;

/// Whether cuDNN can be tested; the first call where it cannot says why.
bool cudnn_ready() {
  static const bool ready = [] {
    if (!gpu_ready()) return false;
    if (!cudnn_status().usable) std::printf("skipped: no cuDNN (%s)\n", cudnn_status().text.c_str());
    return cudnn_status().usable;
  }();
  return ready;
}
#define CUDNN_TEST_CASE(name) TEST_CASE(name* doctest::skip(!cudnn_ready()))

Ops& cudnn() { return *Gpu::get().cudnn_ops; }

/// How often each document is in a call.
std::vector<int> uses(const std::vector<std::int32_t>& starts, const CudnnCalls& calls) {
  std::vector<int> used(starts.size() - 1, 0);
  for (const CudnnDocuments& group : calls.documents) {
    std::int64_t rank = 0;
    for (std::size_t d = 0; d + 1 < starts.size(); ++d) {
      const std::int64_t length = starts[d + 1] - starts[d];
      if (length <= group.above || length > group.longest) continue;
      if (rank >= group.first && rank < group.first + group.count) ++used[d];
      ++rank;
    }
  }
  return used;
}

TEST_CASE("every document with a token is in one cuDNN call, and no call needs more scratch than planned") {
  const std::vector<CudnnHeads> shapes = {{32, 32, 128}, {32, 8, 128}, {12, 12, 64}, {1, 1, 8}, {64, 8, 128}};
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const CounterRng rng(seed, 3);
    std::vector<std::int32_t> starts = {0};
    const std::int64_t count = 1 + rng.below(0, 90);
    for (std::int64_t d = 1; d <= count; ++d) {
      const double length = std::exp(1.0 + 7.3 * rng.uniform(static_cast<std::uint64_t>(d))) - 2.0;
      starts.push_back(starts.back() + std::max(0, static_cast<std::int32_t>(length)));
    }
    const std::int64_t tokens = starts.back() + 100;
    for (const CudnnHeads& heads : shapes) {
      const CudnnCalls backward = cuda::cudnn_backward_calls(starts, tokens, heads);
      const CudnnCalls forward = cuda::cudnn_forward_calls(starts, heads);
      REQUIRE(backward.kv_heads > 0);
      CHECK(heads.kv % backward.kv_heads == 0);
      std::int64_t entries = 0;
      for (const CudnnDocuments& group : backward.documents) {
        CHECK(group.count <= group.slots);
        entries += group.slots + 1;
        CHECK(cuda::cudnn_backward_scratch(group.slots, group.longest, heads.query / heads.kv * backward.kv_heads,
                                           backward.kv_heads, heads.dim) <= cuda::cudnn_backward_limit(tokens, heads));
      }
      CHECK(entries <= cuda::cudnn_slot_limit(tokens));
      const auto in_backward = uses(starts, backward);
      const auto in_forward = uses(starts, forward);
      for (std::size_t d = 0; d + 1 < starts.size(); ++d) {
        const int expected = starts[d + 1] > starts[d] ? 1 : 0;
        CHECK(in_backward[d] == expected);
        CHECK(in_forward[d] == expected);
      }
    }
  }
}

TEST_CASE("cuDNN's scratch is bounded whatever the documents, and splits the heads of a long one") {
  const CudnnHeads heads{32, 32, 128};
  CHECK(cuda::cudnn_backward_limit(1 << 20, heads) == cuda::kCudnnScratch);
  CHECK(cuda::cudnn_backward_limit(256, heads) < cuda::kCudnnScratch);
  const std::vector<std::int32_t> one = {0, 8192};
  CHECK(cuda::cudnn_backward_calls(one, 8192, heads).kv_heads < 32);
  const std::vector<std::int32_t> endless = {0, 200000};
  CHECK(cuda::cudnn_backward_calls(endless, 200000, heads).kv_heads == 0);
}

CUDNN_TEST_CASE("cuDNN attention is as exact as its roundings allow, for every kind of document and group size") {
  const std::vector<AttentionHeads> shapes = {{2, 2, 64}, {4, 1, 64}, {2, 2, 128}, {4, 2, 128}};
  const std::vector<DocumentSet> sets = {
      {{1}, 0}, {{1, 1, 1, 1, 5}, 3}, {{127, 128, 129, 1}, 31}, {{3, 0, 300, 64, 1, 1, 190}, 200}, {{777, 20}, 0}};
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    for (const AttentionHeads& shape : shapes) {
      for (const DocumentSet& set : sets) check_attention(cudnn(), shape, set, dtype);
    }
  }
}

CUDNN_TEST_CASE("cuDNN attention of documents from short to long, in several calls, is as exact") {
  const DocumentSet set({40, 2100, 3, 515, 1100, 200, 1}, 61);
  for (const AttentionHeads& shape : std::vector<AttentionHeads>{{4, 2, 64}, {2, 2, 128}}) {
    check_attention(cudnn(), shape, set, DType::kF16);
  }
}

CUDNN_TEST_CASE("cuDNN attention takes other widths of head when it is asked for by name") {
  const DocumentSet set({90, 61}, 105);
  for (const std::int64_t dim : {32, 80, 96}) check_attention(cudnn(), {2, 1, dim}, set, DType::kF16);
}

CUDNN_TEST_CASE("five cuDNN runs give the same bits") {
  const DocumentSet set({300, 17, 512, 200, 1025, 64, 64, 64}, 10);
  for (const AttentionHeads& shape : std::vector<AttentionHeads>{{8, 8, 128}, {8, 2, 64}}) {
    const AttentionTensors fresh(shape, set.tokens(), DType::kF16);
    AttentionTensors first = fresh;
    run_attention(cudnn(), shape, set, first);
    for (int i = 0; i < 4; ++i) {
      AttentionTensors again = fresh;
      run_attention(cudnn(), shape, set, again);
      CHECK(first.same_results(again));
    }
  }
}

CUDNN_TEST_CASE("cuDNN attention reads nothing of padding tokens and leaves zeros there") {
  const DocumentSet set({90, 61}, 105);
  const AttentionHeads shape{2, 1, 64};
  AttentionTensors clean(shape, set.tokens(), DType::kF16);
  AttentionTensors poisoned = clean;
  poison_rows(poisoned.qkv, shape.qkv_width(), set.attended);
  poison_rows(poisoned.grad_output, shape.output_width(), set.attended);
  run_attention(cudnn(), shape, set, clean);
  run_attention(cudnn(), shape, set, poisoned);
  CHECK(clean.same_results(poisoned));
  for (std::int64_t i = set.attended * shape.qkv_width(); i < clean.grad_qkv.numel(); ++i) {
    REQUIRE(clean.grad_qkv[i] == 0.0);
  }
  for (std::int64_t i = set.attended * shape.output_width(); i < clean.output.numel(); ++i) {
    REQUIRE(clean.output[i] == 0.0);
  }
}

CUDNN_TEST_CASE("a document whose heads cuDNN takes in parts agrees with flash attention") {
  Gpu& gpu = Gpu::get();
  const DocumentSet set({4200}, 24);
  const AttentionHeads shape{16, 16, 64};
  REQUIRE(cuda::cudnn_backward_calls(set.cu, set.tokens(), {shape.query, shape.kv, shape.dim}).kv_heads < 16);
  constexpr std::int64_t kWorkspaceBytes = std::int64_t{1200} << 20U;
  const View workspace(gpu.device->allocate(kWorkspaceBytes), kWorkspaceBytes, DType::kU8);
  AttentionTensors flash(shape, set.tokens(), DType::kF16);
  AttentionTensors library = flash;
  run_attention(*gpu.flash_ops, shape, set, flash);
  cudnn().set_workspace(workspace);
  run_attention(cudnn(), shape, set, library);
  cudnn().set_workspace(gpu.workspace);
  gpu.device->deallocate(workspace.raw(), workspace.bytes());
  const double u = unit_roundoff(DType::kF16);
  CHECK(relative_error(library.output, flash.output) <= 2.0 * 2.25 * u);
  CHECK(relative_error(library.grad_qkv, flash.grad_qkv) <= 2.0 * 2.25 * u);
  CHECK(relative_error(library.log_sum_exp, flash.log_sum_exp) <= 64.0 * kU32);
}

CUDNN_TEST_CASE("attention: cudnn says what it does not take") {
  const Gpu& gpu = Gpu::get();
  const AttentionHeads shape{2, 2, 64};
  AttentionTensors t(shape, 8, DType::kF32);
  const DocumentSet set({8}, 0);
  try {
    run_attention(*gpu.cudnn_ops, shape, set, t);
    FAIL("fp32 was taken");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("attention: cudnn takes fp16 and bf16") != std::string::npos);
  }
}

}  // namespace
}  // namespace llama_zero::test
