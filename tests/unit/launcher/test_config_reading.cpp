// How a config is read, case by case as DeepSpeed reads it: grammar, coercions, old names, combinations.
#include "launcher/json_document.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

struct Case {
  const char* text;
  int ranks;
  const char* outcome;  ///< "": valid without a warning; "error: ..." or "warning: ...", a part of the message
};

void check(const Case& c) {
  std::vector<std::string> warnings;
  const std::string message = message_of([&] { warnings = resolve_text(c.text, c.ranks).warnings; });
  const std::string_view outcome = c.outcome;
  INFO(c.text, " -> ", message, warnings.empty() ? "" : warnings[0]);
  if (outcome.starts_with("error: ")) {
    CHECK(contains(message, outcome.substr(7)));
    return;
  }
  CHECK(message == "");
  if (outcome.empty()) {
    CHECK(warnings.empty());
  } else {
    REQUIRE(warnings.size() == 1);
    CHECK(contains(warnings[0], outcome.substr(9)));
  }
}

std::string base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    const auto byte = [&](std::size_t k) -> unsigned {
      return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0U;
    };
    const unsigned bits = byte(0) << 16U | byte(1) << 8U | byte(2);
    for (unsigned k = 0; k < 4; ++k) out += i + k > text.size() ? '=' : kDigits[bits >> (18U - 6U * k) & 63U];
  }
  return out;
}

}  // namespace

TEST_CASE("grammar and validation are DeepSpeed's") {
  const Case cases[] = {
      {"{# a\n\"train_batch_size\": 8, // b\n /* c */ }", 1, ""},
      {R"({"train_batch_size": 8, "train_batch_size": 8})", 1, "error: duplicate key \"train_batch_size\""},
      {R"({"fp16": {"enabled": true, "enabled": true}})", 1, "error: duplicate key \"enabled\""},
      {R"({"surely_unknown": 1})", 1, "warning: unknown key \"surely_unknown\""},
      {R"({"activation_checkpointing": {"surely_unknown": 1}})", 1, "warning: unknown key"},
      {R"({"timers": {"throughput": {"surely_unknown": 1}}})", 1, "error: unknown key"},
      {R"({"zero_optimization": {"offload_param": {"surely_unknown": 1}}})", 1, "error: unknown key"},
      {R"({"optimizer": {"surely_unknown": 1}})", 1, "warning: unknown key"},
      {R"({"zero_optimization": {"reduce_bucket_size": 2e8, "sub_group_size": "1000000000"}})", 1, ""},
      {R"({"zero_optimization": {"reduce_bucket_size": 2.5}})", 1, "error: must be an integer, not 2.5"},
      {R"({"zero_optimization": {"reduce_bucket_size": "2e8"}})", 1, "error: must be an integer"},
      {R"({"zero_optimization": {"reduce_bucket_size": null}})", 1, "error: must be an integer, not null"},
      {R"({"zero_optimization": {"reduce_bucket_size": 0}})", 1, "error: must be > 0, not 0"},
      {R"({"zero_optimization": {"allgather_bucket_size": 0, "zero_hpz_partition_size": 1}})", 1, ""},
      {R"({"zero_optimization": {"overlap_comm": null, "cpu_offload": null, "offload_param": null}})", 1, ""},
      {R"({"zero_optimization": {"overlap_comm": "true", "contiguous_gradients": 1}})", 1, ""},
      {R"({"zero_optimization": {"stage": "2"}})", 1, ""},
      {R"({"zero_optimization": {"stage": 2.0}})", 1, ""},
      {R"({"zero_optimization": {"stage": true}})", 1, ""},
      {R"({"zero_optimization": {"stage": 4}})", 1, "error: must be in 0 .. 3, not 4"},
      {R"({"zero_optimization": true, "allgather_size": 5e8})", 1, "warning: it means {\"stage\": 1}"},
      {R"({"zero_optimization": false})", 1, "warning: it means {\"stage\": 0}"},
      {R"({"zero_optimization": {"offload_optimizer": {"device": "CPU"}}})", 1, "error: did you mean \"cpu\"?"},
      {R"({"zero_optimization": {"offload_optimizer": {"device": "auto", "buffer_count": "auto"}}})", 1, ""},
      {R"({"zero_optimization": {"stage": "auto", "offload_optimizer": "auto"}})", 1, ""},
      {R"({"zero_optimization": "auto"})", 1, "error: zero_optimization must be an object"},
      {R"({"steps_per_print": "auto"})", 1, "error: \"auto\" has no rule for steps_per_print"},
      {R"({"zero_optimization": {"grad_hooks": true}})", 1, "error: unknown key \"grad_hooks\""},
  };
  for (const Case& c : cases) check(c);
}

TEST_CASE("old and other names are DeepSpeed's") {
  const Case cases[] = {
      {R"({"bfloat16": {"enabled": true}})", 1, ""},
      {R"({"bf16": {"enabled": true}, "bfloat16": {"enabled": true}})", 1, "error: both bfloat16 and bf16 are given"},
      {R"({"zero_optimization": {"stage": 3, "prefetch_bucket_size": 10, "param_persistence_threshold": 10}})", 1, ""},
      {R"({"zero_optimization": {"stage": 3, "gather_16bit_weights_on_model_save": true}})", 1, ""},
      {R"({"zero_optimization": {"stage3_gather_fp16_weights_on_model_save": true}})", 1,
       "warning: is deprecated; use"},
      {R"({"zero_optimization": {"stage": 1, "cpu_offload": true}})", 1,
       "warning: cpu_offload is deprecated; use offload_optimizer"},
      {R"({"zero_optimization": {"stage": 2, "cpu_offload": false}})", 1, "warning: cpu_offload is deprecated"},
      {R"({"zero_optimization": {"stage": 2, "cpu_offload": true, "offload_optimizer": {"device": "cpu"}}})", 1,
       "error: both cpu_offload and offload_optimizer are given; keep offload_optimizer"},
      {R"({"zero_optimization": {"stage": 3, "cpu_offload_param": false, "offload_param": {"device": "cpu"}}})", 1,
       "error: both cpu_offload_param and offload_param are given"},
      {R"({"zero_optimization": {"legacy_stage1": true}})", 1, "error: DeepSpeed removed it; use stage 1"},
  };
  for (const Case& c : cases) check(c);
}

TEST_CASE("combinations are accepted and refused as DeepSpeed does") {
  const Case cases[] = {
      {R"({"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "cpu"}}})", 2, ""},
      {R"({"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}})", 2,
       "warning: offload_param needs stage 3; in stage 2 weights stay on the device"},
      {R"({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "nvme", "nvme_path": "/d"}}})", 2,
       "warning: stage 2 takes cpu, as DeepSpeed does"},
      {R"({"zero_optimization": {"stage": 0, "offload_optimizer": {"device": "cpu"}}})", 1,
       "error: offload_optimizer needs a zero_optimization.stage of 1, 2 or 3, not 0"},
      {R"({"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "cpu", "ratio": 0.5}}})", 1,
       "error: ratio"},
      {R"({"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}})", 2, ""},
      {R"({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "nvme"}}})", 2,
       "error: \"nvme\" is not supported; use \"cpu\""},
      {R"({"fp16": {"enabled": true, "fp16_master_weights_and_grads": true}})", 1,
       "error: fp16.fp16_master_weights_and_grads needs a zero_optimization.stage of 1, 2 or 3"},
      {R"({"fp16": {"enabled": true}, "bf16": {"enabled": true}})", 1, "error: both enabled; keep one"},
      {R"({"fp16": {"enabled": true}, "amp": {"enabled": true}})", 1, "error: Apex is not supported"},
      {R"({"optimizer": {"type": "OneBitAdam"}, "zero_optimization": {"stage": 2}})", 1, "error: \"OneBitAdam\""},
      {R"({"optimizer": {"type": "AdamW", "params": {"max_grad_norm": 1}}})", 1, "error: gradient_clipping"},
      {R"({"tensor_parallel": {"autotp_size": 4}})", 4, "error: tensor parallelism is not supported"},
      {R"({"sequence_parallel_size": 2})", 4, "error: sequence parallelism is not supported"},
  };
  for (const Case& c : cases) check(c);
}

TEST_CASE("a triad that does not fit names the ranks and a value that does") {
  const Case cases[] = {
      {R"({"train_batch_size": 32, "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 32})", 4,
       "error: train_batch_size 32 != 1 micro x 32 accumulation x 4 ranks; use gradient_accumulation_steps 8"},
      {R"({"train_batch_size": 30})", 4,
       "error: train_batch_size 30 != 7 micro x 1 accumulation x 4 ranks; use train_batch_size 32"},
      {R"({"gradient_accumulation_steps": 4})", 1, "error: alone does not say the batch"},
      {R"({"train_batch_size": 32.0, "gradient_accumulation_steps": 2.0})", 4, ""},
      {R"({"train_batch_size": 32.5})", 4, "error: must be an integer, not 32.5"},
      {R"({"train_micro_batch_size_per_gpu": 0})", 4, "error: must be > 0, not 0"},
      {R"({"train_batch_size": null, "train_micro_batch_size_per_gpu": 3, "gradient_accumulation_steps": null})", 4,
       ""},
  };
  for (const Case& c : cases) check(c);
}

TEST_CASE("a config argument that is no path is tried as url-safe base64") {
  for (const std::string_view text : {R"({"zero_optimization": {"stage": 3}})",
                                      R"({"zero_optimization": {"stage": 3}, "llama_zero": {"run_name": "~?"}})",
                                      "{ # three\n \"zero_optimization\": {\"stage\": 3} }"}) {
    for (const bool padded : {true, false}) {
      std::string argument = base64(text);
      if (!padded) argument.erase(argument.find_last_not_of('=') + 1);
      INFO(argument);
      const ConfigFile file = load_config(fs::path(argument), {});
      CHECK(file.source == "base64 config");
      CHECK(resolve(file, facts_of(1)).zero.stage == 3);
    }
  }
  const std::string broken = base64(R"({"zero_optimization": {"stage": }})");
  CHECK(contains(message_of([&] { load_config(fs::path(broken), {}); }), "base64 config:1:"));
  CHECK(contains(message_of([&] { load_config(fs::path(base64("no object")), {}); }), "does not exist"));
  CHECK(contains(message_of([] { load_config(fs::path("nosuchconfig"), {}); }), "does not exist"));
}

TEST_CASE("the short print has what is set or was decided, a line a section") {
  const TrainConfig config = resolve_text(R"({"train_batch_size": 16, "fp16": {"enabled": true, "hysteresis": 3},
      "zero_optimization": {"stage": 2, "reduce_bucket_size": "auto", "allgather_partitions": false}})",
                                          2, set_flags({"llama_zero.seed=7"}));
  const std::string print = print_settings(config);
  CHECK(contains(print, "fp16: enabled true, hysteresis 3\n"));
  CHECK(contains(print, "zero_optimization: stage 2, reduce_bucket_size 4096 (auto), "));
  CHECK(contains(print, "allgather_partitions false (no effect)"));
  CHECK(contains(print, "train_micro_batch_size_per_gpu 8 (derived)"));
  CHECK(contains(print, "llama_zero: seed 7 (--set)\n"));
  CHECK_FALSE(contains(print, "loss_scale"));
  const std::string narrow = print_settings(config, 40);
  std::size_t begin = 0;
  for (std::size_t end = narrow.find('\n'); end != std::string::npos; end = narrow.find('\n', begin)) {
    CHECK(end - begin <= 60);  // an entry of its own may be wider
    begin = end + 1;
  }
}
