// Which optimizer trains, and what it keeps of each element.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace llama_zero {

enum class OptimizerKind {
  kAdamW,  ///< decoupled weight decay
  kAdam,   ///< weight decay added to the gradient
  kLion,
  kAdagrad,
  kSgd,
};

/// Everything of an update that is the same at every step; what may change (learning rate, betas, bias corrections,
/// Adagrad's divisor) stands in the schedule table. The formulas stand in kernels/*_update.h.
struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double eps = 1e-8;                         ///< Adam, Adagrad
  double weight_decay = 0.0;                 ///< all
  bool exempt_norms_and_embeddings = false;  ///< true: weight decay only where Param::weight_decay says so
  double momentum = 0.0, dampening = 0.0;    ///< SGD
  bool nesterov = false;                     ///< SGD
  double initial_accumulator_value = 0.0;    ///< Adagrad
};

/// Names of the fp32 states beside the master, as PyTorch's state dicts have them: what is allocated and saved.
inline std::vector<std::string_view> state_names(const OptimizerOptions& options) {
  switch (options.kind) {
    case OptimizerKind::kAdamW:
    case OptimizerKind::kAdam:
      return {"exp_avg", "exp_avg_sq"};
    case OptimizerKind::kLion:
      return {"exp_avg"};
    case OptimizerKind::kAdagrad:
      return {"sum"};
    case OptimizerKind::kSgd:
      break;
  }
  if (options.momentum == 0.0) return {};
  return {"momentum_buffer"};
}

/// Elements [begin, end) of an unpadded unit that decay alike.
struct DecayRange {
  std::int64_t begin = 0, end = 0;
  bool decays = true;
};

}  // namespace llama_zero
