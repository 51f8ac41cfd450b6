#include "tests/gpu/attention_case.h"

namespace llama_zero::test {

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

AttentionTensors::AttentionTensors(const AttentionHeads& heads, std::int64_t tokens, DType dtype)
    : qkv(Tensor::random(dtype, tokens * heads.qkv_width(), 11)),
      grad_output(Tensor::random(dtype, tokens * heads.output_width(), 12)),
      output(dtype, tokens * heads.output_width()),
      log_sum_exp(stat_dtype(dtype), tokens * heads.query),
      grad_qkv(dtype, tokens * heads.qkv_width()) {}

void run_attention(Ops& ops, const AttentionHeads& heads, const DocumentSet& set, AttentionTensors& t) {
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
  ops.attention_forward({tokens, heads.query, heads.kv, heads.dim, heads.scale(), view(0), documents, view(2), view(3)},
                        *gpu.stream);
  ops.attention_backward(
      {tokens, heads.query, heads.kv, heads.dim, heads.scale(), view(1), view(0), view(2), view(3), documents, view(4)},
      *gpu.stream);
  gpu.stream->synchronize();
  for (std::size_t i = 0; i < host.size(); ++i) {
    buffers[i]->check_guards();
    buffers[i]->download(host[i]->view());
  }
}

namespace {

/// fp64 throughout, but the backward takes the GPU's output, whose rounding is the forward's error, not the backward's.
AttentionTensors reference(const AttentionHeads& heads, const DocumentSet& set, const AttentionTensors& gpu) {
  const std::int64_t tokens = set.tokens();
  AttentionTensors t(heads, tokens, DType::kF64);
  t.qkv = gpu.qkv.as(DType::kF64);
  t.grad_output = gpu.grad_output.as(DType::kF64);
  Cpu cpu(2);
  cpu.run(AttentionForward{tokens, heads.query, heads.kv, heads.dim, heads.scale(), t.qkv, set.documents(), t.output,
                           t.log_sum_exp});
  const Tensor output = gpu.output.as(DType::kF64);
  cpu.run(AttentionBackward{tokens, heads.query, heads.kv, heads.dim, heads.scale(), t.grad_output, t.qkv, output,
                            t.log_sum_exp, set.documents(), t.grad_qkv});
  return t;
}

}  // namespace

/// Roundings to storage, each with an error of at most u relative to its number and u / sqrt(3) on average. Forward:
/// probabilities and output. Backward: probabilities or their gradients, and the result. Twice the averages, which is
/// below u for each; fp32 sums and statistics add far less, a quarter of u stands for them.
void check_attention(Ops& ops, const AttentionHeads& heads, const DocumentSet& set, DType dtype) {
  const std::string what = fmt::format("{} {}/{} heads of {}, {} tokens of {}", name_of(dtype), heads.query, heads.kv,
                                       heads.dim, set.attended, set.tokens());
  AttentionTensors gpu(heads, set.tokens(), dtype);
  AttentionTensors again = gpu;
  run_attention(ops, heads, set, gpu);
  run_attention(ops, heads, set, again);
  const AttentionTensors expected = reference(heads, set, gpu);
  const double output_error = relative_error(gpu.output, expected.output);
  const double grad_error = relative_error(gpu.grad_qkv, expected.grad_qkv);
  const double u = unit_roundoff(dtype);
  const std::string observed = fmt::format("{}: errors in units of rounding: output {:.3f}, gradients {:.3f}", what,
                                           output_error / u, grad_error / u);
  INFO(observed);
  CHECK(output_error <= 2.25 * u);
  CHECK(grad_error <= 2.25 * u);
  CHECK(relative_error(gpu.log_sum_exp, expected.log_sum_exp) <= 32.0 * kU32);
  CHECK_MESSAGE(gpu.same_results(again), "two runs gave different bits");
}

}  // namespace llama_zero::test
