// What the keys of optimizer and scheduler do: updates are really made, rates really differ.
#include "launcher/optimizer_types.h"
#include "launcher/schema.h"
#include "optimizer_run.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

/// A key, a config that lets it act, and two of its values.
struct Effect {
  const char *key, *base, *first, *second;
};

TrainConfig with(const Effect& effect, const char* value) {
  return resolve_text(effect.base, 2, set_flags({fmt::format("{}={}", effect.key, value), "llama_zero.max_steps=60"}));
}

/// Weights after some updates with gradients that differ in size and sign.
std::vector<float> trained(const TrainConfig& config) {
  test::OptimizerRun<float> run(optimizer_options(config.optimizer), schedule_rows(config), {1.0, -2.0, 0.5, 0.25});
  for (int update = 1; update <= 6; ++update) {
    const double x = update % 2 == 0 ? -0.4 : 1.0;
    run.step({x, 0.1 * x * update, 3.0, -1e-4});
  }
  return run.weights();
}

constexpr const char* kAdamW = R"({"optimizer": {"type": "AdamW", "params": {"lr": 0.1, "weight_decay": 0.1}}})";
constexpr const char* kAdam = R"({"optimizer": {"type": "Adam", "params": {"lr": 0.1, "weight_decay": 0.1}}})";
constexpr const char* kAdamNoDecay = R"({"optimizer": {"type": "Adam", "params": {"lr": 0.1}}})";
constexpr const char* kAdamWNoDecay = R"({"optimizer": {"type": "AdamW", "params": {"lr": 0.1}}})";
constexpr const char* kLion = R"({"optimizer": {"type": "Lion", "params": {"lr": 0.01}}})";
constexpr const char* kAdagrad = R"({"optimizer": {"type": "Adagrad", "params": {"lr": 0.1}}})";
constexpr const char* kSgd = R"({"optimizer": {"type": "SGD", "params": {"lr": 0.1, "momentum": 0.5}}})";

constexpr Effect kUpdates[] = {
    {"optimizer.type", R"({"optimizer": {"params": {"lr": 0.1}}})", "\"AdamW\"", "\"Lion\""},
    {"optimizer.type", R"({"optimizer": {"params": {"lr": 0.1}}})", "\"Adagrad\"", "\"SGD\""},
    {"optimizer.params.lr", kAdamW, "0.1", "0.2"},
    {"optimizer.params.betas", kAdamW, "[0.9, 0.95]", "[0.9, 0.99]"},
    {"optimizer.params.betas", kAdamW, "[0.8, 0.95]", "[0.9, 0.95]"},
    {"optimizer.params.eps", kAdamW, "1e-8", "1e-3"},
    {"optimizer.params.weight_decay", kAdamW, "0", "0.1"},
    {"optimizer.params.bias_correction", kAdamW, "true", "false"},
    {"optimizer.params.torch_adam", kAdamWNoDecay, "false", "true"},
    {"optimizer.params.lr", kAdam, "0.1", "0.2"},
    {"optimizer.params.betas", kAdam, "[0.9, 0.95]", "[0.9, 0.99]"},
    {"optimizer.params.eps", kAdam, "1e-8", "1e-3"},
    {"optimizer.params.weight_decay", kAdam, "0", "0.1"},
    {"optimizer.params.bias_correction", kAdam, "true", "false"},
    {"optimizer.params.adam_w_mode", kAdam, "true", "false"},
    {"optimizer.params.torch_adam", kAdamNoDecay, "false", "true"},
    {"optimizer.params.lr", kLion, "0.01", "0.02"},
    {"optimizer.params.betas", kLion, "[0.99, 0.5]", "[0.1, 0.5]"},
    {"optimizer.params.betas", kLion, "[0.5, 0.99]", "[0.5, 0.1]"},
    {"optimizer.params.weight_decay", kLion, "0", "0.1"},
    {"optimizer.params.lr", kAdagrad, "0.1", "0.2"},
    {"optimizer.params.eps", kAdagrad, "1e-10", "1e-3"},
    {"optimizer.params.weight_decay", kAdagrad, "0", "0.1"},
    {"optimizer.params.lr_decay", kAdagrad, "0", "0.1"},
    {"optimizer.params.initial_accumulator_value", kAdagrad, "0", "0.1"},
    {"optimizer.params.lr", kSgd, "0.1", "0.2"},
    {"optimizer.params.weight_decay", kSgd, "0", "0.1"},
    {"optimizer.params.momentum", kSgd, "0", "0.5"},
    {"optimizer.params.dampening", kSgd, "0", "0.5"},
    {"optimizer.params.nesterov", kSgd, "false", "true"},
};

constexpr const char* kDecay = R"({"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 50,
    "warmup_num_steps": 10}}})";
constexpr const char* kWarmup = R"({"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 10}}})";
constexpr const char* kCosine = R"({"scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": 50,
    "warmup_num_steps": 10}}})";
constexpr const char* kLinear = R"({"scheduler": {"type": "linear", "params": {"total_num_steps": 50}}})";
constexpr const char* kCycle = R"({"scheduler": {"type": "OneCycle", "params": {"cycle_min_lr": 0.1,
    "cycle_max_lr": 0.2, "cycle_first_step_size": 15, "cycle_second_step_size": 10, "decay_step_size": 5}}})";
constexpr const char* kCycleWithDecay = R"({"scheduler": {"type": "OneCycle", "params": {"cycle_min_lr": 0.1,
    "cycle_max_lr": 0.2, "cycle_first_step_size": 15, "cycle_second_step_size": 10, "decay_lr_rate": 0.1}}})";
constexpr const char* kRange = R"({"scheduler": {"type": "LRRangeTest"}})";

constexpr Effect kRates[] = {
    {"scheduler.type", "{}", "\"linear\"", "\"constant\""},
    {"scheduler.params.warmup_min_lr", kWarmup, "0", "0.1"},
    {"scheduler.params.warmup_max_lr", kWarmup, "0.1", "0.2"},
    {"scheduler.params.warmup_num_steps", kWarmup, "10", "20"},
    {"scheduler.params.warmup_type", kWarmup, "\"log\"", "\"linear\""},
    {"scheduler.params.warmup_min_lr", kDecay, "0", "0.1"},
    {"scheduler.params.warmup_max_lr", kDecay, "0.1", "0.2"},
    {"scheduler.params.warmup_num_steps", kDecay, "10", "20"},
    {"scheduler.params.warmup_type", kDecay, "\"log\"", "\"linear\""},
    {"scheduler.params.total_num_steps", kDecay, "50", "40"},
    {"scheduler.params.warmup_num_steps", kCosine, "10", "20"},
    {"scheduler.params.warmup_type", kCosine, "\"log\"", "\"linear\""},
    {"scheduler.params.total_num_steps", kCosine, "50", "40"},
    {"scheduler.params.warmup_min_ratio", kCosine, "0", "0.1"},
    {"scheduler.params.cos_min_ratio", kCosine, "0", "0.1"},
    {"scheduler.params.total_num_steps", kLinear, "50", "40"},
    {"scheduler.params.cycle_min_lr", kCycle, "0.01", "0.02"},
    {"scheduler.params.cycle_max_lr", kCycle, "0.3", "0.4"},
    {"scheduler.params.decay_lr_rate", kCycle, "0", "0.1"},
    {"scheduler.params.cycle_first_step_size", kCycle, "10", "20"},
    {"scheduler.params.cycle_second_step_size", kCycle, "10", "20"},
    {"scheduler.params.cycle_second_step_size", kCycle, "10", "0"},
    {"scheduler.params.cycle_first_stair_count", kCycle, "0", "3"},
    {"scheduler.params.cycle_second_stair_count", kCycle, "0", "3"},
    {"scheduler.params.decay_step_size", kCycleWithDecay, "0", "3"},
    {"scheduler.params.cycle_momentum", kCycle, "true", "false"},
    {"scheduler.params.cycle_min_mom", kCycle, "0.8", "0.7"},
    {"scheduler.params.cycle_max_mom", kCycle, "0.9", "0.95"},
    {"scheduler.params.decay_mom_rate", kCycle, "0", "0.001"},
    {"scheduler.params.lr_range_test_min_lr", kRange, "0.1", "0.2"},
    {"scheduler.params.lr_range_test_step_size", kRange, "10", "20"},
    {"scheduler.params.lr_range_test_step_rate", kRange, "1", "2"},
    {"scheduler.params.lr_range_test_staircase", kRange, "false", "true"},
};

/// Rate and first beta of every update.
std::vector<double> rates(const TrainConfig& config) {
  std::vector<double> out;
  for (const ScheduleRow& row : schedule_rows(config)) {
    out.push_back(row.lr);
    out.push_back(row.beta1);
  }
  return out;
}

std::string typed(const char* type, const char* rest) {
  return fmt::format(R"({{"optimizer": {{"type": "{}"}}{}}})", type, rest);
}

}  // namespace

TEST_CASE("each key of the optimizer changes the weights that a few updates give") {
  for (const Effect& effect : kUpdates) {
    INFO(std::string(effect.key), " in ", std::string(effect.base));
    CHECK(trained(with(effect, effect.first)) != trained(with(effect, effect.second)));
  }
}

TEST_CASE("each key of the scheduler changes the rate or the momentum of some update") {
  for (const Effect& effect : kRates) {
    INFO(std::string(effect.key), " in ", std::string(effect.base));
    CHECK(rates(with(effect, effect.first)) != rates(with(effect, effect.second)));
  }
}

TEST_CASE("every honoured key of optimizer and scheduler is in one of the two tables, for each type that has it") {
  for (const SchemaKey& key : schema_keys()) {
    if (key.status != KeyStatus::kHonoured || key.types.empty()) continue;
    for (const std::string_view type : split_list(key.types)) {
      const auto shows = [&](const Effect& effect) {
        return effect.key == key.path && contains(effect.base, fmt::format("\"type\": \"{}\"", type));
      };
      INFO(key.path, " of ", type);
      CHECK((std::ranges::any_of(kUpdates, shows) || std::ranges::any_of(kRates, shows)));
    }
  }
}

TEST_CASE("SGD needs zero_allow_untested_optimizer where ZeRO is on") {
  CHECK(resolve_error(typed("SGD", "")) == "");
  CHECK(resolve_error(typed("SGD", R"(, "zero_optimization": {"stage": 0})")) == "");
  CHECK(contains(resolve_error(typed("SGD", R"(, "zero_optimization": {"stage": 1})")),
                 "add \"zero_allow_untested_optimizer\": true"));
  CHECK(resolve_error(typed("SGD", R"(, "zero_optimization": {"stage": 3}, "zero_allow_untested_optimizer": true)")) ==
        "");
  for (const char* type : {"AdamW", "Adam", "Lion", "Adagrad"}) {
    CHECK(resolve_error(typed(type, R"(, "zero_optimization": {"stage": 2})")) == "");
  }
}

TEST_CASE("optimizer types are DeepSpeed's in any case and torch's exactly; others are refused by name") {
  CHECK(checked_optimizer_type("adamw", "f") == "AdamW");
  CHECK(checked_optimizer_type("LION", "f") == "Lion");
  CHECK(checked_optimizer_type("adaGrad", "f") == "Adagrad");
  CHECK(checked_optimizer_type("SGD", "f") == "SGD");
  const auto refusal = [](const char* type) { return message_of([&] { checked_optimizer_type(type, "ds.json:3"); }); };
  CHECK(
      contains(refusal("sgd"), "ds.json:3: optimizer.type \"sgd\": DeepSpeed finds torch's optimizers by their exact"));
  CHECK(contains(refusal("lamb"), "\"Lamb\" does not run here (here: AdamW, Adam, Lion, Adagrad, SGD): it scales"));
  CHECK(contains(refusal("Muon"), "use AdamW"));
  for (const char* type : {"OneBitAdam", "onebitlamb", "ZeroOneAdam"}) {
    CHECK(contains(refusal(type), "works without ZeRO only, in DeepSpeed too"));
  }
  for (const char* type : {"MuAdam", "MuAdamW", "MuSGD"}) CHECK(contains(refusal(type), "muP"));
  for (const char* type : {"RMSprop", "Adadelta", "NAdam", "LBFGS"}) {
    CHECK(contains(refusal(type), "is torch.optim's, which is not part of this program"));
  }
  CHECK(contains(refusal("AdanW"), "is not known; did you mean \"AdamW\"? (here:"));
}

TEST_CASE("scheduler types are exact, and torch's are refused with what to use instead") {
  CHECK(checked_scheduler_type("WarmupLR", "f") == "WarmupLR");
  const auto refusal = [](const char* type) { return message_of([&] { checked_scheduler_type(type, "ds.json:3"); }); };
  CHECK(contains(refusal("warmuplr"), "is not known; did you mean \"WarmupLR\"?"));
  CHECK(contains(refusal("CosineAnnealingLR"), "torch.optim.lr_scheduler's, which is not part of this program"));
  CHECK(contains(refusal("CosineAnnealingLR"), "; use WarmupCosineLR"));
  CHECK(contains(refusal("OneCycleLR"), "; use OneCycle"));
  CHECK_FALSE(contains(refusal("StepLR"), "; use"));
}

TEST_CASE(
    "Adam decouples decay unless told not to, and torch_adam brings torch's default decay where it is decoupled") {
  const auto of = [](const char* type, const char* params) {
    return resolve_text(fmt::format(R"({{"optimizer": {{"type": "{}", "params": {{{}}}}}}})", type, params)).optimizer;
  };
  CHECK(of("Adam", "").kind == OptimizerKind::kAdamW);
  CHECK(of("Adam", R"("adam_w_mode": false)").kind == OptimizerKind::kAdam);
  CHECK(of("AdamW", R"("adam_w_mode": false)").kind == OptimizerKind::kAdamW);
  CHECK(of("AdamW", "").weight_decay == 0.0);
  CHECK(of("AdamW", R"("torch_adam": true)").weight_decay == 0.01);
  CHECK(of("Adam", R"("torch_adam": true)").weight_decay == 0.01);
  CHECK(of("Adam", R"("torch_adam": true, "adam_w_mode": false)").weight_decay == 0.0);
  CHECK(of("AdamW", R"("torch_adam": true, "weight_decay": 0.2)").weight_decay == 0.2);
}

TEST_CASE("each optimizer has DeepSpeed's and torch's defaults") {
  const OptimizerConfig lion = resolve_text(typed("Lion", "")).optimizer;
  CHECK(lion.kind == OptimizerKind::kLion);
  CHECK(lion.lr == 1e-3);
  CHECK((lion.beta1 == 0.9 && lion.beta2 == 0.999));
  const OptimizerConfig adagrad = resolve_text(typed("Adagrad", "")).optimizer;
  CHECK(adagrad.kind == OptimizerKind::kAdagrad);
  CHECK(adagrad.lr == 1e-2);
  CHECK(adagrad.eps == 1e-10);
  CHECK((adagrad.lr_decay == 0.0 && adagrad.initial_accumulator_value == 0.0 && adagrad.weight_decay == 0.0));
  const OptimizerConfig sgd = resolve_text(typed("SGD", "")).optimizer;
  CHECK(sgd.kind == OptimizerKind::kSgd);
  CHECK(sgd.lr == 1e-3);
  CHECK((sgd.momentum == 0.0 && sgd.dampening == 0.0 && !sgd.nesterov));
  CHECK(contains(resolve_error(R"({"optimizer": {"type": "SGD", "params": {"nesterov": true}}})"),
                 "nesterov needs a momentum above 0 and a dampening of 0, not 0 and 0"));
}

TEST_CASE("the header names an optimizer's own parameters and states") {
  const auto of = [](const char* text) { return resolve_text(text).optimizer; };
  CHECK(describe_optimizer(of(kAdamW)) == "AdamW, betas 0.9 0.999, eps 1e-08, weight decay 0.1");
  CHECK(describe_optimizer(of(kSgd)) == "SGD, momentum 0.5, dampening 0, no weight decay");
  CHECK(describe_optimizer(of(kAdagrad)) == "Adagrad, eps 1e-10, lr_decay 0, first accumulator 0, no weight decay");
  OptimizerConfig lion = of(kLion);
  lion.weight_decay = 0.3;
  lion.exempt_norms_and_embeddings = true;
  CHECK(describe_optimizer(lion) == "Lion, betas 0.9 0.999, weight decay 0.3, norms and embeddings exempt");
  CHECK(describe_optimizer_states(of(kAdam)) == "fp32 master weights, exp_avg, exp_avg_sq");
  CHECK(describe_optimizer_states(of(R"({"optimizer": {"type": "SGD"}})")) == "fp32 master weights");
}

TEST_CASE("a momentum cycle needs betas, and a momentum that reaches 1 is told of") {
  const auto cycle = [](const char* type, const char* params) {
    return resolve_text(fmt::format(R"({{"optimizer": {{"type": "{}"}}, "scheduler": {{"type": "OneCycle", "params":
        {{"cycle_min_lr": 0.1, "cycle_max_lr": 0.2, "cycle_first_step_size": 10 {}}}}}}})",
                                    type, params));
  };
  CHECK(cycle("Lion", "").schedule.cycle_momentum);
  CHECK(cycle("AdamW", "").warnings.empty());
  CHECK_FALSE(cycle("SGD", "").schedule.cycle_momentum);
  CHECK(any_contains(cycle("SGD", "").warnings, "SGD has no betas, in DeepSpeed too"));
  CHECK(cycle("SGD", ", \"cycle_momentum\": false").warnings.empty());
  // 0.8 (1 + 0.1 d / 2) reaches 1 at d = 5: update 20 + 1 + 5.
  const TrainConfig growing =
      cycle("AdamW", R"(, "cycle_max_mom": 0.8, "cycle_min_mom": 0.7, "decay_mom_rate": 0.1, "decay_step_size": 2)");
  CHECK(any_contains(growing.warnings, "reach 1 at update 26"));
  CHECK(schedule_rows(growing)[25].beta1 == doctest::Approx(1.0));
  CHECK(schedule_rows(growing)[24].beta1 < 0.99);
}

TEST_CASE("the logarithm of a warm-up that nobody asked for is told of") {
  const auto warnings = [](const char* type, const char* params) {
    return resolve_text(fmt::format(R"({{"scheduler": {{"type": "{}", "params": {{"warmup_num_steps": 100 {}}}}}}})",
                                    type, params))
        .warnings;
  };
  CHECK(any_contains(warnings("WarmupLR", ""), "half of the rise is over after 10 of 100 updates"));
  CHECK(any_contains(warnings("WarmupCosineLR", R"(, "total_num_steps": 300)"), "warms up by a logarithm"));
  CHECK(warnings("WarmupLR", R"(, "warmup_type": "log")").empty());
  CHECK(warnings("WarmupLR", R"(, "warmup_type": "linear")").empty());
}
