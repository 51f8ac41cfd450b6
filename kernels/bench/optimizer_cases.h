// The benchmark cases of the optimizers' updates, for the table of ops.
#pragma once

#include "kernels/bench/case.h"

namespace llama_zero::bench {

/// Masters and states in fp32, gradients in and weights out in the case's storage type. E: the elements.
Case adamw_case(CaseBuilder& builder, const Shape& shape);
Case lion_case(CaseBuilder& builder, const Shape& shape);
Case adagrad_case(CaseBuilder& builder, const Shape& shape);
Case sgd_case(CaseBuilder& builder, const Shape& shape);
Case sgd_momentum_case(CaseBuilder& builder, const Shape& shape);  ///< Nesterov's

}  // namespace llama_zero::bench
