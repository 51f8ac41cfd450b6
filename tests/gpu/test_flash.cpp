// Flash attention in 16 bits against fp64 on the CPU, on the same rounded numbers: tile edges, groups, widths,
// documents.
#include "tests/gpu/attention_case.h"

namespace llama_zero::test {
namespace {

std::vector<std::int32_t> many_short_documents() {
  std::vector<std::int32_t> lengths;
  for (std::int32_t i = 0; i < 160; ++i) lengths.push_back(1 + i * 7 % 5);
  return lengths;
}

/// Small: each pair in one dtype.
void check_combinations(const std::vector<AttentionHeads>& shapes, const std::vector<DocumentSet>& sets) {
  int which = 0;
  for (const AttentionHeads& shape : shapes) {
    for (const DocumentSet& set : sets) {
      which += 1;
      if (!small_sizes() || which % 2 == 0) check_attention(*Gpu::get().flash_ops, shape, set, DType::kF16);
      if (!small_sizes() || which % 2 == 1) check_attention(*Gpu::get().flash_ops, shape, set, DType::kBF16);
    }
  }
}

GPU_TEST_CASE("flash attention is as exact as its roundings allow, at every width, group size and kind of document") {
  const std::vector<AttentionHeads> shapes = {{2, 2, 8},   {2, 1, 24},  {8, 1, 64},  {2, 2, 72}, {2, 1, 96},
                                              {8, 1, 128}, {4, 2, 128}, {2, 2, 160}, {2, 1, 256}};
  const std::vector<DocumentSet> all = {
      {{1}, 0}, {{127, 128, 129, 1}, 31}, {many_short_documents(), 7}, {{777}, 0}, {{3, 0, 300, 64, 1, 1, 190}, 200}};
  const std::vector<DocumentSet> small = {{{1}, 0}, {{129}, 3}, {{3, 0, 70, 1}, 55}};
  check_combinations(shapes, small_sizes() ? small : all);
}

GPU_TEST_CASE("flash attention of long documents, which get other tiles, is as exact") {
  const std::vector<AttentionHeads> shapes = {{4, 1, 40}, {2, 2, 64}, {4, 2, 112}, {2, 1, 128}};
  const std::vector<AttentionHeads> few_heads = {{1, 1, 40}, {1, 1, 64}, {1, 1, 112}, {1, 1, 128}};
  const std::vector<DocumentSet> all = {{{2500, 60}, 0}, {{1, 130, 1025, 64, 3, 700}, 61}};
  const std::vector<DocumentSet> small = {{{1030, 20}, 5}};
  check_combinations(small_sizes() ? few_heads : shapes, small_sizes() ? small : all);
}

GPU_TEST_CASE("flash attention reads nothing of padding tokens") {
  const std::vector<AttentionHeads> shapes = {{2, 1, 64}, {2, 2, 128}, {1, 1, 256}};
  const std::vector<DocumentSet> sets = {{{90, 61}, 105}, {{1030, 61}, 105}};
  for (std::size_t which = 0; which < shapes.size() * sets.size(); ++which) {
    const AttentionHeads& shape = shapes[which / sets.size()];
    const DocumentSet& set = sets[which % sets.size()];
    AttentionTensors clean(shape, set.tokens(), DType::kF16);
    AttentionTensors poisoned = clean;
    poison_rows(poisoned.qkv, shape.qkv_width(), set.attended);
    poison_rows(poisoned.grad_output, shape.output_width(), set.attended);
    run_attention(*Gpu::get().flash_ops, shape, set, clean);
    run_attention(*Gpu::get().flash_ops, shape, set, poisoned);
    CHECK(clean.output == poisoned.output);
    CHECK(clean.log_sum_exp == poisoned.log_sum_exp);
    CHECK(clean.grad_qkv == poisoned.grad_qkv);
    for (std::int64_t i = set.attended * shape.qkv_width(); i < clean.grad_qkv.numel(); ++i) {
      REQUIRE(clean.grad_qkv[i] == 0.0);
    }
  }
}

GPU_TEST_CASE("flash attention carries a NaN of a document into its gradients") {
  const DocumentSet set({200}, 56);
  const AttentionHeads shape{2, 2, 128};
  AttentionTensors t(shape, set.tokens(), DType::kF16);
  t.qkv.set(130 * shape.qkv_width() + 5, std::nan(""));
  run_attention(*Gpu::get().flash_ops, shape, set, t);
  CHECK(std::isnan(t.output[130 * shape.output_width()]));
  CHECK(std::isnan(t.grad_qkv[130 * shape.qkv_width()]));
  CHECK(!std::isnan(t.output[129 * shape.output_width()]));
}

}  // namespace
}  // namespace llama_zero::test
