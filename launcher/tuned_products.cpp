#include "launcher/tuned_products.h"

#include "core/files.h"
#include "core/log.h"

#ifdef LLAMA_ZERO_WITH_CUDA
#include "kernels/cuda/tune.h"
#endif

namespace llama_zero {

#ifdef LLAMA_ZERO_WITH_CUDA

namespace {

void write_text(const fs::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

/// The file's text, or that of a table made now and written there.
std::string read_or_tune(const fs::path& path, const TrainSetup& setup, Runtime& runtime) {
  if (fs::exists(path)) return std::string(MappedFile(path).text());
  const auto sizing = make_cuda_sizing_ops();
  (void)plan_with(*sizing, setup, runtime);
  const TuneTable table = tune(runtime.device(), *sizing);
  write_text(path, table.text());
  log::info("{:<10}{} products timed, kept in {}", "tune", table.gemm_algorithms.size(), path.string());
  return table.text();
}

}  // namespace

void use_tuned_products(const TrainSetup& setup, Runtime& runtime, const RunFolder& folder) {
  const std::string& path = setup.config.run.tune;
  if (path.empty() || runtime.device().type() != DeviceType::kCuda) return;
  std::string text;
  runtime.group().on_root([&] { text = read_or_tune(path, setup, runtime); });
  text = runtime.group().from_root(text);
  runtime.group().together([&] {
    const TuneTable table = TuneTable::parse(text, path);
    table.check_made_for(runtime.device(), path);
    use_gemm_algorithms(runtime.ops(), table.gemm_algorithms);
  });
  runtime.group().on_root([&] { write_text(folder.path() / "tune.json", text); });
}

#else

void use_tuned_products(const TrainSetup&, Runtime&, const RunFolder&) {}

#endif

}  // namespace llama_zero
