#include "launcher/tuned_products.h"

#include "core/files.h"
#include "core/log.h"
#include "launcher/tune_choice.h"

#ifdef LLAMA_ZERO_WITH_CUDA
#include "kernels/cuda/tune.h"
#endif

namespace llama_zero {
namespace {

/// The same on every rank.
std::string table_of(const CheckpointReader* resumed, const HostGroup& group) {
  std::string text;
  group.on_root([&] {
    if (resumed != nullptr && resumed->has_file(kTuneFile)) text = resumed->file(kTuneFile);
  });
  return group.from_root(text);
}

#ifdef LLAMA_ZERO_WITH_CUDA

void write_text(const fs::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

/// Why the GPUs of this run cannot use the checkpoint's table; the same on every rank.
std::string why_unfit(const std::string& text, Runtime& runtime) {
  std::string reason;
  try {
    TuneTable::parse(text, "it").check_made_for(runtime.device(), "it");
  } catch (const Error& error) {
    const std::string_view message = error.what();
    reason = message.substr(0, message.find("; remove it"));
  }
  if (!runtime.group().any(!reason.empty())) return "";
  if (reason.empty()) reason = "it does not fit every rank's GPU";
  return runtime.group().from_root(reason);
}

std::string make_table(const TrainSetup& setup, Runtime& runtime) {
  const auto sizing = make_cuda_sizing_ops();
  (void)plan_with(*sizing, setup, runtime);
  const TuneTable table = tune(runtime.device(), *sizing);
  log::info("{:<10}{} products timed, kept in {}", "tune", table.gemm_algorithms.size(), setup.config.run.tune);
  return table.text();
}

std::string use_on_gpu(const std::string& stored, const TrainSetup& setup, Runtime& runtime, const RunFolder& folder) {
  const HostGroup& group = runtime.group();
  const std::string& path = setup.config.run.tune;
  const std::string unfit = stored.empty() ? "" : why_unfit(stored, runtime);
  TuneChoice choice;
  group.on_root([&] {
    choice = choose_tune_table(path, stored, [&](const std::string&) { return unfit; });
    if (!choice.note.empty()) log::info("{:<10}{}", "tune", choice.note);
    if (choice.source == TuneSource::kTimed) choice.text = make_table(setup, runtime);
    if (!path.empty() && choice.source != TuneSource::kNamed) write_text(path, choice.text);
  });
  const std::string text = group.from_root(choice.text);
  if (text.empty()) return stored;
  group.together([&] {
    const std::string& source = path.empty() ? folder.path().string() : path;
    const TuneTable table = TuneTable::parse(text, source);
    table.check_made_for(runtime.device(), source);
    use_gemm_algorithms(runtime.ops(), table.gemm_algorithms);
  });
  group.on_root([&] { write_text(folder.path() / kTuneFile, text); });
  return text;
}

#endif

}  // namespace

std::string use_tuned_products(const TrainSetup& setup, Runtime& runtime, const RunFolder& folder,
                               const CheckpointReader* resumed) {
  const std::string stored = table_of(resumed, runtime.group());
#ifdef LLAMA_ZERO_WITH_CUDA
  if (runtime.device().type() == DeviceType::kCuda) return use_on_gpu(stored, setup, runtime, folder);
#else
  (void)setup, (void)folder;
#endif
  // The CPU has no use for it; where the run goes on on a GPU again, it has.
  const TuneChoice choice = choose_tune_table("", stored, [](const std::string&) { return "it is a GPU's"; });
  if (!choice.note.empty()) log::info("{:<10}{}", "tune", choice.note);
  return stored;
}

}  // namespace llama_zero
