// Flash attention in 16 bits against fp64 on the CPU, on the same rounded numbers: tile edges, groups, widths,
// documents.
#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

struct FlashShape {
  std::int64_t query_heads, kv_heads, head_dim;
  std::int64_t qkv_width() const { return (query_heads + 2 * kv_heads) * head_dim; }
  std::int64_t output_width() const { return query_heads * head_dim; }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(head_dim)); }
};

std::vector<std::int32_t> many_short_documents() {
  std::vector<std::int32_t> lengths;
  for (std::int32_t i = 0; i < 160; ++i) lengths.push_back(1 + i * 7 % 5);
  return lengths;
}

/// ||actual - expected|| / ||expected||; NaN where either is.
double relative_error(const Tensor& actual, const Tensor& expected) {
  double difference = 0.0;
  double magnitude = 0.0;
  for (std::int64_t i = 0; i < expected.numel(); ++i) {
    difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    magnitude += expected[i] * expected[i];
  }
  return magnitude == 0.0 ? std::sqrt(difference) : std::sqrt(difference / magnitude);
}

void poison_rows(Tensor& tensor, std::int64_t width, std::int64_t first_row) {
  for (std::int64_t i = first_row * width; i < tensor.numel(); ++i) tensor.set(i, std::nan(""));
}

/// The tensors of one forward and backward; outputs start as NaN.
struct FlashTensors {
  Tensor qkv, grad_output, output, log_sum_exp, grad_qkv;

  FlashTensors(const FlashShape& shape, std::int64_t tokens, DType dtype)
      : qkv(Tensor::random(dtype, tokens * shape.qkv_width(), 11)),
        grad_output(Tensor::random(dtype, tokens * shape.output_width(), 12)),
        output(dtype, tokens * shape.output_width()),
        log_sum_exp(stat_dtype(dtype), tokens * shape.query_heads),
        grad_qkv(dtype, tokens * shape.qkv_width()) {}
};

void run_on_gpu(const FlashShape& shape, const DocumentSet& set, FlashTensors& t) {
  Gpu& gpu = Gpu::get();
  const std::int64_t tokens = set.tokens();
  Tensor cu = Tensor::ints(set.cu);
  std::vector<Tensor*> host = {&t.qkv, &t.grad_output, &t.output, &t.log_sum_exp, &t.grad_qkv, &cu};
  std::vector<std::unique_ptr<GpuBuffer>> buffers;
  for (Tensor* tensor : host) {
    buffers.push_back(std::make_unique<GpuBuffer>(tensor->dtype(), tensor->numel(), 0));
    buffers.back()->upload(tensor->view());
  }
  const auto view = [&](std::size_t i) { return buffers[i]->view(); };
  gpu.device->fill_bytes(gpu.workspace, 0xff, *gpu.stream);
  const Documents documents{view(5), set.cu, set.longest, set.attended};
  gpu.ops->attention_forward(
      {tokens, shape.query_heads, shape.kv_heads, shape.head_dim, shape.scale(), view(0), documents, view(2), view(3)},
      *gpu.stream);
  gpu.ops->attention_backward({tokens, shape.query_heads, shape.kv_heads, shape.head_dim, shape.scale(), view(1),
                               view(0), view(2), view(3), documents, view(4)},
                              *gpu.stream);
  gpu.stream->synchronize();
  for (std::size_t i = 0; i < host.size(); ++i) {
    buffers[i]->check_guards();
    buffers[i]->download(host[i]->view());
  }
}

/// fp64 throughout, but the backward takes the GPU's output, whose rounding is the forward's error, not the backward's.
FlashTensors reference(const FlashShape& shape, const DocumentSet& set, const FlashTensors& gpu) {
  const std::int64_t tokens = set.tokens();
  FlashTensors t(shape, tokens, DType::kF64);
  t.qkv = gpu.qkv.as(DType::kF64);
  t.grad_output = gpu.grad_output.as(DType::kF64);
  Cpu cpu(2);
  cpu.run(AttentionForward{tokens, shape.query_heads, shape.kv_heads, shape.head_dim, shape.scale(), t.qkv,
                           set.documents(), t.output, t.log_sum_exp});
  const Tensor output = gpu.output.as(DType::kF64);
  cpu.run(AttentionBackward{tokens, shape.query_heads, shape.kv_heads, shape.head_dim, shape.scale(), t.grad_output,
                            t.qkv, output, t.log_sum_exp, set.documents(), t.grad_qkv});
  return t;
}

/// Roundings to storage, each with an error of at most u relative to its number and u / sqrt(3) on average. Forward:
/// probabilities and output. Backward: probabilities or their gradients, and the result. Twice the averages, which is
/// below u for each; fp32 sums and statistics add far less, a quarter of u stands for them.
void check_flash(const FlashShape& shape, const DocumentSet& set, DType dtype) {
  const std::string what = fmt::format("{} {}/{} heads of {}, {} tokens of {}", name_of(dtype), shape.query_heads,
                                       shape.kv_heads, shape.head_dim, set.attended, set.tokens());
  FlashTensors gpu(shape, set.tokens(), dtype);
  FlashTensors again = gpu;
  run_on_gpu(shape, set, gpu);
  run_on_gpu(shape, set, again);
  const FlashTensors expected = reference(shape, set, gpu);
  const double output_error = relative_error(gpu.output, expected.output);
  const double grad_error = relative_error(gpu.grad_qkv, expected.grad_qkv);
  const double u = unit_roundoff(dtype);
  const std::string observed = fmt::format("{}: errors in units of rounding: output {:.3f}, gradients {:.3f}", what,
                                           output_error / u, grad_error / u);
  INFO(observed);
  CHECK(output_error <= 2.25 * u);
  CHECK(grad_error <= 2.25 * u);
  CHECK(relative_error(gpu.log_sum_exp, expected.log_sum_exp) <= 32.0 * kU32);
  CHECK_MESSAGE((gpu.output == again.output && gpu.log_sum_exp == again.log_sum_exp && gpu.grad_qkv == again.grad_qkv),
                "two runs gave different bits");
}

GPU_TEST_CASE("flash attention is as exact as its roundings allow, at every width, group size and kind of document") {
  const std::vector<FlashShape> shapes = {{2, 2, 8},   {2, 1, 24},  {8, 1, 64},  {2, 2, 72}, {2, 1, 96},
                                          {8, 1, 128}, {4, 2, 128}, {2, 2, 160}, {2, 1, 256}};
  const std::vector<DocumentSet> sets = {
      {{1}, 0}, {{127, 128, 129, 1}, 31}, {many_short_documents(), 7}, {{777}, 0}, {{3, 0, 300, 64, 1, 1, 190}, 200}};
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    for (const FlashShape& shape : shapes) {
      for (const DocumentSet& set : sets) check_flash(shape, set, dtype);
    }
  }
}

GPU_TEST_CASE("flash attention of long documents, which get other tiles, is as exact") {
  const std::vector<DocumentSet> sets = {{{2500, 60}, 0}, {{1, 130, 1025, 64, 3, 700}, 61}};
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    for (const FlashShape& shape : std::vector<FlashShape>{{4, 1, 40}, {2, 2, 64}, {4, 2, 112}, {2, 1, 128}}) {
      for (const DocumentSet& set : sets) check_flash(shape, set, dtype);
    }
  }
}

GPU_TEST_CASE("flash attention reads nothing of padding tokens") {
  const std::vector<FlashShape> shapes = {{2, 1, 64}, {2, 2, 128}, {1, 1, 256}};
  const std::vector<DocumentSet> sets = {{{90, 61}, 105}, {{1030, 61}, 105}};
  for (std::size_t which = 0; which < shapes.size() * sets.size(); ++which) {
    const FlashShape& shape = shapes[which / sets.size()];
    const DocumentSet& set = sets[which % sets.size()];
    FlashTensors clean(shape, set.tokens(), DType::kF16);
    FlashTensors poisoned = clean;
    poison_rows(poisoned.qkv, shape.qkv_width(), set.attended);
    poison_rows(poisoned.grad_output, shape.output_width(), set.attended);
    run_on_gpu(shape, set, clean);
    run_on_gpu(shape, set, poisoned);
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
  const FlashShape shape{2, 2, 128};
  FlashTensors t(shape, set.tokens(), DType::kF16);
  t.qkv.set(130 * shape.qkv_width() + 5, std::nan(""));
  run_on_gpu(shape, set, t);
  CHECK(std::isnan(t.output[130 * shape.output_width()]));
  CHECK(std::isnan(t.grad_qkv[130 * shape.qkv_width()]));
  CHECK(!std::isnan(t.output[129 * shape.output_width()]));
}

}  // namespace
}  // namespace llama_zero::test
