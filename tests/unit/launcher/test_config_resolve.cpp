#include <filesystem>
#include <fstream>
#include <set>

#include "core/files.h"
#include "launcher/json_document.h"
#include "launcher/schema.h"
#include "test_config_support.h"
#include "tests/support/source_folder.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {
fs::path lab_file(std::string_view name) { return test::source_folder() / "configs" / name; }

TrainConfig resolve_file(std::string_view name, int ranks, const ConfigFlags& flags = {}) {
  return resolve(load_config(lab_file(name), flags), facts_of(ranks));
}

}  // namespace

TEST_CASE("the lab's ZeRO-2 file on one rank means what it says") {
  const TrainConfig c = resolve_file("ds_config_zero2.json", 1);
  CHECK(c.batch.train_batch_size == 32);
  CHECK(c.batch.micro_batch_size == 1);
  CHECK(c.batch.accumulation_steps == 32);
  CHECK(c.total_steps == 57);  // 3 epochs of ceil(600 / 32) = 19
  CHECK(c.dtype == DType::kF16);
  CHECK(c.grad_accum_dtype == DType::kF16);
  CHECK(c.scaler.check_overflow);
  CHECK(c.scaler.dynamic);
  CHECK_FALSE(c.scaler.consecutive_hysteresis);
  CHECK(c.scaler.initial_scale == 65536.0F);
  CHECK(c.scaler.min_loss_scale == 1.0F);
  CHECK(c.scaler.window == 1000);
  CHECK(c.scaler.hysteresis == 2);
  CHECK(c.optimizer.type == "AdamW");
  CHECK(c.optimizer.lr == 2e-5);
  CHECK(c.optimizer.beta1 == 0.9);
  CHECK(c.optimizer.beta2 == 0.999);
  CHECK(c.optimizer.eps == 1e-8);
  CHECK(c.optimizer.weight_decay == 0.01);
  CHECK(c.optimizer.bias_correction);
  CHECK(c.schedule.type == ScheduleType::kWarmupDecay);
  CHECK(c.schedule.warmup_min_lr == 0.0);
  CHECK(c.schedule.warmup_max_lr == 2e-5);
  CHECK(c.schedule.warmup_num_steps == 100);
  CHECK(c.schedule.total_num_steps == 1000);
  CHECK(c.schedule.warmup_type == WarmupType::kLog);
  CHECK(c.gradient_clipping == 1.0);
  CHECK(c.zero.stage == 2);
  CHECK(c.zero.reduce_bucket_size == 200000000);
  CHECK(c.zero.offload_optimizer.enabled);
  CHECK_FALSE(c.zero.offload_param.enabled);
  CHECK(c.warnings.size() == 1);
  CHECK(any_contains(c.warnings, "WarmupDecayLR warms up by a logarithm"));
  CHECK(c.notes.empty());
}

TEST_CASE("the lab's ZeRO-2 file on other rank counts names the accumulation that fits") {
  const auto error = [](int ranks) { return message_of([&] { resolve_file("ds_config_zero2.json", ranks); }); };
  CHECK(error(2) ==
        "train_batch_size 32 != 1 micro x 32 accumulation x 2 ranks; use gradient_accumulation_steps 16; as it stands "
        "it is for 1 rank");
  CHECK(error(4) ==
        "train_batch_size 32 != 1 micro x 32 accumulation x 4 ranks; use gradient_accumulation_steps 8; as it stands "
        "it is for 1 rank");
  CHECK(error(8) ==
        "train_batch_size 32 != 1 micro x 32 accumulation x 8 ranks; use gradient_accumulation_steps 4; as it stands "
        "it is for 1 rank");
  const TrainConfig c = resolve_file("ds_config_zero2.json", 4, set_flags({"gradient_accumulation_steps=8"}));
  CHECK(c.batch.accumulation_steps == 8);
  CHECK(origin_of(c, "gradient_accumulation_steps").origin == "--set");
}

TEST_CASE("the lab's ZeRO-3 file resolves every auto on 1, 2 and 8 ranks") {
  for (const int ranks : {1, 2, 8}) {
    const TrainConfig c = resolve_file("ds_config_zero3.json", ranks);
    INFO(ranks);
    CHECK(c.batch.train_batch_size == 8 * ranks);
    CHECK(c.batch.micro_batch_size == 8);
    CHECK(c.batch.accumulation_steps == 1);
    const std::int64_t steps = 3 * ((600 + 8 * ranks - 1) / (8 * ranks));
    CHECK(c.total_steps == steps);
    CHECK(c.schedule.total_num_steps == steps);
    CHECK(c.schedule.warmup_num_steps == (3 * steps + 99) / 100);
    CHECK(c.optimizer.lr == 3e-3);
    CHECK(c.schedule.warmup_max_lr == 3e-3);
    CHECK(c.zero.stage == 3);
    CHECK(c.zero.reduce_bucket_size == 64 * 64);
    CHECK(c.zero.prefetch_bucket_size == 3686);  // 0.9 * 64 * 64 = 3686.4
    CHECK(c.zero.param_persistence_threshold == 640);
    CHECK(c.zero.offload_optimizer.enabled);
    CHECK(c.zero.offload_param.enabled);
    CHECK(c.warnings.size() == 1);
    CHECK(any_contains(c.warnings, "warms up by a logarithm"));
  }
}

TEST_CASE("an imported model's auto learning rate is 2e-5 and Llama-2-7B's prefetch bucket is floored") {
  ResolveFacts facts = facts_of(1);
  facts.imported_model = true;
  facts.hidden_size = 4096;
  const TrainConfig c = resolve(load_config(lab_file("ds_config_zero3.json"), {}), facts);
  CHECK(c.optimizer.lr == 2e-5);
  CHECK(c.schedule.warmup_max_lr == 2e-5);
  CHECK(c.zero.reduce_bucket_size == 16777216);
  CHECK(c.zero.prefetch_bucket_size == 15099494);
  CHECK(c.zero.param_persistence_threshold == 40960);
}

TEST_CASE("the lab's blocks of ZeRO settings are configs by themselves") {
  for (const int ranks : {1, 2, 8}) {
    for (int stage = 1; stage <= 3; ++stage) {
      const TrainConfig c = resolve_file(fmt::format("lab_zero{}_block.json", stage), ranks);
      CHECK(c.zero.stage == stage);
      CHECK(c.zero.offload_optimizer.enabled);
      CHECK(c.zero.offload_param.enabled == (stage == 3));
      CHECK(c.batch.train_batch_size == 8 * ranks);
      CHECK(c.dtype == DType::kF32);
      CHECK(c.optimizer.type == "AdamW");
      CHECK(c.optimizer.lr == 3e-3);
      CHECK(c.schedule.type == ScheduleType::kLinear);
      CHECK(any_contains(c.notes, "no optimizer in the config: AdamW"));
      CHECK(any_contains(c.notes, "no scheduler in the config: linear decay"));
      CHECK(any_contains(c.notes, "neither fp16 nor bf16 in the config: fp32"));
      CHECK(any_contains(c.warnings, "offload_param needs stage 3; in stage 2 weights stay") == (stage == 2));
    }
  }
}

TEST_CASE("no config at all is stage 0 in fp16 with Hugging Face's values, and says so") {
  const TrainConfig c = resolve(load_config(std::nullopt, {}), facts_of(2));
  CHECK(c.source == "built-in config");
  CHECK(c.zero.stage == 0);
  CHECK(c.dtype == DType::kF16);
  CHECK(c.batch.train_batch_size == 16);
  CHECK(c.optimizer.lr == 3e-3);
  CHECK(c.optimizer.weight_decay == 0.0);
  CHECK(c.gradient_clipping == 1.0);
  CHECK(any_contains(c.notes, "no config given"));
  CHECK(c.run.model == "tiny");
  CHECK(c.run.sequence_length == 512);
  CHECK(c.run.seed == 42);
  CHECK(c.run.epochs == 3.0);
  CHECK(c.run.coalesce);
  CHECK(c.run.max_tokens_per_pass == 0);
  CHECK(c.checkpointing == ActivationCheckpointing::kSelective);
}

TEST_CASE("the commented example names every acting key of its sections and gives the defaults") {
  const ConfigFile file = load_config(lab_file("ds_config_full.json"), {});
  for (const SchemaKey& key : schema_keys()) {
    const bool of_another_type =
        !key.types.empty() && !list_contains(key.types, "AdamW") && !list_contains(key.types, "WarmupDecayLR");
    const bool old = key.path.find("cpu_offload") != std::string_view::npos;
    if (key.status != KeyStatus::kHonoured || of_another_type || old) continue;
    INFO(key.path);
    const JsonValue* node = &file.root;
    std::string_view rest = key.path;
    for (std::size_t dot = 0; node != nullptr && dot != std::string_view::npos;) {
      dot = rest.find('.');
      node = node->find(rest.substr(0, dot));
      rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
    }
    CHECK(node != nullptr);
  }
  const TrainConfig full = resolve(file, facts_of(2));
  CHECK(full.warnings.empty());
  CHECK(full.notes.empty());
  const TrainConfig same =
      resolve_text(R"({"fp16": {"enabled": true}, "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
      "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_max_lr": "auto", "total_num_steps": "auto",
      "warmup_num_steps": "auto"}}, "zero_optimization": {"stage": 3, "reduce_bucket_size": "auto",
      "stage3_prefetch_bucket_size": "auto", "stage3_param_persistence_threshold": "auto"}})",
                   2);
  CHECK(fingerprint(full) == fingerprint(same));
}

TEST_CASE("a config is found as given and a missing one names the places") {
  CHECK(load_config(lab_file("ds_config_zero3.json"), {}).source == lab_file("ds_config_zero3.json").string());
  const std::string message = message_of([] { load_config(fs::path("no_such_config.json"), {}); });
  CHECK(contains(message,
                 "config no_such_config.json does not exist; looked for no_such_config.json, "
                 "configs/no_such_config.json and "));
  CHECK(message_of([] { load_config(fs::path("/no/such.json"), {}); }) == "config /no/such.json does not exist");
  CHECK(contains(message_of([] { load_config(test::source_folder(), {}); }), "is not a file"));
}

TEST_CASE("a bare name is found in the configs folder") {
  const fs::path old_folder = fs::current_path();
  fs::current_path(test::source_folder());
  const std::string source = load_config(fs::path("ds_config_zero2.json"), {}).source;
  fs::current_path(old_folder);
  CHECK(source == "configs/ds_config_zero2.json");
}

TEST_CASE("precision comes from the file, from --precision where the file leaves it open, else fp16 for auto") {
  struct Case {
    const char *text, *flag;
    DType want;
  };
  const Case cases[] = {
      {R"({})", "", DType::kF32},
      {R"({"fp16": {"enabled": true}})", "", DType::kF16},
      {R"({"bf16": {"enabled": true}})", "", DType::kBF16},
      {R"({"bfloat16": {"enabled": true}, "fp16": {"enabled": false}})", "", DType::kBF16},
      {R"({"fp16": {"enabled": "auto"}})", "", DType::kF16},
      {R"({"fp16": {"enabled": "auto"}, "bf16": {"enabled": "auto"}})", "", DType::kF16},
      {R"({"fp16": {"enabled": "auto"}, "bf16": {"enabled": "auto"}})", "bf16", DType::kBF16},
      {R"({"fp16": {"enabled": "auto"}, "bf16": {"enabled": "auto"}})", "fp32", DType::kF32},
      {R"({"fp16": {"enabled": "auto"}, "bf16": {"enabled": true}})", "", DType::kBF16},
      {R"({"bf16": {"enabled": "auto"}})", "", DType::kF32},
      {R"({"bf16": {"enabled": "auto"}})", "bf16", DType::kBF16},
      {R"({})", "bf16", DType::kBF16},
      {R"({})", "fp16", DType::kF16},
      {R"({"fp16": {"enabled": true}})", "fp16", DType::kF16},
  };
  for (const Case& c : cases) {
    INFO(c.text, " ", c.flag);
    ConfigFlags flags;
    flags.precision = c.flag;
    CHECK(resolve_text(c.text, 1, flags).dtype == c.want);
  }
  const auto error = [](std::string_view text, const char* precision) {
    ConfigFlags flags;
    flags.precision = precision;
    return message_of([&] { resolve_text(text, 1, flags); });
  };
  CHECK(contains(error(R"({"fp16": {"enabled": true}, "bf16": {"enabled": true}})", ""), "both enabled; keep one"));
  CHECK(error(R"({"fp16": {"enabled": true}})", "bf16") ==
        "ds.json:1: fp16.enabled is true, which contradicts --precision bf16; write \"auto\" there");
  CHECK(contains(error(R"({"fp16": {"enabled": false}})", "fp16"), "contradicts --precision fp16"));
  CHECK(contains(error("{}", "fp8"), "--precision must be one of fp16, bf16, fp32"));
}

TEST_CASE("the loss scaler has the section's words") {
  const LossScalerConfig fixed = resolve_text(R"({"fp16": {"enabled": true, "loss_scale": 128}})").scaler;
  CHECK(fixed.check_overflow);
  CHECK_FALSE(fixed.dynamic);
  CHECK(fixed.initial_scale == 128.0F);
  const LossScalerConfig moving = resolve_text(R"({"fp16": {"enabled": true, "initial_scale_power": 4, "hysteresis": 5,
      "loss_scale_window": 20, "consecutive_hysteresis": true, "min_loss_scale": 2}})")
                                      .scaler;
  CHECK(moving.dynamic);
  CHECK(moving.initial_scale == 16.0F);
  CHECK(moving.hysteresis == 5);
  CHECK(moving.window == 20);
  CHECK(moving.consecutive_hysteresis);
  CHECK(moving.min_loss_scale == 2.0F);
  CHECK(resolve_text(R"({"bf16": {"enabled": true}})").scaler.check_overflow);
  CHECK_FALSE(resolve_text(R"({"bf16": {"enabled": true, "check_grad_overflow": false}})").scaler.check_overflow);
  CHECK(resolve_text("{}").scaler.check_overflow);
  CHECK(contains(resolve_error(R"({"fp16": {"enabled": true, "loss_scale_window": 0}})"),
                 "loss_scale_window must be > 0"));
  CHECK(resolve_error(R"({"fp16": {"enabled": true, "loss_scale_window": 0, "loss_scale": 8}})") == "");
  CHECK(contains(resolve_error(R"({"fp16": {"enabled": true, "loss_scale": 1e300}})"), "too large"));
  CHECK(contains(resolve_error(R"({"fp16": {"enabled": true, "hysteresis": 1e12}})"), "too large"));
}

TEST_CASE("grad_accum_dtype takes every name of a dtype at every stage") {
  for (int stage = 0; stage <= 3; ++stage) {
    for (const auto& [word, want] : {std::pair("fp32", DType::kF32),
                                     {"float32", DType::kF32},
                                     {"FP16", DType::kF16},
                                     {"half", DType::kF16},
                                     {"bfloat16", DType::kBF16}}) {
      CHECK(resolve_text(fmt::format(R"({{"fp16": {{"enabled": true}}, "data_types": {{"grad_accum_dtype": "{}"}},
          "zero_optimization": {{"stage": {}}}}})",
                                     word, stage))
                .grad_accum_dtype == want);
    }
  }
}

TEST_CASE("communication_data_type is any of three, in any case, and the accumulation dtype where it is absent") {
  const auto wire = [](std::string_view word) {
    return resolve_text(fmt::format(R"({{"communication_data_type": {}}})", word)).averaging.wire;
  };
  CHECK(wire(R"("fp16")") == DType::kF16);
  CHECK(wire(R"("BF16")") == DType::kBF16);
  CHECK(wire(R"("Fp32")") == DType::kF32);
  CHECK(!wire("null").has_value());
}

TEST_CASE("param_dtype must be the model's dtype") {
  CHECK(resolve_error(R"({"bf16": {"enabled": true}, "data_types": {"param_dtype": "bfloat16"}})") == "");
  CHECK(contains(resolve_error(R"({"bf16": {"enabled": true}, "data_types": {"param_dtype": "fp16"}})"),
                 "data_types.param_dtype fp16 is not the dtype that fp16 and bf16 choose, bf16; leave it out"));
}

TEST_CASE("optimizer parameters: values, autos and defaults") {
  const OptimizerConfig given = resolve_text(R"({"optimizer": {"type": "adam", "params": {"lr": 1, "betas": [0, 0.5],
      "eps": 1e-6, "weight_decay": 0.1, "bias_correction": false}}})")
                                    .optimizer;
  CHECK(given.type == "Adam");
  CHECK(given.lr == 1.0);
  CHECK(given.beta1 == 0.0);
  CHECK(given.beta2 == 0.5);
  CHECK(given.eps == 1e-6);
  CHECK(given.weight_decay == 0.1);
  CHECK_FALSE(given.bias_correction);
  const OptimizerConfig defaults = resolve_text(R"({"optimizer": {"type": "AdamW"}})").optimizer;
  CHECK(defaults.lr == 1e-3);
  CHECK(defaults.weight_decay == 0.0);
  const OptimizerConfig autos = resolve_text(
                                    R"({"optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto",
      "eps": "auto", "weight_decay": "auto"}}, "gradient_clipping": "auto"})")
                                    .optimizer;
  CHECK(autos.lr == 3e-3);
  CHECK(autos.beta2 == 0.999);
  CHECK(autos.eps == 1e-8);
  CHECK(resolve_text(R"({"optimizer": {"type": "AdamW", "params": {"torch_adam": true}}})").optimizer.weight_decay ==
        0.01);
  CHECK(resolve_text(R"({"optimizer": {"type": "Adam", "params": {"torch_adam": true}}})").optimizer.weight_decay ==
        0.01);  // its decay is decoupled too: torch's AdamW
  // Without a type there is no DeepSpeed optimizer: Hugging Face's values, with what is given on top.
  const OptimizerConfig untyped = resolve_text(R"({"optimizer": {"params": {"weight_decay": 0.1}}})").optimizer;
  CHECK(untyped.lr == 3e-3);
  CHECK(untyped.weight_decay == 0.1);
  CHECK(contains(resolve_error(R"({"optimizer": {"params": {"betas": [0.9]}}})"), "betas must be two numbers, not 1"));
  CHECK(contains(resolve_error(R"({"optimizer": {"params": {"betas": [0.9, 1]}}})"), "must be in [0, 1), not 1"));
  CHECK(contains(resolve_error(R"({"optimizer": {"params": {"betas": [0.9, "x"]}}})"), "must hold numbers, not \"x\""));
  CHECK(resolve_text(R"({"gradient_clipping": 0})").gradient_clipping == 0.0);
}

TEST_CASE("schedules take DeepSpeed's parameters and defaults") {
  const auto schedule = [](std::string_view type, std::string_view params) {
    return resolve_text(fmt::format(R"({{"optimizer": {{"params": {{"lr": 0.5}}}},
        "scheduler": {{"type": "{}", "params": {{{}}}}}}})",
                                    type, params))
        .schedule;
  };
  const ScheduleConfig warmup = schedule("WarmupLR", "");
  CHECK(warmup.type == ScheduleType::kWarmup);
  CHECK(warmup.warmup_min_lr == 0.0);
  CHECK(warmup.warmup_max_lr == 0.5);  // the optimizer's
  CHECK(warmup.warmup_num_steps == 1000);
  CHECK(warmup.warmup_type == WarmupType::kLog);

  const ScheduleConfig decay = schedule("WarmupDecayLR", R"("total_num_steps": 1e3, "warmup_num_steps": 5.0,
      "warmup_type": "linear")");
  CHECK(decay.warmup_max_lr == 0.001);  // not the optimizer's
  CHECK(decay.total_num_steps == 1000);
  CHECK(decay.warmup_num_steps == 5);
  CHECK(decay.warmup_type == WarmupType::kLinear);

  const ScheduleConfig cosine = schedule("WarmupCosineLR", R"("total_num_steps": 300, "warmup_num_steps": "auto")");
  CHECK(cosine.type == ScheduleType::kWarmupCosine);
  CHECK(cosine.warmup_num_steps == 9);  // 3 % of 300
  CHECK(cosine.warmup_min_ratio == 0.0);
  CHECK(cosine.cos_min_ratio == 1e-4);

  const ScheduleConfig cycle =
      schedule("OneCycle", R"("cycle_min_lr": 0.1, "cycle_max_lr": 0.2, "cycle_momentum": false,
      "cycle_first_step_size": 7, "cycle_first_stair_count": 3)");
  CHECK(cycle.type == ScheduleType::kOneCycle);
  CHECK(cycle.cycle_second_step_size == 7);
  CHECK(cycle.cycle_second_stair_count == 3);
  CHECK(cycle.decay_step_size == 0);

  const ScheduleConfig range =
      schedule("LRRangeTest", R"("lr_range_test_step_size": 10, "lr_range_test_staircase": true)");
  CHECK(range.type == ScheduleType::kLrRangeTest);
  CHECK(range.lr_range_test_min_lr == 1e-3);
  CHECK(range.lr_range_test_step_rate == 1.0);
  CHECK(range.lr_range_test_step_size == 10);
  CHECK(range.lr_range_test_staircase);

  CHECK(schedule("constant", "").type == ScheduleType::kConstant);
  CHECK(schedule("linear", "\"total_num_steps\": 12").total_num_steps == 12);
}

TEST_CASE("schedules that cannot be are refused and doubtful ones warn") {
  const auto text = [](std::string_view type, std::string_view params) {
    return fmt::format(R"({{"scheduler": {{"type": "{}", "params": {{{}}}}}}})", type, params);
  };
  CHECK(contains(resolve_error(text("WarmupDecayLR", "")), "WarmupDecayLR needs scheduler.params.total_num_steps"));
  CHECK(contains(resolve_error(text("WarmupCosineLR", "")), "WarmupCosineLR needs scheduler.params.total_num_steps"));
  CHECK(contains(resolve_error(text("WarmupLR", "\"warmup_num_steps\": 0")), "must be > 0, not 0"));
  CHECK(contains(resolve_error(text("WarmupLR", "\"warmup_num_steps\": 1.5")), "must be an integer"));
  CHECK(
      contains(resolve_error(text("OneCycle", "\"cycle_max_lr\": 1")), "OneCycle needs scheduler.params.cycle_min_lr"));
  CHECK(resolve_error(text("OneCycle", "\"cycle_min_lr\": 0, \"cycle_max_lr\": 1")) == "");
  CHECK(any_contains(resolve_text(text("WarmupLR", "\"warmup_type\": \"cubic\"")).warnings, "\"cubic\" is not known"));
  const TrainConfig early = resolve_text(text("WarmupDecayLR", "\"total_num_steps\": 20, \"warmup_num_steps\": 30"));
  CHECK(any_contains(early.warnings, "total_num_steps 20 is less than warmup_num_steps 30"));
  CHECK(any_contains(early.warnings, "total_num_steps 20 is less than the run's 225 steps"));
}

TEST_CASE("combinations of stage and offload follow DeepSpeed's rules") {
  struct Case {
    int stage;
    const char *offload, *error, *warning;
    bool optimizer, param;
  };
  const Case cases[] = {
      {1, R"("offload_optimizer": {"device": "cpu"})", "", "", true, false},
      {2, R"("offload_optimizer": {"device": "cpu"})", "", "", true, false},
      {0, R"("offload_optimizer": {"device": "cpu"})", "needs a zero_optimization.stage of 1, 2 or 3, not 0", "", false,
       false},
      {0, R"("offload_optimizer": {"device": "nvme"})", "needs a zero_optimization.stage of 1, 2 or 3, not 0", "",
       false, false},
      {0, R"("offload_optimizer": {})", "", "", false, false},
      {1, R"("offload_param": {"device": "cpu"})", "", "offload_param needs stage 3; in stage 1", false, false},
      {2, R"("offload_param": {"device": "nvme"})", "", "offload_param needs stage 3; in stage 2", false, false},
      {3, R"("offload_param": {"device": "cpu"})", "", "", false, true},
      {3, R"("offload_param": {"device": "nvme"})", "\"nvme\" is not supported; use \"cpu\"", "", false, false},
      {2, R"("offload_optimizer": {"device": "nvme"})", "", "stage 2 takes cpu, as DeepSpeed does", true, false},
      {3, R"("offload_optimizer": {"device": "nvme"})", "\"nvme\" is not supported; use \"cpu\"", "", false, false},
      {2, R"("offload_optimizer": {"device": "cpu", "ratio": 0.5})", "ratio below 1 needs stage 3, not stage 2", "",
       false, false},
      {3, R"("offload_optimizer": {"device": "cpu", "ratio": 0.5})", "", "", true, false},
      {1, R"("allgather_bucket_size": 7)", "must be even, not 7", "", false, false},
  };
  for (const Case& c : cases) {
    const std::string text = fmt::format(R"({{"zero_optimization": {{"stage": {}, {}}}}})", c.stage, c.offload);
    INFO(text);
    if (*c.error != '\0') {
      CHECK(contains(resolve_error(text), c.error));
      continue;
    }
    const TrainConfig config = resolve_text(text);
    CHECK(config.zero.offload_optimizer.enabled == c.optimizer);
    CHECK(config.zero.offload_param.enabled == c.param);
    CHECK(config.warnings.size() == (*c.warning == '\0' ? 0 : 1));
    if (!config.warnings.empty()) CHECK(contains(config.warnings[0], c.warning));
  }
}

TEST_CASE("auto sizes of stage 3 keep DeepSpeed's defaults below it") {
  const char* text =
      R"({"zero_optimization": {"stage": 2, "reduce_bucket_size": "auto", "stage3_prefetch_bucket_size": "auto",
      "stage3_param_persistence_threshold": "auto"}})";
  const ZeroConfig zero = resolve_text(text).zero;
  CHECK(zero.reduce_bucket_size == 4096);
  CHECK(zero.prefetch_bucket_size == 50000000);
  CHECK(zero.param_persistence_threshold == 100000);
  CHECK(resolve_text("{}").zero.reduce_bucket_size == 500000000);
}

TEST_CASE("--set overrides any key, also under its other name, and adds sections") {
  const TrainConfig c =
      resolve_text(R"({"bf16": {"enabled": false}, "zero_optimization": {"stage": 1}})", 1,
                   set_flags({"bfloat16.enabled=true", "zero_optimization.stage=3",
                              "zero_optimization.offload_param={\"device\": \"cpu\"}", "llama_zero.model=125m",
                              "optimizer.params.lr=1e-4", "llama_zero.seed=7", "llama_zero.seed=8"}));
  CHECK(c.dtype == DType::kBF16);
  CHECK(c.zero.stage == 3);
  CHECK(c.zero.offload_param.enabled);
  CHECK(c.run.model == "125m");
  CHECK(c.run.seed == 8);
  CHECK(c.optimizer.lr == 1e-4);
  CHECK(origin_of(c, "zero_optimization.stage").origin == "--set");
  const auto error = [](const std::string& text) {
    return message_of([&] { resolve_text("{}", 1, set_flags({text})); });
  };
  CHECK(error("zero_optimization.stag=3") ==
        "--set: unknown key \"stag\" in zero_optimization; did you mean \"stage\"?");
  CHECK(error("zero_optimization.stage=x") == "--set: zero_optimization.stage must be an integer, not \"x\"");
  CHECK(contains(error("train_batch_size.x=3"), "train_batch_size"));
}

TEST_CASE("a verbatim override is a string whatever it looks like") {
  ConfigFlags flags;
  flags.overrides.push_back({"llama_zero.run_name", "123", "--run-name", true});
  const TrainConfig c = resolve_text("{}", 1, flags);
  CHECK(c.run.run_name == "123");
  CHECK(origin_of(c, "llama_zero.run_name").origin == "--run-name");
}

TEST_CASE("the print says where each value comes from") {
  const TrainConfig c =
      resolve_text("{\n\"train_batch_size\": 16,\n\"zero_optimization\": {\"round_robin_gradients\": true}}", 2,
                   set_flags({"optimizer.params.lr=auto"}));
  CHECK(origin_of(c, "train_batch_size").origin == "ds.json:2");
  CHECK(origin_of(c, "train_batch_size").value == "16");
  CHECK(origin_of(c, "train_micro_batch_size_per_gpu").origin == "derived: train_batch_size / ranks");
  CHECK(origin_of(c, "optimizer.params.lr").origin == "auto: the preset's");
  CHECK(origin_of(c, "gradient_clipping").origin == "default");
  CHECK(origin_of(c, "zero_optimization.round_robin_gradients").effect == "no effect here");
  const std::string print = print_resolved(c);
  CHECK(contains(print, "zero_optimization.round_robin_gradients"));
  CHECK(contains(print, "ds.json:3 (no effect here)\n"));
  CHECK(contains(print, "auto: the preset's\n"));
}

TEST_CASE("the resolved config loads again and gives the same run") {
  for (const char* name : {"ds_config_zero2.json", "ds_config_zero3.json", "lab_zero1_block.json",
                           "lab_zero2_block.json", "lab_zero3_block.json"}) {
    const TrainConfig first = resolve_file(name, 1, set_flags({"llama_zero.run_name=\"12\"", "llama_zero.epochs=2"}));
    ResolveFacts other = facts_of(1);
    other.preset_learning_rate = 7.0;  // nothing is left to decide
    other.hidden_size = 8;
    const std::string text = resolved_json(first);
    const TrainConfig again = resolve(parse_config(text, "resolved.json", {}), other);
    CHECK(fingerprint(first) == fingerprint(again));
  }
}
