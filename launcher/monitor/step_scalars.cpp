#include "launcher/monitor/step_scalars.h"

namespace llama_zero {

std::vector<Scalar> step_scalars(const StepReport& report, const ScalarOptions& options, double next_lr,
                                 const std::optional<StepTimes>& times) {
  std::vector<Scalar> scalars;
  const auto add = [&](const char* name, double value) {
    scalars.push_back({std::string("Train/Samples/") + name, value, report.step * options.train_batch_size});
  };
  add("lr", next_lr);
  if (options.fp16) add("loss_scale", report.next_loss_scale);
  if (times) {
    const PassTimes total = times->total();
    add("elapsed_time_ms_forward", total.forward);
    add("elapsed_time_ms_backward", total.backward);
    add("elapsed_time_ms_backward_inner", total.inner);
    add("elapsed_time_ms_backward_allreduce", total.reduction);
    add("elapsed_time_ms_step", times->boundary());
  }
  add("train_loss", report.loss);
  add("grad_norm", report.grad_norm);
  add("tokens_per_second", report.tokens_per_second);
  add("max_memory_gb", static_cast<double>(report.mem_peak_bytes) / (1024.0 * 1024.0 * 1024.0));
  return scalars;
}

}  // namespace llama_zero
