// Updates of a vector of weights by a config's optimizer and schedule, on the CPU ops, without a model.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "launcher/config.h"
#include "launcher/optimizer_config.h"
#include "launcher/schedule.h"
#include "zero/optimizer.h"

namespace llama_zero::test {

/// T float, or double for the reference arithmetic.
template <typename T>
class OptimizerRun {
 public:
  OptimizerRun(const OptimizerOptions& options, std::vector<ScheduleRow> rows, const std::vector<double>& first)
      : options_(options),
        rows_(std::move(rows)),
        ops_(make_cpu_ops(1)),
        device_(make_cpu_device()),
        stream_(device_->create_stream("test")),
        weights_(first.begin(), first.end()) {
    for (const std::string_view name : state_names(options)) {
      states_.emplace_back(std::string(name),
                           std::vector<T>(first.size(), static_cast<T>(options.initial_accumulator_value)));
    }
  }

  void step(const std::vector<double>& gradient) {
    advance_step_state(state_, {}, 0.0, false, 0.0, rows_.data(), static_cast<std::int64_t>(rows_.size()));
    std::vector<T> g(gradient.begin(), gradient.end());
    OptimizerRange range;
    range.master = View::of<T>(weights_);
    for (auto& [name, values] : states_) range.states.push_back(View::of<T>(values));
    range.gradient = ConstView::of<T>(g);
    range.step_state = ConstView(reinterpret_cast<const std::byte*>(&state_), sizeof(state_), DType::kU8);
    update_range(*ops_, options_, options_.weight_decay, range, *stream_);
  }

  const std::vector<T>& weights() const { return weights_; }
  const std::vector<std::pair<std::string, std::vector<T>>>& states() const { return states_; }

 private:
  OptimizerOptions options_;
  std::vector<ScheduleRow> rows_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::vector<T> weights_;
  std::vector<std::pair<std::string, std::vector<T>>> states_;
  StepState state_;
};

}  // namespace llama_zero::test
