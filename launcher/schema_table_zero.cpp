// Rows of "zero_optimization" and "aio". Sizes are elements, not bytes.
#include "launcher/schema.h"

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

#define ZERO "zero_optimization."

std::span<const SchemaKey> zero_keys() {
  static constexpr SchemaKey kKeys[] = {
      tested("higher stages shard more labels of memory",
             {ZERO "stage", kInt, "0", "0 .. 3", kHonoured,
              "0: data parallel, 1: shards optimizer states, 2: and gradients, 3: and weights"}),
      {ZERO "contiguous_gradients", kBool, "true", "", kNoEffect,
       "gradients in one buffer; the backward writes them there"},
      tested(
          "without reduce_scatter the sum is rounded before it is divided",
          {ZERO "reduce_scatter", kBool, "true", "", kHonoured,
           "gradients are summed in fp32 by their owner and rounded once; false, in stages 1 to 3: the sum is rounded "
           "to the communication dtype before it is divided, as that of an all-reduce"}),
      {ZERO "use_multi_rank_bucket_allreduce", kBool, "true", "", kNoEffect, "how DeepSpeed reduces a bucket"},
      tested("a smaller reduce bucket takes less memory for gradients in flight",
             {ZERO "reduce_bucket_size", kInt, "500000000", "> 0", kHonoured,
              "elements that are reduced together at most", "", "hidden size squared"}),
      {ZERO "allgather_bucket_size", kInt, "500000000", ">= 0", kNoEffect, "must be even; unused, in DeepSpeed too"},
      {ZERO "allgather_partitions", kBool, "true", "", kNoEffect, "unused, in DeepSpeed too"},
      tested(
          "without overlap_comm nothing is gathered ahead",
          {ZERO "overlap_comm", kBool, "null", "", kHonoured,
           "gathers and reductions run beside the computation, from buffers of their own; null: in stage 3 alone. The "
           "numbers do not change"}),
      {ZERO "round_robin_gradients", kBool, "false", "", kNoEffect, "order of tensors in DeepSpeed's flat buffer"},
      {ZERO "ignore_unused_parameters", kBool, "true", "", kNoEffect, "parameters without a gradient; Llama has none"},
      {ZERO "load_from_fp32_weights", kBool, "true", "", kNoEffect, "resume from fp32 masters",
       "a run always goes on from its fp32 masters"},
      {ZERO "elastic_checkpoint", kBool, "false", "", kNoEffect, "checkpoints without padding",
       "checkpoint layout does not depend on the rank count here"},
      {ZERO "legacy_stage1", kBool, "false", "", kRejected, "old stage 1", "DeepSpeed removed it; use stage 1"},
      tested("a smaller sub group takes smaller buffers on the host",
             {ZERO "sub_group_size", kInt, "1000000000", ">= 0", kHonoured,
              "elements that the host updates at a time in stage 3, while the weights before them go up; at most "
              "8388608, which 0 means too"}),
      tested("prefetch gathers ahead and persistence keeps gathered",
             {ZERO "stage3_prefetch_bucket_size", kInt, "50000000", ">= 0", kHonoured,
              "elements gathered ahead in stage 3; 0: none", "", "floor(0.9 x hidden size squared) in stage 3", "",
              "prefetch_bucket_size"}),
      tested("prefetch gathers ahead and persistence keeps gathered",
             {ZERO "stage3_param_persistence_threshold", kInt, "100000", ">= 0", kHonoured,
              "stage 3 keeps tensors of at most this many elements gathered", "", "10 x hidden size in stage 3", "",
              "param_persistence_threshold"}),
      tested("the model threshold caps what persistence keeps gathered",
             {ZERO "stage3_model_persistence_threshold", kInt, "9223372036854775807", ">= 0", kHonoured,
              "elements that stage3_param_persistence_threshold keeps gathered in all", "", "", "",
              "model_persistence_threshold"}),
      tested("live limit and reuse distance bound what stage 3 holds gathered",
             {ZERO "stage3_max_live_parameters", kInt, "1000000000", ">= 0", kHonoured,
              "stage 3 gathers nothing ahead, and keeps nothing for its second use, beyond this many gathered elements",
              "", "", "", "max_live_parameters"}),
      tested("live limit and reuse distance bound what stage 3 holds gathered",
             {ZERO "stage3_max_reuse_distance", kInt, "1000000000", ">= 0", kHonoured,
              "a unit stays gathered from its forward to its backward when fewer elements are used between them", "",
              "", "", "max_reuse_distance"}),
      {ZERO "stage3_gather_16bit_weights_on_model_save", kBool, "false", "", kNoEffect, "a whole model is always saved",
       "", "", "", "gather_16bit_weights_on_model_save|-stage3_gather_fp16_weights_on_model_save"},
      {ZERO "stage3_module_granularity_threshold", kInt, "0", "", kNoEffect, "fetch layout of PyTorch modules", "", "",
       "", "module_granularity_threshold"},
      {ZERO "stage3_use_all_reduce_for_fetch_params", kBool, "false", "", kNoEffect, "how DeepSpeed gathers", "", "",
       "", "use_all_reduce_for_fetch_params"},
      {ZERO "stage3_allgather_sequential", kBool, "false", "", kNoEffect, "how DeepSpeed gathers", "", "", "",
       "allgather_sequential"},
      {ZERO "memory_efficient_linear", kBool, "true", "", kNoEffect, "PyTorch linear layers"},
      {ZERO "override_module_apply", kBool, "true", "", kNoEffect, "PyTorch modules"},
      {ZERO "log_trace_cache_warnings", kBool, "false", "", kNoEffect,
       "log of the fetch trace; the order is fixed here"},
      {ZERO "enable_sanity_checks", kBool, "false", "", kNoEffect, "checks of PyTorch hooks"},
      {ZERO "pipeline_loading_checkpoint", kBool, "false", "", kNoEffect, "how DeepSpeed reads swapped checkpoints"},
      {ZERO "zero_hpz_partition_size", kInt, "1", ">= 0", kNoEffect, "second shard within a node (ZeRO++)",
       "ZeRO++ is not supported: weights are sharded over all ranks"},
      {ZERO "zero_quantized_weights", kBool, "false", "", kNoEffect, "int8 weights on the wire (ZeRO++)",
       "ZeRO++ is not supported: weights travel in full precision"},
      {ZERO "zero_quantized_nontrainable_weights", kBool, "false", "", kNoEffect, "int8 frozen weights (ZeRO++)",
       "ZeRO++ is not supported: weights travel in full precision"},
      {ZERO "zero_quantized_gradients", kBool, "false", "", kNoEffect, "int4 gradients on the wire (ZeRO++)",
       "ZeRO++ is not supported: gradients travel in full precision"},
      {ZERO "zeropp_loco_param", kObject, "null", "", kNoEffect, "error feedback of quantized gradients (ZeRO++)",
       "ZeRO++ is not supported: gradients travel in full precision"},
      {ZERO "mics_shard_size", kInt, "-1", "", kNoEffect, "ranks of a MiCS shard",
       "MiCS is not supported: states are sharded over all ranks"},
      {ZERO "mics_hierarchical_params_gather", kBool, "false", "", kNoEffect, "how MiCS gathers",
       "MiCS is not supported"},
      {ZERO "save_muon_momentum_buffer_in_memory", kBool, "false", "", kNoEffect, "where Muon keeps its momentum",
       "Muon is not supported"},
      tested(
          "offload moves its states from device to host memory",
          {ZERO "cpu_offload", kBool, "null", "", kHonoured, "deprecated: true means offload_optimizer {device: cpu}"}),
      tested("offload moves its states from device to host memory",
             {ZERO "cpu_offload_param", kBool, "null", "", kHonoured,
              "deprecated: true means offload_param {device: cpu}"}),
      {ZERO "cpu_offload_use_pin_memory", kBool, "null", "", kNoEffect, "deprecated",
       "use pin_memory of the offload sections"},
      tested(
          "offload moves its states from device to host memory",
          {ZERO "offload_optimizer.device", kString, R"("none")", "none|cpu|nvme", kHonoured,
           "where optimizer states live: cpu has fp32 weights, moments and one copy of the gradients in host memory, "
           "and the host updates them. nvme is not supported"}),
      {ZERO "offload_optimizer.nvme_path", kString, "null", "", kNoEffect, "folder for nvme"},
      tested("pin_memory decides which kind of host memory optimizer states lie in",
             {ZERO "offload_optimizer.pin_memory", kBool, "true", "", kHonoured,
              "page-locked host memory, from which copies run while the host goes on; what cannot be locked is "
              "pageable, with a warning"}),
      {ZERO "offload_optimizer.buffer_count", kInt, "4", ">= 0", kNoEffect, "buffers for nvme"},
      {ZERO "offload_optimizer.pipeline_read", kBool, "false", "", kNoEffect, "reads ahead from nvme"},
      {ZERO "offload_optimizer.pipeline_write", kBool, "false", "", kNoEffect, "writes behind to nvme"},
      {ZERO "offload_optimizer.fast_init", kBool, "false", "", kNoEffect, "how nvme states start"},
      tested("ratio leaves the first units' optimizer states on the device",
             {ZERO "offload_optimizer.ratio", kNumber, "1.0", "0 .. 1", kHonoured,
              "part of the states that is offloaded, stage 3 only: the first blocks stay on the device, and are "
              "updated there, as far as they are within 1 - ratio of all elements"}),
      {ZERO "offload_optimizer.super_offload", kBool, "false", "", kNoEffect, "SuperOffload",
       "SuperOffload is not supported"},
      {ZERO "offload_optimizer.cpuadam_cores_perc", kNumber, "0.8", "0 .. 1", kNoEffect, "cores for SuperOffload"},
      tested(
          "offload moves its states from device to host memory",
          {ZERO "offload_param.device", kString, R"("none")", "none|cpu|nvme", kHonoured,
           "where stage 3 keeps its shards of the weights; they are copied to the device when they are used. nvme is "
           "not supported"}),
      {ZERO "offload_param.nvme_path", kString, "null", "", kNoEffect, "folder for nvme"},
      tested(
          "pin_memory decides which kind of host memory weights lie in",
          {ZERO "offload_param.pin_memory", kBool, "true", "", kHonoured,
           "page-locked host memory, from which copies run while the host goes on; what cannot be locked is pageable, "
           "with a warning"}),
      tested("buffer_count bounds the units on the device, buffer_size cuts their copies",
             {ZERO "offload_param.buffer_count", kInt, "5", "> 0", kHonoured,
              "most blocks that the device holds at once, gathered ahead and kept ones too (DeepSpeed: of nvme)"}),
      tested("buffer_count bounds the units on the device, buffer_size cuts their copies",
             {ZERO "offload_param.buffer_size", kInt, "100000000", "> 0", kHonoured,
              "elements of one copy from the host (DeepSpeed: of nvme)"}),
      tested("max_in_cpu leaves the rest of the weights on the device",
             {ZERO "offload_param.max_in_cpu", kInt, "9223372036854775807", ">= 0", kHonoured,
              "elements of a rank's weights that the host keeps, by whole shards in model order; the rest stays on the "
              "device. All by default: in DeepSpeed, where it is 1e9, it means nothing to device cpu"}),
      {"allgather_size", kInt, "500000000", "> 0", kNoEffect, "bucket of the old \"zero_optimization\": true"},
      {"aio.block_size", kInt, "1048576", "> 0", kNoEffect, "nvme only"},
      {"aio.queue_depth", kInt, "8", "> 0", kNoEffect, "nvme only"},
      {"aio.intra_op_parallelism", kInt, "1", "> 0", kNoEffect, "nvme only"},
      {"aio.single_submit", kBool, "false", "", kNoEffect, "nvme only"},
      {"aio.overlap_events", kBool, "true", "", kNoEffect, "nvme only"},
      {"aio.use_gds", kBool, "false", "", kNoEffect, "nvme only"},
  };
  return kKeys;
}

#undef ZERO

}  // namespace llama_zero::schema_tables
