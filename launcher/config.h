// The config of a run: a DeepSpeed JSON file, command line flags and Hugging Face's rules for "auto", made into one
// typed struct.
//
// Two steps, because some "auto" values need facts about model and data: load_config reads, checks every key against
// the schema (launcher/schema.h) and types what needs no facts (the "llama_zero" section); resolve fills the rest.
// Every problem throws Error with one line that names file, line, key and the fix.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/files.h"
#include "kernels/step_state.h"
#include "launcher/json_value.h"
#include "launcher/monitor/monitor_config.h"
#include "model/transformer.h"
#include "zero/gradient_averaging.h"
#include "zero/lease_plan.h"
#include "zero/lr_schedule.h"
#include "zero/offload.h"
#include "zero/optimizer_options.h"

namespace llama_zero {

/// A value from the command line. `value` is parsed as JSON; what is not JSON is a string.
struct ConfigOverride {
  std::string key;        ///< "zero_optimization.stage", "llama_zero.model"
  std::string value;      ///< "3", "auto", "tiny"
  std::string flag;       ///< "--set", "--model": printed as the origin
  bool verbatim = false;  ///< true: a string as it stands, never JSON (paths)
};
/// Splits "path.to.key=value" of --set. Throws Error when there is no '=' or no key.
ConfigOverride parse_set(std::string_view text);

struct ConfigFlags {
  std::vector<ConfigOverride> overrides;  ///< applied in order, over the file
  std::string precision;  ///< --precision "fp16", "bf16", "fp32": where fp16.enabled and bf16.enabled are "auto" or
                          ///< absent; "": fp16 where "auto"
};

enum class DeviceChoice { kAuto, kCpu, kCuda };
enum class AttentionChoice { kAuto, kFlash, kCudnn };
enum class CommunicatorChoice { kAuto, kNccl, kMpi };

/// The "llama_zero" section: what DeepSpeed has no key for.
struct RunSection {
  std::string model;      ///< preset name or Hugging Face folder
  std::string data;       ///< training rows; empty: the bundled sample
  std::string eval_data;  ///< rows for the loss at the end; empty: none
  std::string tokenizer;  ///< tokenizer.model; empty: the model folder's, else the bundled one
  std::int64_t sequence_length = 0;
  double epochs = 0.0;               ///< >= 0, may be fractional
  std::int64_t max_steps = 0;        ///< 0: epochs decide
  std::string output;                ///< the run's folder; empty: runs/<run_name>
  std::string run_name;              ///< empty: made from model and time
  std::string save_interval;         ///< as parse_save_interval reads it
  std::int64_t keep = 0;             ///< newest checkpoints that stay; 0: all
  std::string resume;                ///< a checkpoint, a run's folder, or "latest"; empty: start anew
  std::string export_dtype;          ///< "auto", "fp32", "fp16", "bf16": storage of the final model
  std::int64_t max_shard_bytes = 0;  ///< largest weight file of the final model
  bool export_model = true;          ///< false: no final model is written
  std::uint64_t seed = 0;
  DeviceChoice device = DeviceChoice::kAuto;
  AttentionChoice attention = AttentionChoice::kAuto;
  std::string tune;  ///< file of the products' algorithms; empty: the library's first candidates
  CommunicatorChoice communicator = CommunicatorChoice::kAuto;
  double collective_timeout = 0.0;       ///< seconds that a rank waits for the others in a collective
  std::string trace;                     ///< file of the timeline; empty: none
  std::int64_t trace_steps = 0;          ///< steps in it, from the first of the run
  bool mean_of_micro_batches = false;    ///< the loss: mean of the micro-batches' means, else of all loss tokens
  bool coalesce = true;                  ///< false: the literal micro-steps
  std::int64_t max_tokens_per_pass = 0;  ///< 0: "auto", the memory plan decides
  bool train_on_prompt = false;          ///< true: prompt tokens count in the loss
  std::int64_t logits_chunk = 0;
  std::string defaults_profile;  ///< the DeepSpeed release whose defaults count (launcher/defaults_profile.h)
};

/// What load_config hands to resolve.
struct ConfigFile {
  std::string source;     ///< path as found, or "built-in config"
  bool built_in = false;  ///< no config was given
  JsonValue root;         ///< file and overrides merged, names canonical
  std::string precision;  ///< ConfigFlags::precision
  RunSection run;
  std::vector<std::string> warnings;  ///< unknown keys, deprecated names
};

/// Reads `path` (looked up as given, then in configs/ of the working folder, then in configs/ beside the executable);
/// what is no file there and is url-safe base64 of a config is that config, as in DeepSpeed. No path: the built-in
/// default (everything "auto", stage 0).
ConfigFile load_config(const std::optional<fs::path>& path, const ConfigFlags& flags);
/// The same from text; `name` stands in messages.
ConfigFile parse_config(std::string_view text, std::string_view name, const ConfigFlags& flags);
/// The text that stands in for a missing config.
std::string_view default_config_text();

/// What "auto" needs to know.
struct ResolveFacts {
  int world_size = 1;  ///< data-parallel ranks
  std::int64_t hidden_size = 0;
  bool imported_model = false;      ///< weights come from a Hugging Face folder
  double preset_learning_rate = 0;  ///< used unless imported_model
  std::int64_t rows = 0;            ///< rows of the training data
};

/// B = micro * accumulation * world size, all in rows.
struct BatchConfig {
  std::int64_t train_batch_size = 0;
  std::int64_t micro_batch_size = 0;
  std::int64_t accumulation_steps = 0;
};

/// The optimizer section; launcher/optimizer_config.h makes the engine's options and the header's line of it.
struct OptimizerConfig {
  std::string type;                            ///< "AdamW", "Adam", "Lion", "Adagrad", "SGD": as DeepSpeed spells it
  OptimizerKind kind = OptimizerKind::kAdamW;  ///< "Adam" is kAdamW unless adam_w_mode is false
  double lr = 0.0;
  double beta1 = 0.9, beta2 = 0.999;  ///< Adam, Lion; a schedule that cycles momentum moves them
  double eps = 1e-8;                  ///< Adam, Adagrad
  double weight_decay = 0.0;
  bool bias_correction = true;               ///< Adam
  double lr_decay = 0.0;                     ///< Adagrad
  double initial_accumulator_value = 0.0;    ///< Adagrad
  double momentum = 0.0, dampening = 0.0;    ///< SGD
  bool nesterov = false;                     ///< SGD
  bool exempt_norms_and_embeddings = false;  ///< from weight decay
};

enum class ScheduleType {
  kConstant,  ///< lr of the optimizer
  kLinear,  ///< Hugging Face's default: update k (from 1) runs with lr * max(0, (total - (k - 1)) / max(1, total)), no
            ///< warmup
  kWarmup,  ///< WarmupLR
  kWarmupDecay,   ///< WarmupDecayLR
  kWarmupCosine,  ///< WarmupCosineLR
  kOneCycle,
  kLrRangeTest,
};

/// Parameters by DeepSpeed's names; those of another type keep zero. The formulas stand in zero/lr_schedule.h.
struct ScheduleConfig {
  ScheduleType type = ScheduleType::kConstant;
  std::string type_name;  ///< as the config writes it
  // WarmupLR, WarmupDecayLR, WarmupCosineLR, and total of kLinear.
  double warmup_min_lr = 0.0, warmup_max_lr = 0.0;
  std::int64_t warmup_num_steps = 0, total_num_steps = 0;
  WarmupType warmup_type = WarmupType::kLog;
  double warmup_min_ratio = 0.0, cos_min_ratio = 0.0;
  bool cosine_climbs = false;  ///< WarmupCosineLR after its end, as before DeepSpeed 0.19.3
  // OneCycle; stair counts 0: none.
  double cycle_min_lr = 0.0, cycle_max_lr = 0.0, decay_lr_rate = 0.0;
  std::int64_t cycle_first_step_size = 0, cycle_second_step_size = 0;
  std::int64_t cycle_first_stair_count = 0, cycle_second_stair_count = 0, decay_step_size = 0;
  bool cycle_momentum = false;  ///< off where the optimizer has no betas
  double cycle_min_mom = 0.0, cycle_max_mom = 0.0, decay_mom_rate = 0.0;
  // LRRangeTest.
  double lr_range_test_min_lr = 0.0, lr_range_test_step_rate = 0.0;
  std::int64_t lr_range_test_step_size = 0;
  bool lr_range_test_staircase = false;
};

/// zero_optimization; sizes are elements.
struct ZeroConfig {
  int stage = 0;
  bool overlap_comm = false;  ///< collectives run beside the computation; null: in stage 3
  std::int64_t reduce_bucket_size = 0;
  std::int64_t prefetch_bucket_size = 0;         ///< stage 3; 0: no prefetch
  std::int64_t param_persistence_threshold = 0;  ///< stage 3
  std::int64_t model_persistence_threshold = 0;  ///< stage 3, as the next two
  std::int64_t max_live_parameters = 0;
  std::int64_t max_reuse_distance = 0;
  OptimizerOffload offload_optimizer;        ///< stages 1 to 3
  bool local_gradient_accumulation = false;  ///< stages 2 and 3
  ParamOffload offload_param;                ///< stage 3 only
};

/// Where a value came from.
struct ConfigOrigin {
  std::string key;     ///< canonical path
  std::string value;   ///< as JSON
  std::string origin;  ///< "ds_config.json:12", "--set", "auto: ...", "default"
  std::string effect;  ///< "", or "no effect here"
};

/// Everything a run needs, typed and checked.
struct TrainConfig {
  std::string source;
  RunSection run;
  BatchConfig batch;
  std::int64_t total_steps = 0;  ///< optimizer steps of the run
  DType dtype = DType::kF32;     ///< weights and activations
  DType grad_accum_dtype = DType::kF32;
  GradientAveraging averaging;
  LossScalerConfig scaler;
  double gradient_clipping = 0.0;  ///< <= 0: off
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  ZeroConfig zero;
  ActivationCheckpointing checkpointing = ActivationCheckpointing::kSelective;
  bool cpu_checkpointing = false;
  MonitorConfig monitor;
  std::vector<std::string> warnings;  ///< each once; print as warnings
  std::vector<std::string> notes;     ///< what was decided and why; print in the header
  std::vector<ConfigOrigin> origins;  ///< every key that is set, was filled, or matters by its default, in schema order
};

TrainConfig resolve(const ConfigFile& file, const ResolveFacts& facts);

/// The resolved config as a table of key, value and origin, one line each.
std::string print_resolved(const TrainConfig& config);
/// The part of it that is not a default, a few lines for the start of a run: a line a section of "key value (origin)",
/// the origin left out for what the file says. Lines are wrapped at `width` columns.
std::string print_settings(const TrainConfig& config, std::size_t width = 116);
/// The resolved config as a JSON document that loads again and gives the same run (no "auto" left).
std::string resolved_json(const TrainConfig& config);

}  // namespace llama_zero
