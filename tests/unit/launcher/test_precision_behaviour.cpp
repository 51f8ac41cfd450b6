// fp16, bf16 and data_types, from the JSON to weights, gradients and loss scales.
#include <cmath>

#include "trained_config.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

/// Loss scale after each step, 'x' standing for a step whose gradients overflow.
std::vector<float> scales(std::string_view overflows, std::vector<std::string> sets) {
  sets.emplace_back("fp16.enabled=true");
  const LossScalerConfig scaler = resolve_text("{}", 1, set_flags(sets)).scaler;
  StepState state = initial_step_state(scaler);
  const ScheduleRow row;
  std::vector<float> walk;
  for (const char step : overflows) {
    advance_step_state(state, scaler, 1.0, step == 'x', 0.0, &row, 1);
    walk.push_back(state.loss_scale);
  }
  return walk;
}

using Scales = std::vector<float>;

/// One rank, `count` steps whose gradients are infinite.
std::vector<StepResult> overflowing_steps(std::string_view text, int count, float* master = nullptr) {
  const TrainConfig config = resolve_text(text);
  const auto device = make_cpu_device();
  const auto communicator = make_local_communicator(*device);
  TrainedRank rank(config, *communicator);
  std::vector<StepResult> results;
  for (int i = 0; i < count; ++i) {
    results.push_back(rank.step(1, [](int) { return std::numeric_limits<float>::infinity(); }));
  }
  if (master != nullptr) *master = rank.master();
  return results;
}

}  // namespace

TEST_CASE("the keys of fp16 move the loss scale as DeepSpeed's scaler does") {
  CHECK(scales("xx..", {}) == Scales{65536, 32768, 32768, 32768});
  CHECK(scales("xx..", {"fp16.loss_scale=128"}) == Scales{128, 128, 128, 128});
  CHECK(scales("xx", {"fp16.initial_scale_power=3"}) == Scales{8, 4});
  // Doubles after window + 1 clean steps from the start, then after every window.
  CHECK(scales(".....", {"fp16.initial_scale_power=2", "fp16.loss_scale_window=2"}) == Scales{4, 4, 8, 8, 16});
  CHECK(scales(".....", {"fp16.initial_scale_power=2", "fp16.loss_scale_window=3"}) == Scales{4, 4, 4, 8, 8});
  CHECK(scales("xxxx", {"fp16.initial_scale_power=4", "fp16.hysteresis=1"}) == Scales{8, 4, 2, 1});
  CHECK(scales("xxxx", {"fp16.initial_scale_power=4", "fp16.hysteresis=3"}) == Scales{16, 16, 8, 4});
  CHECK(scales("x.x.x", {"fp16.initial_scale_power=4"}) == Scales{16, 16, 8, 8, 4});
  CHECK(scales("x.x.x", {"fp16.initial_scale_power=4", "fp16.consecutive_hysteresis=true"}) ==
        Scales{16, 16, 16, 16, 16});
  CHECK(scales("xxxx", {"fp16.initial_scale_power=4", "fp16.min_loss_scale=4"}) == Scales{16, 8, 4, 4});
}

TEST_CASE("the precision decides the dtype of weights") {
  const auto weight = [](std::vector<std::string> sets) {
    const TrainConfig config = resolve_text(kDescent, 1, set_flags(sets));
    const auto device = make_cpu_device();
    const auto communicator = make_local_communicator(*device);
    TrainedRank rank(config, *communicator);
    rank.engine.load_weights([](int, std::int64_t, std::span<float> out) { std::ranges::fill(out, 1.0F + 0x1p-9F); });
    std::vector<float> weights;
    rank.engine.gather_weights(0, weights);
    CHECK(rank.master() == 1.0F + 0x1p-9F);
    return weights.front();
  };
  CHECK(weight({}) == 1.0F + 0x1p-9F);
  CHECK(weight({"fp16.enabled=true"}) == 1.0F + 0x1p-9F);  // 10 bits behind the point
  CHECK(weight({"bf16.enabled=true"}) == 1.0F);            // 7 bits
}

TEST_CASE("gradients add up in grad_accum_dtype") {
  // Two passes, 256 and then 1: the sum is no bf16 number. Both ranks have the same, so that the mean is it, too.
  const auto sum = [](int stage, std::string_view dtype) {
    const TrainConfig config =
        resolve_text(kDescent, 2,
                     set_flags({"bf16.enabled=true", fmt::format("zero_optimization.stage={}", stage),
                                fmt::format("data_types.grad_accum_dtype={}", dtype)}));
    std::vector<float> result(2);
    run_rank_threads(2, [&](Communicator& communicator) {
      TrainedRank rank(config, communicator);
      rank.step(2, [](int pass) { return pass == 0 ? 256.0F : 1.0F; });
      result[static_cast<std::size_t>(communicator.rank())] = -rank.master();
    });
    CHECK(result[0] == result[1]);
    return result[0];
  };
  for (int stage = 0; stage <= 3; ++stage) {
    CAPTURE(stage);
    CHECK(sum(stage, "fp32") == 257.0F);
    CHECK(sum(stage, "bf16") == 256.0F);
    CHECK(sum(stage, "null") == 256.0F);
  }
}

TEST_CASE("check_grad_overflow decides whether a gradient that is not finite is applied") {
  const auto config = [](bool check) {
    return fmt::format(R"({{"bf16": {{"enabled": true, "check_grad_overflow": {}}}, "gradient_clipping": 0,
        "optimizer": {{"type": "SGD", "params": {{"lr": 1}}}}, "scheduler": {{"type": "constant"}}}})",
                       check);
  };
  float master = 0.0F;
  CHECK(overflowing_steps(config(true), 1, &master).front().state.skip == 1);
  CHECK(master == 0.0F);
  CHECK(overflowing_steps(config(false), 1, &master).front().state.skip == 0);
  CHECK(!std::isfinite(master));
}

TEST_CASE("ten skipped steps in a row end a run in fp32 or bf16, naming the tensor") {
  for (const char* text : {"{}", R"({"bf16": {"enabled": true}})"}) {
    CAPTURE(text);
    const std::vector<StepResult> results = overflowing_steps(text, 10);
    for (std::size_t i = 0; i < 9; ++i) CHECK(results[i].failure == "");
    const std::string& message = results.back().failure;
    INFO(message);
    CHECK(contains(message, "step 10: 10 steps in a row were skipped because their gradients are not finite"));
    CHECK(contains(message, "(first in embedding.embed_tokens)"));
  }
  CHECK(resolve_text(R"({"fp16": {"enabled": true}})").scaler.max_skips_in_a_row == 0);
}

TEST_CASE("a loss scale is a number, not a word of yes or no") {
  CHECK(contains(resolve_error(R"({"fp16": {"enabled": true, "loss_scale": true}})"), "fp16.loss_scale"));
  CHECK(contains(resolve_error(R"({"fp16": {"enabled": true, "loss_scale": -1}})"), "fp16.loss_scale must be >= 0"));
}

TEST_CASE("16-bit masters ask for what DeepSpeed asks for, and stay fp32") {
  const auto resolved = [](std::string_view precision, std::string_view zero) {
    return fmt::format(R"({{{}, "zero_optimization": {{{}}}}})", precision, zero);
  };
  constexpr std::string_view kFp16 = R"("fp16": {"enabled": true, "fp16_master_weights_and_grads": true})";
  constexpr std::string_view kBf16 = R"("bf16": {"enabled": true, "bf16_master_weights_and_grads": true})";
  constexpr std::string_view kBoth =
      R"("bf16": {"enabled": true, "bf16_master_weights_and_grads": true, "bf16_optimizer_states": true})";
  constexpr std::string_view kStates = R"("bf16": {"enabled": true, "bf16_optimizer_states": true})";
  constexpr std::string_view kOffload = R"("stage": 1, "offload_optimizer": {"device": "cpu"})";
  CHECK(contains(resolve_error(resolved(kFp16, R"("stage": 1)")), "needs a zero_optimization.stage of 1, 2 or 3 and"));
  CHECK(contains(resolve_error(resolved(kBf16, R"("stage": 0)")), "needs a zero_optimization.stage of 1, 2 or 3"));
  CHECK(contains(resolve_error(resolved(kBf16, R"("stage": 2)")), "needs offload_optimizer to cpu, or bf16.bf16_opt"));
  CHECK(contains(resolve_error(resolved(kStates, kOffload)), "needs bf16.bf16_master_weights_and_grads"));
  for (const std::string& text :
       {resolved(kFp16, kOffload), resolved(kBf16, kOffload), resolved(kBoth, R"("stage": 1)")}) {
    CAPTURE(text);
    CHECK(any_contains(parse_config(text, "ds.json", {}).warnings, "stay fp32"));
    CHECK(resolve_error(text) == "");
  }
}
