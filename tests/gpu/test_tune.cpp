// The tune table: its text, who may use it, and what tuning finds; and how sums into 16 bits are rounded.
#include <array>
#include <functional>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/tune.h"
#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("a tune table survives its text, word for word") {
  TuneTable table{"GPU", "cuBLASLt 13.0.0, no cuDNN", "flash", {}};
  table.gemm_algorithms["tn 8x8x8 fp16->fp16 beta0 align256"] = {1, 2, 0xffffffffffffffffULL, 4, 5, 6, 7, 0};
  const TuneTable again = TuneTable::parse(table.text(), "table.json");
  CHECK(again.gpu == table.gpu);
  CHECK(again.libraries == table.libraries);
  CHECK(again.attention == table.attention);
  CHECK(again.gemm_algorithms == table.gemm_algorithms);
  CHECK(again.text() == table.text());
}

TEST_CASE("a file that is no tune table is refused in one line that names it") {
  const TuneTable table{"GPU", "libraries", "flash", {{"key", {}}}};
  std::string short_word = table.text();
  short_word.replace(short_word.find("0000000000000000"), 16, "00000000");
  std::string other_format = table.text();
  other_format.replace(other_format.find("table 1"), 7, "table 9");
  for (const std::string& text : {std::string(), std::string("[]"), std::string("{}"), std::string("{\"format\": 3}"),
                                  std::string("\x00\xff{", 3), table.text().substr(0, 60), short_word, other_format}) {
    CAPTURE(text);
    const std::string message = message_of([&] { TuneTable::parse(text, "table.json"); });
    CHECK(message.rfind("table.json: not a tune table", 0) == 0);
    CHECK(message.find('\n') == std::string::npos);
  }
}

GPU_TEST_CASE("a tune table of another GPU or library is refused by name") {
  const Gpu& gpu = Gpu::get();
  const auto sizing = make_cuda_sizing_ops();
  TuneTable table = tune(*Gpu::get().device, *sizing);
  table.check_made_for(*gpu.device, "table.json");
  table.gpu = "NVIDIA A0";
  CHECK(message_of([&] { table.check_made_for(*gpu.device, "table.json"); }).find("made on NVIDIA A0") !=
        std::string::npos);
}

GPU_TEST_CASE("tuning finds an algorithm for every product of a plan, and it computes the same product") {
  Gpu& gpu = Gpu::get();
  Case c;
  Pair& input = c.random(DType::kF16, 96 * 512);
  Pair& weight = c.random(DType::kF16, 256 * 512, 0.1);
  Pair& output = c.output(DType::kF16, 96 * 256);
  const auto args = [&](auto side) { return LinearForward{96, 512, 256, side(input), side(weight), side(output)}; };
  const auto on_gpu = [](Pair& pair) { return pair.buffer->view(); };
  const auto sizing = make_cuda_sizing_ops();
  (void)sizing->workspace_bytes(args(on_gpu));
  const TuneTable table = tune(*gpu.device, *sizing);
  REQUIRE(table.gemm_algorithms.size() == 1);
  const auto tuned = make_cuda_ops(*gpu.device, {.attention = {}, .gemm_algorithms = table.gemm_algorithms});
  tuned->set_workspace(gpu.workspace);
  c.run([&](auto side, Ops& ops, Stream& s) { ops.linear_forward(args(side), s); }, tuned.get());
  output.check_close("output", 0.0, sum_bound(512, 512 * 0.1));
  CHECK(gemm_algorithms(*tuned) == table.gemm_algorithms);
}

/// C, all `old`, after a product of 1 + tiny was added, which rounded to 16 bits by itself would be 1.
Tensor sums(cuda::Gemm& gemm, const cuda::GemmProduct& product, double old, double tiny) {
  Gpu& gpu = Gpu::get();
  Tensor a(product.input, product.m * product.k);
  Tensor b(product.input, product.n * product.k);
  Tensor c = Tensor::of(product.output, std::vector<double>(static_cast<std::size_t>(product.m * product.n), old));
  const auto place = [](bool rows_of_k, std::int64_t i, std::int64_t k, std::int64_t rows, std::int64_t depth) {
    return rows_of_k ? i * depth + k : k * rows + i;
  };
  for (std::int64_t k = 0; k < product.k; ++k) {
    const double x = k == 0 ? 1.0 : k == 1 ? tiny : 0.0;
    for (std::int64_t i = 0; i < product.m; ++i) a.set(place(product.transpose_a, i, k, product.m, product.k), x);
    for (std::int64_t j = 0; j < product.n; ++j) b.set(place(!product.transpose_b, j, k, product.n, product.k), 1.0);
  }
  std::vector<std::unique_ptr<GpuBuffer>> buffers;
  for (Tensor* t : {&a, &b, &c}) {
    buffers.push_back(std::make_unique<GpuBuffer>(t->dtype(), t->numel(), 0));
    buffers.back()->upload(t->view());
  }
  const cuda::GemmMatrices matrices{buffers[0]->view().raw(), buffers[1]->view().raw(), buffers[2]->view().raw()};
  gemm.run({"test", product, matrices},
           {.stream = static_cast<cudaStream_t>(gpu.stream->handle()), .workspace = gpu.workspace});
  buffers[2]->download(c.view());
  return c;
}

GPU_TEST_CASE("adding a product rounds once into fp32, and at most twice into 16 bits, by any algorithm") {
  cuda::Gemm library({});
  for (const DType input : {DType::kF16, DType::kBF16}) {
    for (const DType output : {input, DType::kF32}) {
      for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{
               {64, 64, 64}, {512, 256, 2048}, {768, 768, 512}, {256, 1024, 256}}) {
        const cuda::GemmProduct product{.transpose_a = false,
                                        .transpose_b = true,
                                        .m = m,
                                        .n = n,
                                        .k = k,
                                        .lda = m,
                                        .ldb = n,
                                        .input = input,
                                        .output = output,
                                        .accumulate = true,
                                        .alignment = 256};
        const bool half = input == DType::kF16;
        const double old = half ? 2048.0 : 256.0;              // where 16-bit neighbours are 2 apart: old + 1 is a tie
        const double tiny = std::ldexp(1.0, half ? -12 : -9);  // lost beside 1 in 16 bits
        int index = 0;
        for (const auto& candidate : library.candidates(product, 8)) {
          cuda::Gemm gemm({{product.key(), candidate}});
          const std::string observed = fmt::format("{} candidate {}", product.key(), index++);
          INFO(observed);
          std::int64_t wrong = 0;
          for (const double sum : sums(gemm, product, old, tiny).values()) {
            const bool once = sum == (output == DType::kF32 ? old + 1.0 + tiny : old + 2.0);
            wrong += once || (output != DType::kF32 && sum == old) ? 0 : 1;
          }
          CHECK(wrong == 0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace llama_zero::test
