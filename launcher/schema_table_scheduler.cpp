// Rows of "scheduler". The formulas stand in zero/lr_schedule.h.
#include "launcher/schema.h"

namespace llama_zero {

std::string_view scheduler_types() {
  return "WarmupLR|WarmupDecayLR|WarmupCosineLR|OneCycle|LRRangeTest|constant|linear";
}

}  // namespace llama_zero

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

namespace {
constexpr std::string_view kRates = "each key of the scheduler changes the rate or the momentum of some update";
constexpr std::string_view kWarmups = "WarmupLR|WarmupDecayLR|WarmupCosineLR";
constexpr std::string_view kMinMax = "WarmupLR|WarmupDecayLR";
constexpr std::string_view kTotal = "WarmupDecayLR|WarmupCosineLR|linear";
constexpr std::string_view kDeepSpeed = "WarmupLR|WarmupDecayLR|WarmupCosineLR|OneCycle|LRRangeTest";
}  // namespace

std::span<const SchemaKey> scheduler_keys() {
  static constexpr SchemaKey kKeys[] = {
      tested(kRates,
             {"scheduler.type", kString, R"("linear")", "", kHonoured,
              "WarmupLR, WarmupDecayLR, WarmupCosineLR, OneCycle, LRRangeTest; constant and linear are ours. Without a "
              "scheduler section: "
              "linear decay to 0 over the run, as Hugging Face's Trainer"}),
      tested(kRates, {"scheduler.params.warmup_min_lr", kNumber, "0", ">= 0", kHonoured, "where the warmup starts", "",
                      "0", kMinMax}),
      tested(kRates, {"scheduler.params.warmup_max_lr", kNumber, "(the optimizer's lr)", ">= 0", kHonoured,
                      "where the warmup ends", "", "the optimizer's lr", "WarmupLR"}),
      tested(kRates, {"scheduler.params.warmup_max_lr", kNumber, "0.001", ">= 0", kHonoured,
                      "where the warmup ends; its default is not the optimizer's lr", "", "the optimizer's lr",
                      "WarmupDecayLR"}),
      tested(kRates, {"scheduler.params.warmup_num_steps", kInt, "1000", "> 0", kHonoured,
                      "updates of the warmup; 1 counts as 2", "",
                      "3 % of total_num_steps (of the run's steps without one), at least 1: Hugging Face's 0 is "
                      "refused by DeepSpeed",
                      kWarmups}),
      tested(kRates, {"scheduler.params.warmup_type", kString, R"("log")", "", kHonoured,
                      "log or linear; any other word warns and means log", "", "", kWarmups}),
      tested(kRates, {"scheduler.params.total_num_steps", kInt, "(required)", "> 0", kHonoured,
                      "update after which the rate is at its end", "", "optimizer steps of the run", kTotal}),
      tested(kRates, {"scheduler.params.warmup_min_ratio", kNumber, "0", ">= 0", kHonoured,
                      "start of the warmup, in parts of the optimizer's lr", "", "", "WarmupCosineLR"}),
      tested(kRates, {"scheduler.params.cos_min_ratio", kNumber, "0.0001", ">= 0", kHonoured,
                      "end of the decay, in parts of the optimizer's lr", "", "", "WarmupCosineLR"}),
      tested(kRates, {"scheduler.params.cycle_min_lr", kNumber, "(required)", ">= 0", kHonoured,
                      "lowest rate of the cycle", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.cycle_max_lr", kNumber, "(required)", ">= 0", kHonoured,
                      "highest rate of the cycle", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.decay_lr_rate", kNumber, "0", ">= 0", kHonoured, "decay after the cycle", "",
                      "", "OneCycle"}),
      tested(kRates, {"scheduler.params.cycle_first_step_size", kInt, "2000", "> 0", kHonoured,
                      "updates of the rising half", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.cycle_second_step_size", kInt, "null", ">= 0", kHonoured,
                      "updates of the falling half; null: as the rising one", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.cycle_first_stair_count", kInt, "0", ">= 0", kHonoured,
                      "stairs of the rising half; 0: none", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.cycle_second_stair_count", kInt, "null", ">= 0", kHonoured,
                      "stairs of the falling half; null: as the rising one", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.decay_step_size", kInt, "0", ">= 0", kHonoured,
                      "updates of one decay step after the cycle; 0: no decay", "", "", "OneCycle"}),
      tested(kRates,
             {"scheduler.params.cycle_momentum", kBool, "true", "", kHonoured,
              "moves the first beta of Adam and Lion against the rate and makes the second 0.99", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.cycle_min_mom", kNumber, "0.8", "", kHonoured,
                      "lowest momentum, at the peak of the rate", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.cycle_max_mom", kNumber, "0.9", "", kHonoured,
                      "highest momentum, at the end of the cycle", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.decay_mom_rate", kNumber, "0", "", kHonoured,
                      "growth of the momentum after the cycle", "", "", "OneCycle"}),
      tested(kRates, {"scheduler.params.lr_range_test_min_lr", kNumber, "0.001", "> 0", kHonoured, "first rate", "", "",
                      "LRRangeTest"}),
      tested(kRates, {"scheduler.params.lr_range_test_step_size", kInt, "2000", "> 0", kHonoured, "updates of one step",
                      "", "", "LRRangeTest"}),
      tested(kRates, {"scheduler.params.lr_range_test_step_rate", kNumber, "1.0", "", kHonoured,
                      "rise of one step, in parts of the first rate", "", "", "LRRangeTest"}),
      tested(kRates, {"scheduler.params.lr_range_test_staircase", kBool, "false", "", kHonoured, "rise in stairs", "",
                      "", "LRRangeTest"}),
      {"scheduler.params.last_batch_iteration", kInt, "-1", "", kRejected, "where the schedule starts",
       "a run starts at its first update and a resumed one where it stopped; leave it out", "", kDeepSpeed},
  };
  return kKeys;
}

}  // namespace llama_zero::schema_tables
