// The arithmetic of ZeRO training on one thread, without shards, stores or communicators: what every rank count and
// stage has to reproduce bit for bit.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/rng.h"
#include "kernels/adagrad_update.h"
#include "kernels/adam_update.h"
#include "kernels/lion_update.h"
#include "kernels/ops.h"
#include "kernels/sgd_update.h"
#include "rank_stack.h"
#include "zero/partition.h"

namespace llama_zero::test {

/// The gradient that rank `rank` computes: a function of its arguments alone.
inline float made_gradient(int step, int pass, int rank, int unit, std::int64_t element) {
  const CounterRng rng(7, static_cast<std::uint64_t>(((step * 8 + pass) * 8 + rank) * 8 + unit));
  return static_cast<float>(rng.normal(static_cast<std::uint64_t>(element)));
}

inline float made_weight(int unit, std::int64_t element) {
  return static_cast<float>(
      CounterRng(11, static_cast<std::uint64_t>(unit)).normal(static_cast<std::uint64_t>(element)));
}

/// Squares of one shard by the rule that kernels/ops.h states.
inline double sum_of_squares(const std::vector<float>& values, double start) {
  double sum = start;
  double group = 0.0;
  for (std::size_t segment = 0; segment < values.size(); segment += kNormSegment) {
    float lanes[kNormLanes] = {};
    const std::size_t end = std::min(values.size(), segment + kNormSegment);
    for (std::size_t i = segment; i < end; ++i) {
      float& lane = lanes[(i - segment) % kNormLanes];
      lane = std::fma(values[i], values[i], lane);
    }
    for (std::int64_t width = kNormLanes / 2; width > 0; width /= 2) {
      for (std::int64_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
    }
    group += static_cast<double>(lanes[0]);
    if ((segment / kNormSegment + 1) % kNormGroup == 0 || end == values.size()) {
      sum += group;
      group = 0.0;
    }
  }
  return sum;
}

struct SerialModel {
  struct Element {
    float theta = 0.0F;
    float states[2] = {};  ///< as many as the optimizer has
  };

  SerialModel(const std::vector<std::int64_t>& sizes, const StackOptions& stack_options, int rank_count, int pass_count)
      : options(stack_options), ranks(rank_count), passes(pass_count), state(initial_step_state(options.scaler)) {
    for (std::size_t unit = 0; unit < sizes.size(); ++unit) {
      units.emplace_back(static_cast<std::size_t>(sizes[unit]));
      for (std::size_t i = 0; i < units[unit].size(); ++i) {
        units[unit][i].theta = made_weight(static_cast<int>(unit), static_cast<std::int64_t>(i));
        units[unit][i].states[0] = static_cast<float>(options.optimizer.initial_accumulator_value);
      }
    }
  }

  float round(float value) const { return round_to(options.grad_dtype, value); }

  /// Averaged gradient of one element: passes first at stages 0 and 1, ranks first at stages 2 and 3.
  float reduced(int step, int unit, std::int64_t i) const {
    const auto factor = static_cast<float>(1.0 / ranks);
    if (options.stage < 2 || ranks == 1) {
      float sum = 0.0F;
      for (int rank = 0; rank < ranks; ++rank) {
        float own = round(made_gradient(step, 0, rank, unit, i));
        for (int pass = 1; pass < passes; ++pass) own = round(own + made_gradient(step, pass, rank, unit, i));
        sum = rank == 0 ? own : sum + own;
      }
      return round(sum * factor);
    }
    float total = 0.0F;
    for (int pass = 0; pass < passes; ++pass) {
      float sum = 0.0F;
      for (int rank = 0; rank < ranks; ++rank) {
        const float own = round(made_gradient(step, pass, rank, unit, i));
        sum = rank == 0 ? own : sum + own;
      }
      total = pass == 0 ? round(sum * factor) : round(total + sum * factor);
    }
    return total;
  }

  void step(int number) {
    std::vector<std::vector<float>> gradients;
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
      const UnitPartition partition(static_cast<std::int64_t>(units[unit].size()), ranks);
      gradients.emplace_back(static_cast<std::size_t>(partition.padded()), 0.0F);
      for (std::size_t i = 0; i < units[unit].size(); ++i) {
        gradients[unit][i] = reduced(number, static_cast<int>(unit), static_cast<std::int64_t>(i));
      }
    }
    double total = 0.0;
    for (int rank = 0; rank < ranks; ++rank) {
      double own = 0.0;
      for (std::size_t unit = 0; unit < units.size(); ++unit) {
        const UnitPartition partition(static_cast<std::int64_t>(units[unit].size()), ranks);
        const auto begin = gradients[unit].begin() + partition.begin(rank);
        own = sum_of_squares({begin, begin + partition.shard}, own);
      }
      total += own;
    }
    advance_step_state(state, options.scaler, std::sqrt(total), !std::isfinite(total), options.clip,
                       options.schedule.data(), static_cast<std::int64_t>(options.schedule.size()));
    if (state.skip != 0) return;
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
      for (std::size_t i = 0; i < units[unit].size(); ++i) {
        update(units[unit][i], gradients[unit][i] * state.grad_multiplier, decay_of(unit, i));
      }
    }
  }

  double decay_of(std::size_t unit, std::size_t i) const {
    if (!options.optimizer.exempt_norms_and_embeddings) return options.optimizer.weight_decay;
    for (const DecayRange& range : options.decay_ranges[unit]) {
      const auto at = static_cast<std::int64_t>(i);
      if (range.begin <= at && at < range.end) return range.decays ? options.optimizer.weight_decay : 0.0;
    }
    return NAN;
  }

  void update(Element& e, float gradient, double decay) const {
    const OptimizerOptions& o = options.optimizer;
    switch (o.kind) {
      case OptimizerKind::kAdamW:
        return AdamRule<true>{o.eps, decay}.at<float>(state)(gradient, e.states[0], e.states[1], e.theta);
      case OptimizerKind::kAdam:
        return AdamRule<false>{o.eps, decay}.at<float>(state)(gradient, e.states[0], e.states[1], e.theta);
      case OptimizerKind::kLion:
        return LionRule{decay}.at<float>(state)(gradient, e.states[0], e.theta);
      case OptimizerKind::kAdagrad:
        return AdagradRule{o.eps, decay}.at<float>(state)(gradient, e.states[0], e.theta);
      case OptimizerKind::kSgd:
        if (o.momentum == 0.0) return SgdRule{decay}.at<float>(state)(gradient, e.theta);
        if (o.nesterov) {
          return MomentumRule<true>{decay, o.momentum, o.dampening}.at<float>(state)(gradient, e.states[0], e.theta);
        }
        return MomentumRule<false>{decay, o.momentum, o.dampening}.at<float>(state)(gradient, e.states[0], e.theta);
    }
  }

  StackOptions options;
  int ranks, passes;
  StepState state;
  std::vector<std::vector<Element>> units;
};

}  // namespace llama_zero::test
