#include "launcher/deviations.h"

#include <algorithm>

namespace llama_zero {
namespace {

bool mentions(const TrainConfig& config, std::string_view section) {
  return std::ranges::any_of(config.origins, [&](const ConfigOrigin& line) { return line.key.starts_with(section); });
}

}  // namespace

std::vector<std::string> deviations(const TrainConfig& config, int ranks) {
  const bool fp16 = config.dtype == DType::kF16;
  const bool sixteen_bits = fp16 || config.dtype == DType::kBF16;
  const bool several = config.batch.micro_batch_size * config.batch.accumulation_steps * ranks > 1;
  std::vector<std::string> list;
  if (several && !config.run.mean_of_micro_batches) {
    list.emplace_back("every loss token of a batch weighs the same (loss_average micro_batch: as there)");
  }
  if (fp16 && config.scaler.dynamic) list.emplace_back("the update after which the loss scale doubles keeps its size");
  if (fp16 && config.zero.stage == 0) list.emplace_back("stage 0 follows the loss scaler of stages 1 to 3");
  if (sixteen_bits && config.zero.stage == 0) list.emplace_back("stage 0 takes no dummy step before the first");
  const bool checked_there = sixteen_bits && config.zero.stage < 3;
  if (!fp16 && config.scaler.check_overflow && !checked_there) {
    list.emplace_back("a step whose gradients are not finite is skipped");
  }
  if (sixteen_bits && config.grad_accum_dtype == DType::kF32) {
    list.emplace_back("fp32 gradients are summed in fp32 at every stage");
  }
  if (config.optimizer.kind == OptimizerKind::kLion) {
    list.emplace_back("Lion leaves a weight alone whose momentum and gradient are zero");
  }
  if (ranks > 1) list.emplace_back("sums over ranks are rounded once, in rank order");
  if (mentions(config, "comms_logger.")) list.emplace_back("comms_logger.enabled false switches it off");
  return list;
}

}  // namespace llama_zero
