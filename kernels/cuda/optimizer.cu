// The boundary of a step and the optimizers' updates. Built with -fmad=false: bit-identical to the CPU.
#include <algorithm>
#include <cmath>

#include "kernels/adagrad_update.h"
#include "kernels/adam_update.h"
#include "kernels/cuda/flat.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/lion_update.h"
#include "kernels/sgd_update.h"

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

/// The memory of one update; K states beside the master.
template <int K>
struct Range {
  View master;
  View states[K > 0 ? K : 1];
  ConstView gradient;
  View weights;
  ConstView step_state;
};

/// W = void: no 16-bit weights. The rule decides at compile time: nothing branches per element.
template <typename Rule, typename G, typename W>
struct UpdateBody {
  static constexpr int K = Rule::kStates;

  float* master;
  float* states[K > 0 ? K : 1];
  const G* gradient;
  W* weights;
  const StepState* state;
  Rule rule;

  template <int N>
  struct Values {
    float theta[N], states[K > 0 ? K : 1][N], g[N];
  };
  template <int N>
  __device__ void load(std::int64_t offset, Values<N>& values) const {
    if (state->skip != 0) return;
    cuda::load<G, N>(gradient + offset, values.g);
    cuda::load<float, N>(master + offset, values.theta);
#pragma unroll
    for (int k = 0; k < K; ++k) cuda::load<float, N>(states[k] + offset, values.states[k]);
  }
  template <int N>
  __device__ void store(std::int64_t offset, Values<N>& values) const {
    if (state->skip != 0) return;
    const float multiplier = state->grad_multiplier;
    const auto update = rule.template at<float>(*state);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float g = values.g[i] * multiplier;
      if constexpr (K == 2) update(g, values.states[0][i], values.states[1][i], values.theta[i]);
      if constexpr (K == 1) update(g, values.states[0][i], values.theta[i]);
      if constexpr (K == 0) update(g, values.theta[i]);
    }
    cuda::store<float, N>(master + offset, values.theta);
#pragma unroll
    for (int k = 0; k < K; ++k) cuda::store<float, N>(states[k] + offset, values.states[k]);
    if constexpr (!std::is_void_v<W>) cuda::store<W, N>(weights + offset, values.theta);
  }
};

template <typename G, typename W, typename Rule>
void launch_update(const char* op, const Rule& rule, const Range<Rule::kStates>& range, const Launch& launch) {
  UpdateBody<Rule, G, W> body{pointer<float>(range.master),         {},
                              pointer<G>(range.gradient),           pointer<W>(range.weights),
                              pointer<StepState>(range.step_state), rule};
  bool vectorised = aligned16(range.master.raw(), range.gradient.raw(), range.weights.raw());
  for (int k = 0; k < Rule::kStates; ++k) {
    body.states[k] = pointer<float>(range.states[k]);
    vectorised = vectorised && aligned16(range.states[k].raw());
  }
  launch_flat<8, 1>(op, body, range.master.numel(), vectorised, launch);
}

template <typename Rule>
void run_rule(const char* op, const Rule& rule, const Range<Rule::kStates>& range, const Launch& launch) {
  require(range.master.dtype() == DType::kF32, "{}: the CUDA backend keeps optimizer states in fp32, not {}", op,
          name_of(range.master.dtype()));
  with_storage(op, range.gradient.dtype(), [&]<typename G>(G) {
    if (!range.weights) return launch_update<G, void>(op, rule, range, launch);
    with_storage(op, range.weights.dtype(), [&]<typename W>(W) { launch_update<G, W>(op, rule, range, launch); });
  });
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
  const Range<2> range{args.master, {args.exp_avg, args.exp_avg_sq}, args.gradient, args.weights, args.state};
  if (args.decoupled_decay) return run_rule("adamw", AdamRule<true>{args.eps, args.weight_decay}, range, launch);
  run_rule("adamw", AdamRule<false>{args.eps, args.weight_decay}, range, launch);
}

void run(const Lion& args, const Launch& launch) {
  const Range<1> range{args.master, {args.exp_avg}, args.gradient, args.weights, args.state};
  run_rule("lion", LionRule{args.weight_decay}, range, launch);
}

void run(const Adagrad& args, const Launch& launch) {
  const Range<1> range{args.master, {args.sum}, args.gradient, args.weights, args.state};
  run_rule("adagrad", AdagradRule{args.eps, args.weight_decay}, range, launch);
}

void run(const Sgd& args, const Launch& launch) {
  const double decay = args.weight_decay;
  if (!args.momentum_buffer) {
    return run_rule("sgd", SgdRule{decay}, {args.master, {}, args.gradient, args.weights, args.state}, launch);
  }
  const Range<1> range{args.master, {args.momentum_buffer}, args.gradient, args.weights, args.state};
  if (args.nesterov) {
    return run_rule("sgd", MomentumRule<true>{decay, args.momentum, args.dampening}, range, launch);
  }
  run_rule("sgd", MomentumRule<false>{decay, args.momentum, args.dampening}, range, launch);
}

}  // namespace llama_zero::cuda
