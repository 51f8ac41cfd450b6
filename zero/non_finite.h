// The message that ends a run whose gradients stay not finite. Finding the tensor is slow and rare: the gradient is read
// on the host.
#pragma once

#include <string>

#include "kernels/step_state.h"
#include "model/param_table.h"
#include "zero/gradient_store.h"
#include "zero/scalar_exchange.h"

namespace llama_zero {

/// Collective: name of the first parameter, in layout order, whose averaged gradient has an element that is not finite;
/// empty when all are finite. Every rank gets the same answer.
std::string first_non_finite(const RankContext& context, const ParamTable& table, GradientStore& gradients,
                             ScalarExchange& exchange, Stream& stream);

/// Why a stopped state (kernels/step_state.h) stopped, and what to do. `tensor`: what first_non_finite found.
std::string stop_message(const StepState& state, const LossScalerConfig& scaler, const std::string& tensor);

}  // namespace llama_zero
