#include <filesystem>
#include <set>

#include "core/files.h"
#include "launcher/schema.h"
#include "launcher/schema_coerce.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

TEST_CASE("the config table is consistent") {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const SchemaKey& key : schema_keys()) {
    INFO(key.path);
    CHECK(find_schema_section(key.section()) != nullptr);
    CHECK(find_schema_section(key.path) == nullptr);
    CHECK_FALSE(key.meaning.empty());
    const bool by_type = key.section() == "optimizer.params" || key.section() == "scheduler.params";
    CHECK(key.types.empty() != by_type);
    for (const std::string_view type : split_list(key.types)) {
      CHECK(seen.emplace(key.path, type).second);
      CHECK(list_contains(key.section() == "optimizer.params" ? optimizer_types() : scheduler_types(), type));
    }
    if (key.types.empty()) CHECK(seen.emplace(key.path, "").second);
    if (key.status == KeyStatus::kRejected) CHECK_FALSE(key.note.empty());
    if (key.status == KeyStatus::kHonoured) CHECK_FALSE(key.test.empty());
    if (key.default_text.starts_with('(') || key.default_text == "null" || key.default_text == "\"auto\"") continue;
    const Strictness strictness = find_schema_section(key.section())->strictness;
    CHECK(message_of([&] { coerce_value(key, default_value(key), strictness, "default"); }) == "");
  }
}

TEST_CASE("names and aliases do not collide") {
  std::set<std::string> seen;
  for (const SchemaKey& key : schema_keys()) {
    seen.insert(std::string(key.path));
  }
  for (const SchemaSection& section : schema_sections()) CHECK(seen.insert(std::string(section.path)).second);
  for (const SchemaKey& key : schema_keys()) {
    for (std::string_view alias : split_list(key.aliases)) {
      if (alias.starts_with('-')) alias.remove_prefix(1);
      CHECK(seen.insert(fmt::format("{}.{}", key.section(), alias)).second);
    }
  }
}

TEST_CASE("the test that a honoured key names exists") {
  std::string sources;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(LLAMA_ZERO_SOURCE_DIR) / "tests")) {
    if (entry.path().extension() == ".cpp" && entry.file_size() > 0) sources += MappedFile(entry.path()).text();
  }
  std::set<std::string_view> names;
  for (const SchemaKey& key : schema_keys()) {
    if (key.status == KeyStatus::kHonoured) names.insert(key.test);
  }
  for (const std::string_view name : names) {
    INFO(name);
    CHECK(contains(sources, fmt::format("TEST_CASE(\"{}\")", name)));
  }
}

TEST_CASE("a slip of the pen finds the key that was meant") {
  const std::vector<std::string_view> names = {"stage", "overlap_comm", "reduce_bucket_size", "allgather_bucket_size"};
  CHECK(closest_name("stag", names) == "stage");
  CHECK(closest_name("Stage", names) == "stage");
  CHECK(closest_name("overlap_com", names) == "overlap_comm");
  CHECK(closest_name("reduce_buckets_size", names) == "reduce_bucket_size");
  CHECK(closest_name("something_else", names) == "");
  CHECK(closest_name("xy", names) == "");
}

TEST_CASE("help of a key, a section and of nothing come from the table") {
  const std::string key = help_config("zero_optimization.stage3_prefetch_bucket_size");
  CHECK(contains(key, "default: 50000000"));
  CHECK(contains(key, "also written: prefetch_bucket_size"));
  CHECK(contains(key, "\"auto\": floor(0.9 x hidden size squared)"));
  CHECK(contains(help_config("warmup_max_lr"), "of: WarmupDecayLR"));
  CHECK(contains(help_config("fp16"), "loss_scale = 0: 0: dynamic"));
  CHECK(contains(help_config("fp16"), "an unknown key is an error"));
  CHECK(contains(help_config(""), "train_batch_size"));
  CHECK(contains(help_config(""), "llama_zero: what DeepSpeed has no key for"));
  CHECK(contains(help_config("gradient_predivide_factor"), "rejected unless 1.0: not supported yet"));
  CHECK(message_of([] { help_config("train_batchsize"); }) ==
        "no config key \"train_batchsize\"; did you mean \"train_batch_size\"?");
}

TEST_CASE("the page of Markdown has a row for every key") {
  const std::string page = schema_markdown();
  std::size_t rows = 0;
  for (std::size_t at = page.find("\n| `"); at != std::string::npos; at = page.find("\n| `", at + 1)) ++rows;
  CHECK(rows == schema_keys().size());
  for (const SchemaSection& section : schema_sections()) CHECK(contains(page, section.path));
}

TEST_CASE("every key of the DeepSpeed contract is in the table") {
  const std::string_view keys[] = {
      "train_batch_size|train_micro_batch_size_per_gpu|gradient_accumulation_steps|managed_gradient_accumulation",
      "gradient_clipping|gradient_allreduce_op|prescale_gradients|gradient_predivide_factor|communication_data_type",
      "seq_parallel_communication_data_type|sparse_gradients|zero_allow_untested_optimizer|zero_force_ds_cpu_optimizer",
      "steps_per_print|wall_clock_breakdown|memory_breakdown|dump_state|log_level|vocabulary_size|disable_allgather",
      "sequence_parallel_size|data_parallel_size|dataloader_drop_last|allgather_size|timers.throughput.synchronized",
      "optimizer.type|optimizer.legacy_fusion|scheduler.type|data_types.grad_accum_dtype|data_types.param_dtype",
      "data_types.buffer_dtype|amp.enabled|torch_autocast.enabled|torch_autocast.lower_precision_safe_modules",
      "fp16.enabled|fp16.auto_cast|fp16.loss_scale|fp16.initial_scale_power|fp16.loss_scale_window|fp16.hysteresis",
      "fp16.consecutive_hysteresis|fp16.min_loss_scale|fp16.fp16_master_weights_and_grads|bf16.enabled",
      "bf16.check_grad_overflow|bf16.immediate_grad_update|bf16.bf16_master_weights_and_grads|bf16.bf16_optimizer_"
      "states",
      "zero_optimization.stage|zero_optimization.contiguous_gradients|zero_optimization.reduce_scatter",
      "zero_optimization.use_multi_rank_bucket_allreduce|zero_optimization.reduce_bucket_size",
      "zero_optimization.allgather_bucket_size|zero_optimization.allgather_partitions|zero_optimization.overlap_comm",
      "zero_optimization.round_robin_gradients|zero_optimization.ignore_unused_parameters",
      "zero_optimization.load_from_fp32_weights|zero_optimization.elastic_checkpoint|zero_optimization.legacy_stage1",
      "zero_optimization.sub_group_size|zero_optimization.stage3_prefetch_bucket_size",
      "zero_optimization.stage3_param_persistence_threshold|zero_optimization.stage3_model_persistence_threshold",
      "zero_optimization.stage3_max_live_parameters|zero_optimization.stage3_max_reuse_distance",
      "zero_optimization.stage3_gather_16bit_weights_on_model_save|zero_optimization.memory_efficient_linear",
      "zero_optimization.stage3_module_granularity_threshold|zero_optimization.stage3_use_all_reduce_for_fetch_params",
      "zero_optimization.stage3_allgather_sequential|zero_optimization.override_module_apply",
      "zero_optimization.log_trace_cache_warnings|zero_optimization.enable_sanity_checks",
      "zero_optimization.pipeline_loading_checkpoint|zero_optimization.zero_hpz_partition_size",
      "zero_optimization.zero_quantized_weights|zero_optimization.zero_quantized_nontrainable_weights",
      "zero_optimization.zero_quantized_gradients|zero_optimization.zeropp_loco_param|zero_optimization.mics_shard_"
      "size",
      "zero_optimization.mics_hierarchical_params_gather|zero_optimization.save_muon_momentum_buffer_in_memory",
      "zero_optimization.cpu_offload|zero_optimization.cpu_offload_param|zero_optimization.cpu_offload_use_pin_memory",
      "zero_optimization.offload_optimizer.device|zero_optimization.offload_optimizer.nvme_path",
      "zero_optimization.offload_optimizer.pin_memory|zero_optimization.offload_optimizer.buffer_count",
      "zero_optimization.offload_optimizer.pipeline_read|zero_optimization.offload_optimizer.pipeline_write",
      "zero_optimization.offload_optimizer.fast_init|zero_optimization.offload_optimizer.ratio",
      "zero_optimization.offload_optimizer.super_offload|zero_optimization.offload_optimizer.cpuadam_cores_perc",
      "zero_optimization.offload_param.device|zero_optimization.offload_param.nvme_path",
      "zero_optimization.offload_param.pin_memory|zero_optimization.offload_param.buffer_count",
      "zero_optimization.offload_param.buffer_size|zero_optimization.offload_param.max_in_cpu",
      "aio.block_size|aio.queue_depth|aio.intra_op_parallelism|aio.single_submit|aio.overlap_events|aio.use_gds",
      "activation_checkpointing.partition_activations|activation_checkpointing.number_checkpoints",
      "activation_checkpointing.contiguous_memory_optimization|activation_checkpointing.cpu_checkpointing",
      "activation_checkpointing.synchronize_checkpoint_boundary|activation_checkpointing.profile",
      "tensorboard.enabled|tensorboard.output_path|tensorboard.job_name|csv_monitor.enabled|csv_monitor.output_path",
      "csv_monitor.job_name|wandb.enabled|wandb.group|wandb.team|wandb.project|comet.enabled|comet.samples_log_"
      "interval",
      "flops_profiler.enabled|flops_profiler.recompute_fwd_factor|flops_profiler.profile_step|flops_profiler.module_"
      "depth",
      "flops_profiler.top_modules|flops_profiler.detailed|flops_profiler.output_file|comms_logger.enabled",
      "comms_logger.verbose|comms_logger.prof_all|comms_logger.debug|comms_logger.prof_ops|checkpoint.tag_validation",
      "checkpoint.load_universal|checkpoint.use_node_local_storage|checkpoint.parallel_write.pipeline_stage",
      "checkpoint.checkpoint_serialization|checkpoint.writer|elasticity.enabled|elasticity.max_train_batch_size",
      "elasticity.micro_batch_sizes|elasticity.min_gpus|elasticity.max_gpus|elasticity.num_gpus_per_node",
      "elasticity.model_parallel_size|elasticity.min_time|elasticity.prefer_larger_batch",
      "elasticity.ignore_non_elastic_batch_info|elasticity.version|autotuning.enabled|autotuning.fast|autotuning."
      "metric",
      "autotuning.start_profile_step|autotuning.end_profile_step|autotuning.tuner_type|autotuning.tuner_num_trials",
      "autotuning.tuner_early_stopping|autotuning.results_dir|autotuning.exps_dir|autotuning.overwrite|autotuning.mp_"
      "size",
      "autotuning.arg_mappings|tensor_parallel.autotp_size|tensor_parallel.tp_overlap_comm|tensor_parallel.tp.tp_size",
      "tensor_parallel.preset_model|tensor_parallel.partition_config|tensor_parallel.dtype|pipeline.stages",
      "pipeline.partition|pipeline.seed_layers|pipeline.activation_checkpoint_interval|pipeline.pipe_partitioned",
      "pipeline.grad_partitioned"};
  std::size_t count = 0;
  for (const std::string_view line : keys) {
    for (const std::string_view key : split_list(line)) {
      INFO(key);
      CHECK(find_schema_key(key) != nullptr);
      ++count;
    }
  }
  CHECK(count > 150);
  for (const char* section :
       {"zero_optimization.zenflow", "zero_optimization.leaf_module", "sparse_attention", "eigenvalue",
        "quantize_training", "progressive_layer_drop", "curriculum_learning", "data_efficiency", "compression_training",
        "hybrid_engine", "compile", "nebula", "expert_parallel"}) {
    CHECK(find_schema_section(section) != nullptr);
  }
}
