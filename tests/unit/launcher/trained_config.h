// From the text of a config to what its engine does with gradients that the test chooses.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "launcher/engine_options.h"
#include "test_config_support.h"
#include "tests/support/model_fixture.h"
#include "zero/communicator.h"
#include "zero/engine.h"

namespace llama_zero::config_test {

/// Plain descent with learning rate 1 and no clipping: the masters of a model that starts at zero become the negative
/// averaged gradient.
inline constexpr std::string_view kDescent = R"({"optimizer": {"type": "SGD", "params": {"lr": 1}},
    "zero_allow_untested_optimizer": true, "gradient_clipping": 0, "scheduler": {"type": "constant"},
    "train_micro_batch_size_per_gpu": 1})";

inline float element(ConstView view, std::int64_t i) {
  if (view.dtype() == DType::kF16) return static_cast<float>(view.as<Half>()[i]);
  if (view.dtype() == DType::kBF16) return static_cast<float>(view.as<BFloat16>()[i]);
  return view.as<float>()[i];
}

inline void set_element(View view, std::int64_t i, float value) {
  if (view.dtype() == DType::kF16) {
    view.as<Half>()[i] = Half(value);
  } else if (view.dtype() == DType::kBF16) {
    view.as<BFloat16>()[i] = BFloat16(value);
  } else {
    view.as<float>()[i] = value;
  }
}

/// One rank of a small model trained as a config says; its weights start at zero.
class TrainedRank {
 public:
  TrainedRank(const TrainConfig& config, Communicator& communicator)
      : table(test::small_config()),
        passes_{test::make_pass({{9, 7}, 0}, table.config().vocab_size)},
        device_(make_cpu_device()),
        ops_(make_cpu_ops(1)),
        arena_(*device_, std::size_t{64} << 20U, "test", Arena::Options{true}),
        engine(table, options_of(config), *device_, *ops_, communicator, arena_) {
    const MemoryPlan plan =
        plan_memory(table, options_of(config), *ops_, communicator.rank(), communicator.size(), passes_);
    ops_->set_workspace(arena_.allocate("workspace", DType::kU8, static_cast<std::int64_t>(plan.workspace_bytes)));
    engine.load_weights([](int, std::int64_t, std::span<float> out) { std::ranges::fill(out, 0.0F); });
  }

  /// A step of `count` passes in which pass p of this rank adds `gradient(p)` to the gradient of the embedding's first
  /// element. All others are zero, as weights of zero make them.
  StepResult step(int count, const std::function<float(int pass)>& gradient) {
    int pass = 0;
    engine.set_gradient_hook([&](int unit, View view) {
      if (unit == 0) set_element(view, 0, element(view, 0) + gradient(pass++));
    });
    engine.train_step(std::vector<Pass>(static_cast<std::size_t>(count), passes_.front()), 1.0);
    const std::optional<StepResult> result = engine.drain();
    engine.set_gradient_hook({});
    return *result;
  }

  float master(std::int64_t index = 0) {
    std::vector<float> values;
    engine.gather_master(0, values);
    return values.at(static_cast<std::size_t>(index));
  }

  ParamTable table;

 private:
  static EngineOptions options_of(const TrainConfig& config) {
    EngineOptions options = engine_options_of(config);
    options.max_positions = 16;
    return options;
  }

  std::vector<Pass> passes_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Ops> ops_;
  Arena arena_;

 public:
  Engine engine;
};

/// The gradient that the optimizer gets when the ranks' gradients of one element are these, in one pass.
inline float averaged(const std::vector<std::string>& sets, const std::vector<float>& ranks) {
  const auto count = static_cast<int>(ranks.size());
  const TrainConfig config = resolve_text(kDescent, count, set_flags(sets));
  std::vector<float> result(ranks.size());
  run_rank_threads(count, [&](Communicator& communicator) {
    TrainedRank rank(config, communicator);
    const auto index = static_cast<std::size_t>(communicator.rank());
    rank.step(1, [&](int) { return ranks[index]; });
    result[index] = -rank.master();
  });
  for (const float value : result) CHECK((value == result.front() || std::isnan(value)));
  return result.front();
}

}  // namespace llama_zero::config_test
