// Finding the tensor behind an overflow, for the message that ends a run. Slow and rare: the gradient is read on the
// host.
#pragma once

#include <string>

#include "model/param_table.h"
#include "zero/gradient_store.h"
#include "zero/scalar_exchange.h"

namespace llama_zero {

/// Collective: name of the first parameter, in layout order, whose averaged gradient has an element that is not finite;
/// empty when all are finite. Every rank gets the same answer.
std::string first_non_finite(const RankContext& context, const ParamTable& table, GradientStore& gradients,
                             ScalarExchange& exchange, Stream& stream);

}  // namespace llama_zero
