#include "launcher/plan_advice.h"

#include <fmt/format.h>

#include <algorithm>

namespace llama_zero {
namespace {

constexpr int kMostRanks = 1024;

struct Change {
  std::string name;
  std::function<void(PlanCase&)> apply;
};

/// Changes of one kind, mildest first.
using Kind = std::vector<Change>;

Kind higher_stages(const PlanCase& plan_case) {
  Kind kind;
  if (plan_case.ranks == 1) return kind;  // nobody to share with
  for (int stage = plan_case.engine.stage + 1; stage <= 3; ++stage) {
    kind.push_back({fmt::format("zero_optimization.stage {}", stage),
                    [stage](PlanCase& changed) { changed.engine.stage = stage; }});
  }
  return kind;
}

Kind more_checkpointing(const PlanCase& plan_case) {
  Kind kind;
  const auto add = [&](ActivationCheckpointing mode, const char* name) {
    if (plan_case.engine.transformer.checkpointing >= mode) return;
    kind.push_back({fmt::format("activation_checkpointing.mode {}", name),
                    [mode](PlanCase& changed) { changed.engine.transformer.checkpointing = mode; }});
  };
  add(ActivationCheckpointing::kSelective, "selective");
  add(ActivationCheckpointing::kFull, "full");
  return kind;
}

Kind smaller_passes(PlanCase plan_case) {
  Kind kind;
  while (plan_case.coalesce && plan_case.max_tokens_per_pass > plan_case.least_tokens_per_pass()) {
    const std::int64_t limit = plan_case.max_tokens_per_pass = plan_case.smaller_tokens_per_pass();
    kind.push_back({fmt::format("max_tokens_per_pass {}", limit),
                    [limit](PlanCase& changed) { changed.max_tokens_per_pass = limit; }});
  }
  while (!plan_case.coalesce && plan_case.micro_batch % 2 == 0) {
    const std::int64_t micro = plan_case.micro_batch /= 2;
    const std::int64_t accumulation = plan_case.accumulation *= 2;
    kind.push_back({fmt::format("train_micro_batch_size_per_gpu {} (accumulation {})", micro, accumulation),
                    [micro, accumulation](PlanCase& changed) {
                      changed.micro_batch = micro;
                      changed.accumulation = accumulation;
                    }});
  }
  return kind;
}

Kind offload(const PlanCase& plan_case) {
  Kind kind;
  if (!plan_case.can_offload) return kind;
  if (!plan_case.engine.offload_optimizer.enabled && plan_case.engine.stage > 0) {
    kind.push_back(
        {"offload_optimizer.device cpu", [](PlanCase& changed) { changed.engine.offload_optimizer.enabled = true; }});
  }
  if (!plan_case.engine.offload_param.enabled && plan_case.engine.stage == 3) {
    kind.push_back({"offload_optimizer and offload_param.device cpu", [](PlanCase& changed) {
                      changed.engine.offload_optimizer.enabled = changed.engine.offload_param.enabled = true;
                    }});
  }
  return kind;
}

// Micro-batch and accumulation stay: the pass is the same, the states are shared by more.
Kind more_ranks(const PlanCase& plan_case) {
  Kind kind;
  if (plan_case.engine.stage == 0) return kind;
  for (int ranks = 2 * plan_case.ranks; ranks <= kMostRanks; ranks *= 2) {
    kind.push_back({fmt::format("{} ranks at stage {}", ranks, plan_case.engine.stage),
                    [ranks](PlanCase& changed) { changed.ranks = ranks; }});
  }
  return kind;
}

using KindMaker = Kind (*)(const PlanCase&);
constexpr KindMaker kKinds[] = {higher_stages, more_checkpointing,
                                [](const PlanCase& plan_case) { return smaller_passes(plan_case); }, offload,
                                more_ranks};

/// The mildest change of a kind that fits, else its strongest, applied to `plan_case`.
AdviceLine best_of(const Kind& kind, PlanCase& plan_case, std::size_t capacity, const Replay& replay) {
  const PlanCase before = plan_case;
  AdviceLine line;
  for (const Change& change : kind) {
    plan_case = before;
    change.apply(plan_case);
    line.change = change.name;
    line.bytes = replay(plan_case);
    line.fits = line.bytes <= capacity;
    if (line.fits) break;
  }
  return line;
}

}  // namespace

Advice advise(const PlanCase& plan_case, std::size_t capacity_bytes, const Replay& replay) {
  Advice advice;
  for (const KindMaker make : kKinds) {
    const Kind kind = make(plan_case);
    PlanCase changed = plan_case;
    if (!kind.empty()) advice.alone.push_back(best_of(kind, changed, capacity_bytes, replay));
  }
  if (std::ranges::any_of(advice.alone, &AdviceLine::fits)) return advice;
  PlanCase changed = plan_case;
  for (const KindMaker make : kKinds) {
    const Kind kind = make(changed);
    if (kind.empty()) continue;
    advice.together.push_back(best_of(kind, changed, capacity_bytes, replay));
    if (advice.together.back().fits) break;
  }
  return advice;
}

std::string in_a_sentence(const Advice& advice) {
  const auto alone = std::ranges::find_if(advice.alone, &AdviceLine::fits);
  if (alone != advice.alone.end()) {
    return fmt::format("it would fit with {} ({})", alone->change, format_bytes(alone->bytes));
  }
  if (advice.together.empty() || !advice.together.back().fits) {
    return "no change of stage, checkpointing, pass size, offload or ranks makes it fit: use a shorter sequence length "
           "or a smaller model";
  }
  std::string changes;
  for (const AdviceLine& line : advice.together) changes += (changes.empty() ? "" : " and ") + line.change;
  return fmt::format("it would fit with {} ({})", changes, format_bytes(advice.together.back().bytes));
}

}  // namespace llama_zero
