#include "launcher/engine_options.h"

#include "launcher/optimizer_config.h"
#include "launcher/schedule.h"

namespace llama_zero {

EngineOptions engine_options_of(const TrainConfig& config) {
  EngineOptions options;
  options.stage = config.zero.stage;
  options.dtype = config.dtype;
  options.grad_accum_dtype = config.grad_accum_dtype;
  options.averaging = config.averaging;
  options.scaler = config.scaler;
  options.gradient_clipping = config.gradient_clipping;
  options.optimizer = optimizer_options(config.optimizer);
  options.schedule = schedule_rows(config);
  options.transformer.dtype = config.dtype;
  options.transformer.checkpointing = config.checkpointing;
  options.transformer.cpu_checkpointing = config.cpu_checkpointing;
  options.transformer.logits_chunk = config.run.logits_chunk;
  options.max_positions = config.run.sequence_length;
  options.overlap_comm = config.zero.overlap_comm;
  options.param_persistence_threshold = config.zero.param_persistence_threshold;
  options.prefetch_bucket_size = config.zero.prefetch_bucket_size;
  options.model_persistence_threshold = config.zero.model_persistence_threshold;
  options.max_live_parameters = config.zero.max_live_parameters;
  options.max_reuse_distance = config.zero.max_reuse_distance;
  options.offload_param = config.zero.offload_param;
  options.offload_optimizer = config.zero.offload_optimizer;
  options.local_gradient_accumulation = config.zero.local_gradient_accumulation;
  options.reduce_bucket_size = config.zero.reduce_bucket_size;
  return options;
}

}  // namespace llama_zero
