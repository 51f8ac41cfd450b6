// Keys of averaging and clipping, from the JSON to the update: values worked out by hand.
#include <cmath>

#include "trained_config.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

/// "a=b" settings with a stage in front.
std::vector<std::string> at_stage(int stage, std::vector<std::string> sets) {
  sets.push_back(fmt::format("zero_optimization.stage={}", stage));
  return sets;
}

const std::string kFp16Wire = "communication_data_type=fp16";
const std::string kBucket = "zero_optimization.reduce_scatter=false";
constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("gradients travel in the communication dtype") {
  // 1 + 2^-12 is no fp16 number: it travels as 1. Nothing else is rounded: the sum is taken in fp32.
  const float third = 1.0F + std::ldexp(1.0F, -12);
  for (int stage = 0; stage <= 3; ++stage) {
    CAPTURE(stage);
    CHECK(averaged(at_stage(stage, {}), {third, 3.0F}) == (third + 3.0F) / 2.0F);
    CHECK(averaged(at_stage(stage, {kFp16Wire}), {third, 3.0F}) == 2.0F);
    CHECK(averaged(at_stage(stage, {"communication_data_type=BF16"}), {257.0F, 1.0F}) == 128.5F);
    CHECK(averaged(at_stage(stage, {kFp16Wire}), {1.0F, std::ldexp(1.0F, -12)}) == (1.0F + std::ldexp(1.0F, -12)) / 2);
    // What overflows on its way is seen as what it is. One rank sends nothing.
    CHECK(averaged(at_stage(stage, {kFp16Wire}), {1e6F, 0.0F}) == 0.0F);
    CHECK(averaged(at_stage(stage, {kFp16Wire}), {1e6F}) == 1e6F);
  }
}

TEST_CASE("without reduce_scatter the sum is rounded before it is divided") {
  for (int stage = 1; stage <= 3; ++stage) {
    CAPTURE(stage);
    // 40000 + 40000 is above fp16's 65504; the mean is not.
    CHECK(averaged(at_stage(stage, {kFp16Wire}), {40000.0F, 40000.0F}) == 40000.0F);
    CHECK(averaged(at_stage(stage, {kFp16Wire, kBucket}), {40000.0F, 40000.0F}) == 0.0F);  // skipped: infinite
    // 2049 lies between the fp16 numbers 2048 and 2050 and goes to the even 2048.
    CHECK(averaged(at_stage(stage, {kFp16Wire}), {2048.0F, 1.0F}) == 1024.5F);
    CHECK(averaged(at_stage(stage, {kFp16Wire, kBucket}), {2048.0F, 1.0F}) == 1024.0F);
  }
  CHECK(averaged(at_stage(0, {kFp16Wire, kBucket}), {2048.0F, 1.0F}) == 1024.5F);
}

TEST_CASE("dividing before the sum rounds otherwise than dividing after it") {
  const float least = std::ldexp(1.0F, -24);  // the smallest fp16 number; half of it is a tie and goes to zero
  const std::string prescale = "prescale_gradients=true";
  const std::string predivide = "gradient_predivide_factor=2";
  CHECK(averaged(at_stage(0, {kFp16Wire}), {least, least}) == least);
  CHECK(averaged(at_stage(0, {kFp16Wire, prescale}), {least, least}) == 0.0F);
  CHECK(averaged(at_stage(0, {kFp16Wire, predivide}), {least, least}) == 0.0F);
  for (int stage = 1; stage <= 3; ++stage) {
    CAPTURE(stage);
    // 40000 / 2 + 40000 / 2 fits fp16 where 40000 + 40000 does not.
    CHECK(averaged(at_stage(stage, {kFp16Wire, kBucket, prescale}), {40000.0F, 40000.0F}) == 40000.0F);
    CHECK(averaged(at_stage(stage, {kFp16Wire, kBucket, predivide}), {40000.0F, 40000.0F}) == 40000.0F);
  }
  // Divided by 4 before and by 2 / 4 after: 5 * 2^-24 / 4 goes to 2^-24, and comes back as 4 of them.
  const float five = 5.0F * least;
  CHECK(averaged(at_stage(0, {kFp16Wire, "gradient_predivide_factor=4"}), {five, five}) == 4.0F * least);
  // Unused where stage 1 reduces to owners.
  CHECK(averaged(at_stage(1, {kFp16Wire, prescale}), {least, least}) == least);
  CHECK(averaged(at_stage(1, {kFp16Wire, predivide}), {least, least}) == least);
}

TEST_CASE("a sum over ranks is the mean times the ranks") {
  for (int stage = 0; stage <= 2; ++stage) {
    CAPTURE(stage);
    CHECK(averaged(at_stage(stage, {}), {1.0F, 2.0F, 4.5F}) == 2.5F);
    CHECK(averaged(at_stage(stage, {"gradient_allreduce_op=sum"}), {1.0F, 2.0F, 4.5F}) == 7.5F);
  }
}

TEST_CASE("what averaging cannot do is an error, what it does not use a warning") {
  const auto error = [](int stage, std::string_view members) {
    return resolve_error(fmt::format(R"({{"zero_optimization": {{"stage": {}}}, {}}})", stage, members), 2);
  };
  CHECK(contains(error(3, R"("gradient_allreduce_op": "sum")"), "does not go with stage 3"));
  for (const int stage : {2, 3}) {
    CAPTURE(stage);
    CHECK(contains(error(stage, R"("prescale_gradients": true)"),
                   "prescale_gradients needs zero_optimization.reduce_scatter false"));
    CHECK(contains(error(stage, R"("gradient_predivide_factor": 2)"),
                   "gradient_predivide_factor needs zero_optimization.reduce_scatter false"));
  }
  CHECK(error(2, R"("gradient_allreduce_op": "sum")") == "");
  CHECK(contains(error(0, R"("communication_data_type": "int8")"), "communication_data_type"));

  const auto warnings = [](std::vector<std::string> sets) { return resolve_text("{}", 2, set_flags(sets)).warnings; };
  CHECK(any_contains(warnings({"zero_optimization.stage=1", "prescale_gradients=true"}), "has no effect: stage 1"));
  CHECK(any_contains(warnings({"prescale_gradients=true", "gradient_predivide_factor=2"}),
                     "gradient_predivide_factor has no effect: prescale_gradients"));
  CHECK(any_contains(warnings({"gradient_allreduce_op=sum", "prescale_gradients=true"}), "divides by nothing"));
  CHECK(warnings({"prescale_gradients=true"}).empty());
}

TEST_CASE("clipping bounds the update of a step") {
  const auto update = [](std::string_view clipping) {
    const TrainConfig config = resolve_text(kDescent, 1, set_flags({fmt::format("gradient_clipping={}", clipping)}));
    const auto device = make_cpu_device();
    const auto communicator = make_local_communicator(*device);
    TrainedRank rank(config, *communicator);
    const StepResult result = rank.step(1, [](int) { return 5.0F; });
    CHECK(result.state.grad_norm == 5.0);
    return -rank.master();
  };
  CHECK(update("0") == 5.0F);
  CHECK(update("-1") == 5.0F);
  CHECK(update("6") == 5.0F);
  // 5 / ((5 + 1e-6) / 2): the coefficient is clip / (norm + 1e-6).
  CHECK(update("2") == 5.0F * static_cast<float>(1.0 / ((5.0 + 1e-6) / 2.0)));
}
