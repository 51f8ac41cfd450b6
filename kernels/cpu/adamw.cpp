// AdamW over a flat range, block by block.
#include <cstring>

#include "kernels/adamw_update.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"

namespace llama_zero::cpu {

namespace {

template <typename T>
AdamWConstants<T> constants(const AdamW& args, const StepState& state) {
  return {.beta1 = static_cast<T>(args.beta1),
          .beta2 = static_cast<T>(args.beta2),
          .one_minus_beta1 = static_cast<T>(1.0 - args.beta1),
          .one_minus_beta2 = static_cast<T>(1.0 - args.beta2),
          .eps = static_cast<T>(args.eps),
          .weight_decay = static_cast<T>(args.weight_decay),
          .lr = static_cast<T>(state.lr),
          .bias_correction1 = static_cast<T>(state.bias_correction1),
          .bias_correction2_sqrt = static_cast<T>(state.bias_correction2_sqrt)};
}

template <typename C>
void update_block(const AdamW& args, const AdamWConstants<C>& c, C multiplier, std::int64_t offset,
                  std::int64_t count) {
  C buffer[kBlock];
  const C* gradient = read(args.gradient, offset, count, buffer);
  C* theta = args.master.as<C>() + offset;
  C* m = args.exp_avg.as<C>() + offset;
  C* v = args.exp_avg_sq.as<C>() + offset;
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) adamw_update(c, gradient[i] * multiplier, m[i], v[i], theta[i]);
  if (args.weights) store(args.weights, offset, count, theta);
}

}  // namespace

void run(const AdamW& args, const Context& context) {
  StepState state;
  std::memcpy(&state, args.state.raw(), sizeof(state));
  if (state.skip != 0) return;
  with_compute_type(args.master.dtype(), [&]<typename C>(C) {
    const AdamWConstants<C> c = constants<C>(args, state);
    const C multiplier = static_cast<C>(state.grad_multiplier);
    parallel_blocks(context, args.master.numel(),
                    [&](std::int64_t offset, std::int64_t count) { update_block(args, c, multiplier, offset, count); });
  });
}

}  // namespace llama_zero::cpu
