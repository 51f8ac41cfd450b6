// The boundary of a step and AdamW. Built with -fmad=false: bit-identical to the CPU.
#include <algorithm>
#include <cmath>

#include "kernels/adamw_update.h"
#include "kernels/cuda/flat.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

__global__ void advance_step_kernel(const double* per_rank, int ranks, StepState* state, LossScalerConfig scaler,
                                    double clip, const ScheduleRow* schedule, std::int64_t rows) {
  double squares = 0.0;
  double not_finite = 0.0;
  for (int rank = 0; rank < ranks; ++rank) {
    squares += per_rank[2 * rank];
    not_finite += per_rank[2 * rank + 1];
  }
  StepState next = *state;
  advance_step_state(next, scaler, sqrt(squares), not_finite > 0.0, clip, schedule, rows);
  *state = next;
}

/// The constants that do not come from the step state.
struct Hyperparameters {
  float beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay;
};

/// W = void: no 16-bit weights.
template <typename G, typename W>
struct AdamWBody {
  float* master;
  float* exp_avg;
  float* exp_avg_sq;
  const G* gradient;
  W* weights;
  const StepState* state;
  Hyperparameters hyper;

  template <int N>
  struct Values {
    float theta[N], m[N], v[N], g[N];
  };
  template <int N>
  __device__ void load(std::int64_t offset, Values<N>& values) const {
    if (state->skip != 0) return;
    cuda::load<G, N>(gradient + offset, values.g);
    cuda::load<float, N>(master + offset, values.theta);
    cuda::load<float, N>(exp_avg + offset, values.m);
    cuda::load<float, N>(exp_avg_sq + offset, values.v);
  }
  template <int N>
  __device__ void store(std::int64_t offset, Values<N>& values) const {
    if (state->skip != 0) return;
    const float multiplier = state->grad_multiplier;
    const AdamWConstants<float> c{
        hyper.beta1,        hyper.beta2, hyper.one_minus_beta1,   hyper.one_minus_beta2,       hyper.eps,
        hyper.weight_decay, state->lr,   state->bias_correction1, state->bias_correction2_sqrt};
#pragma unroll
    for (int i = 0; i < N; ++i) {
      adamw_update(c, values.g[i] * multiplier, values.m[i], values.v[i], values.theta[i]);
    }
    cuda::store<float, N>(master + offset, values.theta);
    cuda::store<float, N>(exp_avg + offset, values.m);
    cuda::store<float, N>(exp_avg_sq + offset, values.v);
    if constexpr (!std::is_void_v<W>) cuda::store<W, N>(weights + offset, values.theta);
  }
};

template <typename G, typename W>
void launch_adamw(const AdamW& args, const Hyperparameters& hyper, const Launch& launch) {
  const AdamWBody<G, W> body{pointer<float>(args.master),
                             pointer<float>(args.exp_avg),
                             pointer<float>(args.exp_avg_sq),
                             pointer<G>(args.gradient),
                             pointer<W>(args.weights),
                             pointer<StepState>(args.state),
                             hyper};
  const bool vectorised =
      aligned16(args.master.raw(), args.exp_avg.raw(), args.exp_avg_sq.raw(), args.gradient.raw(), args.weights.raw());
  launch_flat<8, 1>("adamw", body, args.master.numel(), vectorised, launch);
}

}  // namespace

void run(const AdvanceStep& args, const Launch& launch) {
  advance_step_kernel<<<1, 1, 0, launch.stream>>>(
      pointer<double>(args.per_rank), static_cast<int>(args.ranks), pointer<StepState>(args.state), args.scaler,
      args.clip, pointer<ScheduleRow>(args.schedule),
      static_cast<std::int64_t>(args.schedule.bytes() / sizeof(ScheduleRow)));
  check_launch("advance_step");
}

void run(const AdamW& args, const Launch& launch) {
  require(args.master.dtype() == DType::kF32, "adamw: the CUDA backend keeps optimizer states in fp32, not {}",
          name_of(args.master.dtype()));
  const Hyperparameters hyper{static_cast<float>(args.beta1),       static_cast<float>(args.beta2),
                              static_cast<float>(1.0 - args.beta1), static_cast<float>(1.0 - args.beta2),
                              static_cast<float>(args.eps),         static_cast<float>(args.weight_decay)};
  with_storage("adamw", args.gradient.dtype(), [&]<typename G>(G) {
    if (!args.weights) return launch_adamw<G, void>(args, hyper, launch);
    with_storage("adamw", args.weights.dtype(), [&]<typename W>(W) { launch_adamw<G, W>(args, hyper, launch); });
  });
}

}  // namespace llama_zero::cuda
