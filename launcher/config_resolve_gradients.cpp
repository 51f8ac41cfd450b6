// How gradients are averaged over ranks, in which dtype they travel, and where they are clipped.
//
// DeepSpeed divides before its all-reduce (prescale_gradients), around it (gradient_predivide_factor) or after it.
// Where stages 1 to 3 reduce slices to their owners (reduce_scatter), it always divides before: the two keys are then
// an error in stages 2 and 3 and unused in stage 1.
#include <fmt/format.h>

#include "core/error.h"
#include "launcher/config_resolve.h"

namespace llama_zero {
namespace {

constexpr std::string_view kOp = "gradient_allreduce_op";
constexpr std::string_view kPrescale = "prescale_gradients";
constexpr std::string_view kPredivide = "gradient_predivide_factor";
constexpr std::string_view kReduceScatter = "zero_optimization.reduce_scatter";

void warn_unused(const ConfigValues& values, std::string_view key, std::string_view why, TrainConfig& config) {
  config.warnings.push_back(fmt::format("{}: {} has no effect: {}", values.where(key), key, why));
}

/// Whether a key that moves the division may act; asked only where it is set to something else than its default.
bool may_act(const ConfigValues& values, std::string_view key, TrainConfig& config) {
  if (!config.averaging.mean) {
    warn_unused(values, key, "gradient_allreduce_op \"sum\" divides by nothing", config);
    return false;
  }
  if (config.zero.stage == 0 || !values.flag(kReduceScatter)) return true;
  require(config.zero.stage < 2, "{}: {} needs zero_optimization.reduce_scatter false in stage {}", values.where(key),
          key, config.zero.stage);
  warn_unused(values, key, "stage 1 with zero_optimization.reduce_scatter divides once, in DeepSpeed too", config);
  return false;
}

void resolve_averaging(const ConfigValues& values, TrainConfig& config) {
  GradientAveraging& averaging = config.averaging;
  averaging.mean = values.text(kOp) != "sum";
  require(averaging.mean || config.zero.stage < 3, "{}: gradient_allreduce_op \"sum\" does not go with stage 3",
          values.where(kOp));
  averaging.round_sum = config.zero.stage > 0 && !values.flag(kReduceScatter);
  const double predivide = values.number(kPredivide);
  const bool prescale = values.flag(kPrescale);
  if (prescale && may_act(values, kPrescale, config)) averaging.predivide.reset();
  if (predivide == 1.0 || !may_act(values, kPredivide, config)) return;
  if (averaging.predivide) {
    averaging.predivide = predivide;
  } else {
    warn_unused(values, kPredivide, "prescale_gradients divides before the sum already", config);
  }
}

}  // namespace

void resolve_gradients(ConfigValues& values, TrainConfig& config) {
  const std::string wire = values.text("communication_data_type");
  if (!wire.empty()) config.averaging.wire = dtype_of(wire);
  resolve_averaging(values, config);
  constexpr std::string_view kClipping = "gradient_clipping";
  if (values.is_auto(kClipping)) values.fill(kClipping, 1.0, "auto: Hugging Face's max_grad_norm");
  config.gradient_clipping = values.number(kClipping);
}

}  // namespace llama_zero
