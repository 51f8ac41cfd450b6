// "llama_zero.defaults_profile": the defaults of older DeepSpeed releases.
#include "launcher/defaults_profile.h"
#include "launcher/schedule.h"
#include "launcher/schema.h"
#include "launcher/schema_coerce.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

TrainConfig of_release(std::string_view release, std::string_view rest) {
  return resolve_text(fmt::format(R"({{"llama_zero": {{"defaults_profile": "{}"}}, {}}})", release, rest));
}

constexpr const char* kBf16 = R"("bf16": {"enabled": true})";
constexpr const char* kWarmup = R"("optimizer": {"type": "AdamW", "params": {"lr": 0.02}},
    "scheduler": {"type": "WarmupLR", "params": {}})";

std::string value_of(const TrainConfig& config, std::string_view key) { return origin_of(config, key).value; }

}  // namespace

TEST_CASE("the defaults profile brings back the defaults of an older DeepSpeed") {
  for (const char* release : {"newest", "0.19.3", "0.19.5", "0.20", "1.0.0"}) {
    INFO(release);
    CHECK(of_release(release, kBf16).gradient_clipping == 1.0);
    CHECK(of_release(release, kBf16).scaler.check_overflow);
  }
  for (const char* release : {"0.19.2", "0.19", "0.18.3", "0.9.5"}) {
    INFO(release);
    CHECK(of_release(release, kBf16).gradient_clipping == 0.0);
    CHECK_FALSE(of_release(release, kBf16).scaler.check_overflow);
  }
  CHECK(of_release("0.17.2", kWarmup).schedule.warmup_max_lr == 0.02);
  CHECK(of_release("0.17.1", kWarmup).schedule.warmup_max_lr == 0.001);
  CHECK(value_of(of_release("0.15.1", kBf16), "steps_per_print") == "10");
  CHECK(value_of(of_release("0.15.2", kBf16), "steps_per_print") == "");
  CHECK(value_of(of_release("0.19.4", kBf16), "zero_optimization.offload_param.pin_memory") == "false");
  CHECK(value_of(of_release("0.19.5", kBf16), "zero_optimization.offload_param.pin_memory") == "");
}

TEST_CASE("a profile changes nothing that the config says, and no other scheduler") {
  const TrainConfig said = of_release("0.15", R"("bf16": {"enabled": true, "check_grad_overflow": true},
      "gradient_clipping": 0.5, "steps_per_print": 7)");
  CHECK(said.gradient_clipping == 0.5);
  CHECK(said.scaler.check_overflow);
  CHECK(value_of(said, "steps_per_print") == "7");
  CHECK(of_release("0.15", R"("gradient_clipping": "auto")").gradient_clipping ==
        1.0);  // Hugging Face's, not a default
  const TrainConfig decay = of_release("0.15", R"("optimizer": {"type": "AdamW", "params": {"lr": 0.02}},
      "scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 300}})");
  CHECK(decay.schedule.warmup_max_lr == 0.001);  // its default in every release
  CHECK(origin_of(decay, "scheduler.params.warmup_max_lr").origin == "default");
}

TEST_CASE("a warmup of 0 updates is refused since 0.19.3 and as long as 1 before") {
  const char* zero = R"("scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 0}})";
  CHECK(contains(message_of([&] { of_release("0.19.3", zero); }), "must be > 0, not 0"));
  CHECK(of_release("0.19.2", zero).schedule.warmup_num_steps == 1);
}

TEST_CASE("WarmupCosineLR climbs again after its end before 0.19.3 and stays there since") {
  const char* cosine = R"("optimizer": {"type": "AdamW", "params": {"lr": 0.5}},
      "scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": 20, "warmup_num_steps": 2,
      "cos_min_ratio": 0.25}})";
  // Update 39 is t = 37: q = 36 / 18 = 2, where the cosine is 1 again. Update 21 is t = 19: q = 1.
  const auto lr = [&](std::string_view release, std::size_t update) {
    return schedule_rows(of_release(release, cosine))[update - 1].lr;
  };
  CHECK(lr("0.19.3", 39) == 0.125);
  CHECK(lr("0.19.2", 39) == 0.5);
  CHECK(lr("0.19.3", 21) == 0.125);
  CHECK(lr("0.19.2", 21) == 0.125);
  CHECK(any_contains(effective_defaults(of_release("0.18", cosine)), "WarmupCosineLR climbs again after its end"));
}

TEST_CASE("a profile that is no release is refused") {
  for (const char* text :
       {"", "0", "19", "0.x", "0.19.", ".19", "0.19.5.1", "-1.2", "0..1", "v0.18", "99999999999.1"}) {
    const std::string message = message_of([&] { of_release(text, kBf16); });
    INFO(text, " -> ", message);
    CHECK(contains(message, "must be \"newest\" or a DeepSpeed release such as"));
  }
}

TEST_CASE("the table's defaults are those of the newest release") {
  for (const ChangedDefault& changed : changed_defaults()) {
    const SchemaKey* key = find_schema_key(changed.key, changed.needs);
    REQUIRE(key != nullptr);
    INFO(changed.key);
    const bool words = key->default_text.starts_with('(');
    CHECK(key->default_text == (words ? fmt::format("({})", changed.new_value) : std::string(changed.new_value)));
    CHECK(changed.old_value != changed.new_value);
  }
}

TEST_CASE("the start of a run names the defaults that DeepSpeed changed, with the value in effect") {
  const auto lines = effective_defaults(of_release("newest", kBf16));
  CHECK(any_contains(lines, "gradient_clipping 1.0 (default; 0 before DeepSpeed 0.19.3)"));
  CHECK(any_contains(lines, "bf16.check_grad_overflow true (default; false before DeepSpeed 0.19.3)"));
  CHECK(any_contains(lines, "steps_per_print null (default; 10 before DeepSpeed 0.15.2)"));
  CHECK_FALSE(any_contains(lines, "pin_memory"));
  CHECK_FALSE(any_contains(lines, "warmup_max_lr"));
  const auto old = effective_defaults(of_release("0.18", kBf16));
  CHECK(any_contains(old, "gradient_clipping 0.0 (default before DeepSpeed 0.19.3)"));
  CHECK(any_contains(effective_defaults(of_release("0.18", R"("gradient_clipping": 2)")),
                     "gradient_clipping 2.0 (ds.json:1)"));
  CHECK_FALSE(any_contains(effective_defaults(of_release("0.18", R"("gradient_clipping": 2)")), "check_grad_overflow"));
  CHECK(any_contains(effective_defaults(of_release("newest", kWarmup)), "scheduler.params.warmup_max_lr"));
  CHECK(any_contains(effective_defaults(of_release("newest", R"("zero_optimization": {"stage": 2,
      "offload_optimizer": {"device": "cpu"}})")),
                     "offload_optimizer.pin_memory true (default; false before DeepSpeed 0.19.5)"));
}
