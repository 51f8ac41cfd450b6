// One rank's stores, optimizer and boundary without a model: what the engine is made of, for tests that write gradients
// themselves.
#pragma once

#include <memory>
#include <vector>

#include "core/rng.h"
#include "zero/gradient_store.h"
#include "zero/leased_param_store.h"
#include "zero/optimizer.h"

namespace llama_zero::test {

struct StackOptions {
  int stage = 0;
  DType dtype = DType::kF32;
  DType grad_dtype = DType::kF32;
  std::int64_t reduce_bucket_size = 1 << 20;
  GradientAveraging averaging;
  LeaseOptions leases{.prefetch_bucket_size = 1};
  ParamOffload offload;
  double clip = 0.0;
  LossScalerConfig scaler;
  std::vector<ScheduleRow> schedule{ScheduleRow{}};
  OptimizerOptions optimizer{.kind = OptimizerKind::kAdamW, .eps = 1e-8, .weight_decay = 0.1};
  std::vector<std::vector<DecayRange>> decay_ranges;  ///< by unit, for exempt_norms_and_embeddings
  bool overlap = true;
  OptimizerOffload optimizer_offload;
};

inline float load_element(ConstView view, std::int64_t i) {
  switch (view.dtype()) {
    case DType::kF16:
      return static_cast<float>(view.as<Half>()[i]);
    case DType::kBF16:
      return static_cast<float>(view.as<BFloat16>()[i]);
    default:
      return view.as<float>()[i];
  }
}

inline void store_element(View view, std::int64_t i, float value) {
  switch (view.dtype()) {
    case DType::kF16:
      view.as<Half>()[i] = Half(value);
      break;
    case DType::kBF16:
      view.as<BFloat16>()[i] = BFloat16(value);
      break;
    default:
      view.as<float>()[i] = value;
  }
}

inline float round_to(DType dtype, float value) {
  if (dtype == DType::kF16) return static_cast<float>(Half(value));
  if (dtype == DType::kBF16) return static_cast<float>(BFloat16(value));
  return value;
}

/// A rank with units of the given sizes on the CPU device; memory is poisoned.
class RankStack {
 public:
  RankStack(const std::vector<std::int64_t>& units, const StackOptions& options, Communicator& communicator)
      : device(make_cpu_device()),
        stream(device->create_stream("compute")),
        communication(device->create_stream("communication")),
        upload(device->create_stream("upload")),
        download(device->create_stream("download")),
        ops(make_cpu_ops(1)),
        arena(*device, std::size_t{8} << 20U, "test", Arena::Options{true}),
        host(*device),
        layout(units, communicator.size(), communicator.rank()),
        context{*device, *ops, communicator, arena, host, layout, *communication, *upload, *download},
        offload_plan(plan_offload(layout, options.optimizer_offload)),
        params(make_params(options)),
        gradients(make_gradients(options)),
        optimizer(context, options.dtype, *params, options.optimizer, options.decay_ranges, offload_plan),
        boundary(context, options.schedule, options.scaler, options.clip, *stream) {}

  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream, communication, upload, download;
  std::unique_ptr<Ops> ops;
  Arena arena;
  HostArena host;
  Layout layout;
  RankContext context;
  OffloadPlan offload_plan;
  std::unique_ptr<ParamStore> params;
  std::unique_ptr<GradientStore> gradients;
  ShardedOptimizer optimizer;
  StepBoundary boundary;

 private:
  std::unique_ptr<ParamStore> make_params(const StackOptions& options) {
    if (options.stage < 3)
      return std::make_unique<ReplicatedParamStore>(context, options.dtype, options.stage > 0, options.overlap);
    std::vector<bool> persistent(static_cast<std::size_t>(layout.unit_count()), false);
    persistent.front() = true;
    return std::make_unique<LeasedParamStore>(context, persistent, true, options.dtype, options.leases,
                                              options.offload);
  }
  std::unique_ptr<GradientStore> make_gradients(const StackOptions& options) {
    const GradientOptions gradient_options{options.grad_dtype, options.reduce_bucket_size, options.averaging,
                                           options.overlap, offload_plan};
    if (options.stage < 2) return make_full_gradient_store(context, gradient_options, options.stage == 0);
    return make_sharded_gradient_store(context, gradient_options, 0);
  }
};

}  // namespace llama_zero::test
