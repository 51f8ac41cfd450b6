#include "launcher/config_values.h"
#include "launcher/json_document.h"
#include "launcher/schema_coerce.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

ConfigValues values_of(std::string_view text, std::vector<std::string>& warnings) {
  JsonValue root = parse_json(text, "ds.json");
  canonicalise_names(root, "ds.json", warnings);
  return ConfigValues(root, "ds.json", warnings);
}

ConfigValues values_of(std::string_view text) {
  std::vector<std::string> warnings;
  return values_of(text, warnings);
}

std::string values_error(std::string_view text) {
  return message_of([&] { values_of(text); });
}

std::vector<std::string> warnings_of(std::string_view text) {
  std::vector<std::string> warnings;
  values_of(text, warnings);
  return warnings;
}

/// `text` of one key of zero_optimization, a strict section.
std::string zero(std::string_view text) { return fmt::format("{{\"zero_optimization\": {{{}}}}}", text); }

}  // namespace

TEST_CASE("integers of strict sections coerce as pydantic does") {
  struct Case {
    const char* text;
    std::int64_t want;
  };
  const Case good[] = {{"200", 200}, {"2e8", 200000000}, {"2.0", 2}, {"\"200\"", 200}, {"\" +7 \"", 7}, {"true", 1}};
  for (const Case& c : good) {
    CHECK(values_of(zero(fmt::format("\"reduce_bucket_size\": {}", c.text)))
              .integer("zero_optimization.reduce_bucket_size") == c.want);
  }
  for (const char* bad : {"2.5", "\"2e8\"", "\"x\"", "null", "[1]", "{}", "1e30", "\"\"", "\"0x10\""}) {
    const std::string message = values_error(zero(fmt::format("\"reduce_bucket_size\": {}", bad)));
    INFO(bad, " -> ", message);
    CHECK(contains(message, "ds.json:1: zero_optimization.reduce_bucket_size must be an integer"));
  }
  CHECK(contains(values_error(zero("\"reduce_bucket_size\": false")), "must be > 0, not 0"));
}

TEST_CASE("bools of strict sections coerce as pydantic does") {
  for (const char* yes : {"true", "1", "1.0", "\"true\"", "\"True\"", "\"1\"", "\"yes\"", "\"on\""}) {
    CHECK(values_of(fmt::format("{{\"fp16\": {{\"enabled\": {}}}}}", yes)).flag("fp16.enabled"));
  }
  for (const char* no : {"false", "0", "\"false\"", "\"off\"", "\"N\""}) {
    CHECK_FALSE(values_of(fmt::format("{{\"fp16\": {{\"enabled\": {}}}}}", no)).flag("fp16.enabled"));
  }
  for (const char* bad : {"2", "\"maybe\"", "null", "[]"}) {
    CHECK(contains(values_error(fmt::format("{{\"fp16\": {{\"enabled\": {}}}}}", bad)), "must be true or false"));
  }
}

TEST_CASE("numbers and words are checked against their range") {
  struct Case {
    const char *text, *message;
  };
  const Case cases[] = {
      {R"({"zero_optimization": {"stage": 4}})", "zero_optimization.stage must be in 0 .. 3, not 4"},
      {R"({"zero_optimization": {"stage": -1}})", "must be in 0 .. 3, not -1"},
      {R"({"zero_optimization": {"stage": "two"}})", "must be an integer, not \"two\""},
      {R"({"fp16": {"loss_scale": -1}})", "fp16.loss_scale must be >= 0, not -1"},
      {R"({"fp16": {"loss_scale": true}})", "fp16.loss_scale must be a number, not true"},
      {R"({"fp16": {"loss_scale": "inf"}})", "fp16.loss_scale must be a number"},
      {R"({"fp16": {"min_loss_scale": 0}})", "fp16.min_loss_scale must be > 0, not 0"},
      {R"({"zero_optimization": {"offload_optimizer": {"device": "CPU"}}})",
       "must be one of none, cpu, nvme, not \"CPU\"; did you mean \"cpu\"?"},
      {R"({"zero_optimization": {"offload_optimizer": {"ratio": 1.5}}})", "must be in 0 .. 1, not 1.5"},
      {R"({"communication_data_type": "int8"})", "must be one of fp16, bf16, fp32, not \"int8\""},
      {R"({"llama_zero": {"device": "gpu"}})", "must be one of auto, cpu, cuda, not \"gpu\""},
      {R"({"llama_zero": {"sequence_length": 0}})", "llama_zero.sequence_length must be > 0, not 0"},
      {R"({"optimizer": {"params": {"lr": "2e-5"}}})", "must be a number, not \"2e-5\"; leave the quotes out"},
      {R"({"optimizer": {"params": {"betas": 0.9}}})", "optimizer.params.betas must be a list, not 0.9"},
      {R"({"fp16": true})", "fp16 must be an object { ... }, not true"},
      {R"({"optimizer": "AdamW"})", "optimizer must be an object"},
      {R"({"gradient_clipping": null})", "gradient_clipping must be a number, not null"},
  };
  for (const Case& c : cases) {
    const std::string message = values_error(c.text);
    INFO(c.text, " -> ", message);
    CHECK(message.starts_with("ds.json:1: "));
    CHECK(contains(message, c.message));
  }
  CHECK(values_of(R"({"communication_data_type": "FP16"})").text("communication_data_type") == "fp16");
}

TEST_CASE("unknown keys are errors in strict sections and one warning in loose ones") {
  CHECK(values_error("{\n\"zero_optimization\": {\n\"stag\": 2}}") ==
        "ds.json:3: unknown key \"stag\" in zero_optimization; did you mean \"stage\"?");
  CHECK(values_error(R"({"llama_zero": {"sequence_lenght": 2}})") ==
        "ds.json:1: unknown key \"sequence_lenght\" in llama_zero; did you mean \"sequence_length\"?");
  CHECK(values_error(R"({"zero_optimization": {"grad_hooks": true}})") ==
        "ds.json:1: unknown key \"grad_hooks\" in zero_optimization");
  CHECK(values_error(R"({"optimizer": {"type": "AdamW", "params": {"betas2": 1}}})") ==
        "ds.json:1: AdamW has no parameter \"betas2\"; did you mean \"betas\"?");
  CHECK(contains(values_error(R"({"scheduler": {"type": "WarmupLR", "params": {"total_num_steps": 5}}})"),
                 "WarmupLR has no parameter \"total_num_steps\""));
  for (const char* strict : {"fp16", "bf16", "bfloat16", "tensorboard", "csv_monitor", "wandb", "comet", "comms_logger",
                             "tensor_parallel"}) {
    CHECK(contains(values_error(fmt::format("{{\"{}\": {{\"surely_unknown\": 1}}}}", strict)), "unknown key"));
  }
  const auto warnings = warnings_of(R"({"train_batchsize": 3, "_comment": "x", "flops_profiler": {"enable": false}})");
  REQUIRE(warnings.size() == 3);
  CHECK(warnings[0] ==
        "ds.json:1: unknown key \"train_batchsize\" at the top level is ignored; did you mean \"train_batch_size\"?");
  CHECK(warnings[1] == "ds.json:1: unknown key \"_comment\" at the top level is ignored");
  CHECK(contains(warnings[2], "in flops_profiler is ignored; did you mean \"enabled\"?"));
}

TEST_CASE("types of optimizer and scheduler are known, supported, or refused by name") {
  for (const char* type : {"adamw", "ADAMW", "AdamW"}) {
    CHECK(values_of(fmt::format(R"({{"optimizer": {{"type": "{}"}}}})", type)).optimizer_type() == "AdamW");
  }
  CHECK(values_of(R"({"optimizer": {"type": "lion"}})").optimizer_type() == "Lion");
  CHECK(contains(values_error(R"({"optimizer": {"type": "lamb"}})"), "\"Lamb\" does not run here"));
  CHECK(contains(values_error(R"({"optimizer": {"type": 3}})"), "optimizer.type must be a string, not 3"));
  CHECK(contains(values_error(R"({"scheduler": {"type": "WarmupDecayLr"}})"), "did you mean \"WarmupDecayLR\"?"));
  CHECK(contains(values_error(R"({"scheduler": {"type": "StepLR"}})"), "\"StepLR\" is torch.optim.lr_scheduler's"));
}

TEST_CASE("auto without a rule is the default in strict sections and an error elsewhere") {
  const ConfigValues values = values_of(R"({"zero_optimization": {"sub_group_size": "auto", "overlap_comm": "auto",
      "offload_optimizer": {"pin_memory": "auto"}}, "fp16": {"loss_scale": "auto"}})");
  CHECK_FALSE(values.is_set("zero_optimization.sub_group_size"));
  CHECK_FALSE(values.is_set("zero_optimization.offload_optimizer.pin_memory"));
  CHECK(values.number("fp16.loss_scale") == 0.0);
  CHECK(values_of(R"({"optimizer": {"params": {"lr": "auto"}}})").is_auto("optimizer.params.lr"));
  CHECK(values_error(R"({"wall_clock_breakdown": "auto"})") ==
        "ds.json:1: \"auto\" has no rule for wall_clock_breakdown; give a value");
  CHECK(contains(values_error(R"({"scheduler": {"type": "WarmupLR", "params": {"warmup_type": "auto"}}})"),
                 "has no rule"));
  CHECK(values_of(R"({"llama_zero": {"device": "auto"}, "pipeline": {"stages": "auto"}})").text("llama_zero.device") ==
        "auto");
}

TEST_CASE("other names of a key are its own, old ones warn, two names are an error") {
  const ConfigValues values = values_of(
      R"({"bfloat16": {"enabled": true}, "zero_optimization": {"prefetch_bucket_size": 7, "max_live_parameters": 8}})");
  CHECK(values.flag("bf16.enabled"));
  CHECK(values.integer("zero_optimization.stage3_prefetch_bucket_size") == 7);
  CHECK(values.integer("zero_optimization.stage3_max_live_parameters") == 8);
  const auto old = warnings_of(zero("\"stage3_gather_fp16_weights_on_model_save\": true"));
  REQUIRE(old.size() == 1);
  CHECK(old[0] ==
        "ds.json:1: stage3_gather_fp16_weights_on_model_save is deprecated; use "
        "stage3_gather_16bit_weights_on_model_save");
  CHECK(contains(values_error(R"({"bf16": {}, "bfloat16": {}})"), "both bfloat16 and bf16 are given; keep bf16"));
  CHECK(contains(values_error(zero("\"prefetch_bucket_size\": 1, \"stage3_prefetch_bucket_size\": 1")),
                 "are given; keep"));
}

TEST_CASE("a bare zero_optimization is stage 1 and cpu_offload is offload_optimizer") {
  std::vector<std::string> warnings;
  CHECK(
      values_of(R"({"zero_optimization": true, "allgather_size": 1e8})", warnings).integer("zero_optimization.stage") ==
      1);
  REQUIRE(warnings.size() == 1);
  CHECK(contains(warnings[0], "\"zero_optimization\": true is deprecated; it means {\"stage\": 1}"));
  CHECK(values_of(R"({"zero_optimization": false})").integer("zero_optimization.stage") == 0);

  const ConfigValues offload = values_of(zero("\"stage\": 3, \"cpu_offload\": true, \"cpu_offload_param\": true"));
  CHECK(offload.text("zero_optimization.offload_optimizer.device") == "cpu");
  CHECK(offload.text("zero_optimization.offload_param.device") == "cpu");
  CHECK(values_of(zero("\"cpu_offload\": false")).text("zero_optimization.offload_optimizer.device") == "none");
  CHECK(any_contains(warnings_of(zero("\"cpu_offload\": true")), "cpu_offload is deprecated; use offload_optimizer"));
  CHECK(contains(values_error(zero("\"cpu_offload\": true, \"offload_optimizer\": {}")),
                 "both cpu_offload and offload_optimizer are given"));
  CHECK(any_contains(warnings_of(zero("\"cpu_offload_use_pin_memory\": true")),
                     "use pin_memory of the offload sections"));
}

TEST_CASE("what is refused says why and what to do") {
  struct Case {
    const char *text, *message;
  };
  const Case cases[] = {
      {R"({"optimizer": {"params": {"amsgrad": true}}})", "DeepSpeed's Adam has no AMSGrad"},
      {R"({"optimizer": {"params": {"max_grad_norm": 1}}})", "use the top-level key gradient_clipping"},
      {R"({"amp": {"enabled": true}})", "Apex is not supported"},
      {R"({"zero_optimization": {"legacy_stage1": true}})", "DeepSpeed removed it"},
      {R"({"tensor_parallel": {"autotp_size": 2}})", "tensor parallelism is not supported"},
      {R"({"tensor_parallel": {"tp": {"tp_size": 4}}})", "tensor parallelism is not supported"},
      {R"({"sequence_parallel_size": 2})", "sequence parallelism is not supported"},
      {R"({"data_parallel_size": 2})", "leave it out"},
      {R"({"dataloader_drop_last": true})", "set false"},
      {R"({"scheduler": {"type": "OneCycle", "params": {"last_batch_iteration": 3}}})", "leave it out"},
  };
  for (const Case& c : cases) {
    const std::string message = values_error(c.text);
    INFO(c.text, " -> ", message);
    CHECK(message.starts_with("ds.json:1: "));
    CHECK(contains(message, c.message));
  }
}

TEST_CASE("refused keys at the value that changes nothing are accepted") {
  const auto warnings = warnings_of(R"({
    "optimizer": {"type": "Adam", "params": {"adam_w_mode": true, "amsgrad": false, "max_grad_norm": null}},
    "gradient_predivide_factor": 1, "prescale_gradients": false, "gradient_allreduce_op": "mean",
    "tensor_parallel": {"autotp_size": 1, "tp": {"tp_size": 1}}, "sequence_parallel_size": 1, "amp": {"enabled": false},
    "elasticity": {"enabled": false, "min_gpus": 1}})");
  for (const std::string& warning : warnings) MESSAGE(warning);
  CHECK(warnings.empty());
}

TEST_CASE("a key without effect warns once when it asks for something") {
  struct Case {
    const char *text, *warning;  // "" : none
  };
  const Case cases[] = {
      {R"({"wall_clock_breakdown": false})", ""},
      {R"({"steps_per_print": null})", ""},
      {R"({"zero_optimization": {"contiguous_gradients": false, "overlap_comm": true}})", ""},
      {R"({"zero_optimization": {"sub_group_size": 1e9}})", ""},
      {R"({"zero_optimization": {"zero_quantized_weights": true}})", "ZeRO++ is not supported"},
      {R"({"zero_optimization": {"zero_hpz_partition_size": 8}})", "ZeRO++ is not supported"},
      {R"({"zero_optimization": {"mics_shard_size": 4}})", "MiCS is not supported"},
      {R"({"wandb": {"enabled": true}})", "wandb.enabled = true has no effect"},
      {R"({"torch_autocast": {"enabled": true}})", "there is no autocast"},
      {R"({"autotuning": {"enabled": true}})", "autotuning is not supported"},
      {R"({"optimizer": {"type": "AdamW", "params": {"adam_w_mode": false}}})", "always decouples"},
      {R"({"compression_training": {"weight_quantization": {"shared_parameters": {"enabled": false}}}})", ""},
      {R"({"compression_training": {"weight_quantization": {"shared_parameters": {"enabled": true}}}})",
       "compression_training: it is not supported"},
      {R"({"curriculum_learning": {"enabled": true}})", "curriculum_learning: it is not supported"},
      {R"({"compile": {}})", ""},
      {R"({"sparse_attention": {"mode": "fixed"}})", "sparse_attention: it is not supported"},
      {R"({"zero_optimization": {"leaf_module": {"classes": []}}})", ""},
      {R"({"pipeline": {"stages": 2}})", "pipeline parallelism is not supported"},
  };
  for (const Case& c : cases) {
    const auto warnings = warnings_of(c.text);
    INFO(c.text);
    CHECK(warnings.size() == (std::string_view(c.warning).empty() ? 0 : 1));
    if (!warnings.empty()) CHECK(contains(warnings[0], c.warning));
  }
}
