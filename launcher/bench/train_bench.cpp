// Trains a preset with random weights on random tokens on all ranks: speed, memory, and what the exchange costs.
// Nothing is read or written. scripts/scaling makes its tables of it.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "launcher/account.h"
#include "launcher/bench/bench_main.h"
#include "launcher/driver_memory.h"
#include "model/config.h"
#include "zero/bench/random_model.h"
#include "zero/engine.h"
#include "zero/step_timing.h"

namespace llama_zero::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string shape = "125m";
  std::int64_t layers = 0, sequence = 1024, micro_batch = 4, passes = 1;
  int stage = 2, steps = 8, warm_ups = 3;
  DType dtype = DType::kF16;
  ActivationCheckpointing checkpointing = ActivationCheckpointing::kSelective;
  bool overlap = true, plan = false, json = false;
  bool offload_optimizer = false, offload_param = false, skip_updates = false;
  RuntimeOptions runtime;
};

LlamaConfig config_of(const Options& options) {
  LlamaConfig config = preset_config(options.shape);
  if (options.layers > 0) config.num_hidden_layers = options.layers;
  config.max_position_embeddings = std::max(config.max_position_embeddings, options.sequence);
  return config;
}

EngineOptions engine_options(const Options& options) {
  EngineOptions engine = bench_engine_options(options.dtype, options.sequence);
  engine.stage = options.stage;
  engine.transformer.checkpointing = options.checkpointing;
  engine.overlap_comm = options.overlap;
  engine.offload_optimizer.enabled = options.offload_optimizer;
  engine.offload_param.enabled = options.offload_param;
  if (options.skip_updates) engine.scaler.check_overflow = engine.scaler.dynamic = true;
  return engine;
}

/// Makes every step overflow by one element of its last gradient: all else is the work of a step that is applied, on
/// numbers like its own. (Infinities in the products draw less power, with which a GPU runs faster.)
class Overflow final : public StepObserver {
 public:
  Overflow(Device& device, Engine& engine, std::int64_t passes) : device_(device), passes_(passes) {
    engine.set_gradient_hook([this](int unit, View gradient) { spoil(unit, gradient); });
  }
  void at(StepPoint point, int, Stream&) override {
    if (point == StepPoint::kPass) pass_ += 1;
    if (point == StepPoint::kReduced) pass_ = 0;
  }
  void at_commit(int, bool, Stream& compute) override { compute_ = &compute; }

 private:
  void spoil(int unit, View gradient) {
    if (unit > 0 || pass_ < passes_) return;
    static constexpr std::uint32_t kAllBits = 0xffffffffU;  // not a number in every format
    const View element = gradient.slice(0, 1);
    device_.copy({reinterpret_cast<const std::byte*>(&kAllBits), 1, element.dtype()}, element, *compute_);
  }

  Device& device_;
  std::int64_t passes_;
  std::int64_t pass_ = 0;
  Stream* compute_ = nullptr;
};

/// What the timed steps gave.
struct Measured {
  std::vector<double> seconds, losses, norms;  ///< losses and norms: of every step
  std::vector<double> update_ms;               ///< of the optimizer, on the compute stream's clock
  Account account;                             ///< of rank 0
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

class Training {
 public:
  Training(const Options& options, Runtime& runtime)
      : options_(options),
        runtime_(runtime),
        config_(config_of(options)),
        table_(config_),
        passes_(random_passes(options.passes, options.micro_batch, options.sequence, config_.vocab_size,
                              static_cast<std::uint64_t>(7 + runtime.rank()))),
        engine_options_(engine_options(options)) {
    const std::size_t planned = std::min<std::size_t>(2, passes_.size());
    plan_ =
        plan_memory(table_, engine_options_, runtime.ops(), runtime.rank(), runtime.ranks(), {passes_.data(), planned});
  }

  /// Collective. A step's bytes on a rank, the most of any, and what there is.
  std::size_t needed() const { return most(plan_.total_bytes()); }
  std::size_t free() const { return runtime_.free_bytes(); }

  Measured run() {
    Arena arena(runtime_.device(), plan_.total_bytes() + Arena::kAlignment, "step");
    if (plan_.workspace_bytes > 0) {
      runtime_.ops().set_workspace(
          arena.allocate("workspace", DType::kU8, static_cast<std::int64_t>(plan_.workspace_bytes)));
    }
    Engine engine(table_, engine_options_, runtime_.device(), runtime_.ops(), runtime_.communicator(), arena);
    engine.load_weights(fast_weights(table_));
    AccountKeeper keeper(runtime_.device(), runtime_.ranks());
    runtime_.communicator().add_observer(keeper);
    StepTimer timer(runtime_.device());
    StepObservers observers;
    observers.add(timer);
    std::optional<Overflow> overflow;
    if (options_.skip_updates) observers.add(overflow.emplace(runtime_.device(), engine, options_.passes));
    engine.set_observer(&observers);
    const double weight = static_cast<double>(passes_.front().loss_tokens * options_.passes * runtime_.ranks());
    Measured measured;
    for (int i = 0; i < options_.warm_ups + options_.steps; ++i)
      note(engine.train_step(passes_, weight), keeper, measured);
    note(engine.drain(), keeper, measured);
    engine.set_observer(nullptr);
    for (int i = 0; i < options_.warm_ups + options_.steps; ++i) {
      const StepTimes times = timer.take();
      if (i >= options_.warm_ups) measured.update_ms.push_back(times.update);
    }
    driver_bytes_ = runtime_.driver_bytes();
    arena_bytes_ = arena.report().peak_bytes;
    host_bytes_ = engine.host_memory().peak_bytes;
    runtime_.communicator().remove_observer(keeper);
    return measured;
  }

  /// Collective.
  Json describe(const Measured& measured) const {
    const double step = median(measured.seconds);
    const auto tokens = static_cast<double>(passes_.front().tokens_count() * options_.passes);
    const AccountEntry exchange = measured.account.all_collectives();
    const double steps = options_.steps;
    Json json{{"fits", true},
              {"tokens_per_gpu", tokens},
              {"step_ms", step * 1e3},
              {"step_ms_all", measured.seconds},
              {"update_ms", median(measured.update_ms)},
              {"tokens_per_s_per_gpu", tokens / step},
              {"tflops_per_gpu", flops_per_token(table_, options_.sequence) * tokens / step * 1e-12},
              {"losses", measured.losses},
              {"norms", measured.norms},
              {"comm_bytes_per_step", static_cast<double>(exchange.bytes) / steps},
              {"comm_ms_per_step", exchange.ms / steps},
              {"wait_ms_per_step", exchange.wait_ms / steps},
              {"planned_bytes", needed()},
              {"arena_bytes", most(arena_bytes_)},
              {"planned_host_bytes", most(plan_.host.peak_bytes)},
              {"host_bytes", most(host_bytes_)}};
    json["hidden_share"] = exchange.ms > 0.0 ? Json(1.0 - exchange.wait_ms / exchange.ms) : Json(nullptr);
    for (const auto& [op, entry] : measured.account.collectives) {
      json["collectives"][std::string(op)] = {{"calls_per_step", static_cast<double>(entry.calls) / steps},
                                              {"bytes_per_step", static_cast<double>(entry.bytes) / steps},
                                              {"ms_per_step", entry.ms / steps},
                                              {"wait_ms_per_step", entry.wait_ms / steps}};
    }
    if (driver_bytes_) {
      json["driver_bytes"] = most(*driver_bytes_);
      json["predicted_bytes"] = needed() + library_bytes(runtime_);
    }
    return json;
  }

  Json header() const {
    return {{"program", "train_bench"},
            {"shape", options_.shape},
            {"layers", config_.num_hidden_layers},
            {"parameters", table_.total_numel()},
            {"dtype", name_of(options_.dtype)},
            {"stage", options_.stage},
            {"ranks", runtime_.ranks()},
            {"device", runtime_.describe_device()},
            {"ranks_text", runtime_.describe_ranks()},
            {"communicator", runtime_.communicator().description()},
            {"nvls", environment("NCCL_NVLS_ENABLE")},
            {"sequence", options_.sequence},
            {"micro_batch", options_.micro_batch},
            {"passes", options_.passes},
            {"steps", options_.steps},
            {"offload_optimizer", options_.offload_optimizer},
            {"offload_param", options_.offload_param},
            {"updates", !options_.skip_updates},
            {"overlap_comm", options_.overlap}};
  }

 private:
  std::size_t most(std::size_t bytes) const {
    return static_cast<std::size_t>(runtime_.group().max(static_cast<std::int64_t>(bytes)));
  }

  void note(const std::optional<StepResult>& result, AccountKeeper& keeper, Measured& measured) {
    if (!result) return;
    require(result->failure.empty(), "{}", result->failure);
    const Account account = keeper.take(result->state.iteration);
    measured.losses.push_back(result->loss);
    measured.norms.push_back(static_cast<double>(result->state.grad_norm));
    if (result->state.iteration <= options_.warm_ups) return;
    measured.seconds.push_back(result->seconds);
    measured.account += account;
  }

  const Options& options_;
  Runtime& runtime_;
  LlamaConfig config_;
  ParamTable table_;
  std::vector<Pass> passes_;
  EngineOptions engine_options_;
  MemoryPlan plan_;
  std::optional<std::size_t> driver_bytes_;
  std::size_t arena_bytes_ = 0, host_bytes_ = 0;
};

void print(const Json& json) {
  fmt::print("{} ({:.0f}M parameters) {} stage {} | {}\n", json["shape"].get<std::string>(),
             json["parameters"].get<double>() * 1e-6, json["dtype"].get<std::string>(), json["stage"].get<int>(),
             json["ranks_text"].get<std::string>());
  if (!json["fits"].get<bool>()) {
    fmt::print("does not fit: needs {:.2f} GB a rank of {:.2f}\n", json["planned_bytes"].get<double>() * 1e-9,
               json["free_bytes"].get<double>() * 1e-9);
    return;
  }
  if (!json.contains("step_ms")) {
    fmt::print("fits: needs {:.2f} GB a rank of {:.2f}\n", json["planned_bytes"].get<double>() * 1e-9,
               json["free_bytes"].get<double>() * 1e-9);
    return;
  }
  if (json["host_bytes"].get<double>() > 0.0) {
    fmt::print("host {:.2f} GB, planned {:.2f}\n", json["host_bytes"].get<double>() * 1e-9,
               json["planned_host_bytes"].get<double>() * 1e-9);
  }
  if (json.contains("driver_bytes")) {
    fmt::print("driver {:.2f} GB, predicted {:.2f}\n", json["driver_bytes"].get<double>() * 1e-9,
               json["predicted_bytes"].get<double>() * 1e-9);
  }
  fmt::print(
      "{:.1f} ms a step, {:.1f} of it the update | {:.0f} tokens/s a rank | exchange {:.1f} ms, waited {:.1f} ms | "
      "{:.2f} GB planned | loss "
      "{:.4f} to {:.4f}\n",
      json["step_ms"].get<double>(), json["update_ms"].get<double>(), json["tokens_per_s_per_gpu"].get<double>(),
      json["comm_ms_per_step"].get<double>(), json["wait_ms_per_step"].get<double>(),
      json["planned_bytes"].get<double>() * 1e-9, json["losses"].front().get<double>(),
      json["losses"].back().get<double>());
}

void run(const Options& options, MpiWorld& world) {
  Runtime runtime(world, options.runtime);
  Training training(options, runtime);
  Json json = training.header();
  const std::size_t needed = training.needed();
  const std::size_t room = training.free();
  if (options.plan || needed > room) {
    json["fits"] = needed <= room;
    json["planned_bytes"] = needed;
  } else {
    json.update(training.describe(training.run()));
  }
  json["free_bytes"] = room;
  if (runtime.rank() != 0) return;
  if (options.json) {
    fmt::print("{}\n", json.dump());
  } else {
    print(json);
  }
}

}  // namespace
}  // namespace llama_zero::bench

int main(int argc, char** argv) {
  using namespace llama_zero::bench;
  using llama_zero::ActivationCheckpointing;
  using llama_zero::DType;
  Options options;
  CLI::App app("Times training steps of a preset with random weights; run it under mpirun.", "train_bench");
  app.add_option("--shape", options.shape, "a preset: tiny, 125m, 1.3b, llama2-7b, llama2-13b")->capture_default_str();
  app.add_option("--layers", options.layers, "fewer (or more) layers than the preset's; 0: its own");
  app.add_option("--stage", options.stage, "ZeRO stage")->capture_default_str()->check(CLI::Range(0, 3));
  app.add_option("--sequence", options.sequence, "tokens of a row")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--micro-batch", options.micro_batch, "rows of a pass on a rank")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--passes", options.passes, "passes of a step on a rank")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--steps", options.steps, "timed steps")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--warm-ups", options.warm_ups, "steps before, which are not timed")->capture_default_str();
  app.add_option("--dtype", options.dtype, "storage [fp16|bf16|fp32]")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, DType>{{"fp16", DType::kF16}, {"bf16", DType::kBF16}, {"fp32", DType::kF32}}));
  app.add_option("--checkpointing", options.checkpointing, "what backward recomputes [none|selective|full]")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, ActivationCheckpointing>{{"none", ActivationCheckpointing::kNone},
                                                         {"selective", ActivationCheckpointing::kSelective},
                                                         {"full", ActivationCheckpointing::kFull}}));
  app.add_flag("!--no-overlap", options.overlap, "exchange on the stream of the computation");
  app.add_flag("--offload-optimizer", options.offload_optimizer, "states and the optimizer on the host");
  app.add_flag("--offload-param", options.offload_param, "stage 3: 16-bit weights in host memory");
  app.add_flag("--skip-updates", options.skip_updates,
               "every step overflows, in one element: steps without the optimizer's");
  app.add_flag("--plan", options.plan, "say whether it fits, and stop");
  app.add_flag("--json", options.json, "one JSON object");
  add_runtime_options(app, options.runtime);
  return run_ranks(argc, argv, app, [&](llama_zero::MpiWorld& world) { run(options, world); });
}
