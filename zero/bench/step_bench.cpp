// Trains a preset on random tokens with one rank on one GPU, and sets the time of a step against its limit, op by op.
// scripts/bench_step runs it beside Hugging Face.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/cuda/cuda_device.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/tune.h"
#include "model/config.h"
#include "zero/bench/limit.h"
#include "zero/bench/random_model.h"
#include "zero/engine.h"

namespace llama_zero::bench {
namespace {

constexpr double kPeakFlops = 989e12;  // dense fp16 of an H100 or H200 by NVIDIA's data sheet

struct Options {
  std::string shape = "125m";
  std::int64_t sequence = 1024, micro_batch = 16, tokens_per_step = 65536;
  int steps = 20, warm_ups = 4;
  std::string dtype = "fp16", checkpointing = "none", attention = "auto";
  bool tune = false;
  bool json = false;
};

DType dtype_of(const std::string& name) { return name == "bf16" ? DType::kBF16 : DType::kF16; }

CudaAttention attention_of(const std::string& name) {
  if (name == "flash") return CudaAttention::kFlash;
  return name == "cudnn" ? CudaAttention::kCudnn : CudaAttention::kAuto;
}

/// What the limit is measured with: cuDNN where it can be used.
CudaAttention best_attention() { return cudnn_status().usable ? CudaAttention::kCudnn : CudaAttention::kAuto; }

EngineOptions engine_options(const Options& options) {
  EngineOptions engine = bench_engine_options(dtype_of(options.dtype), options.sequence);
  if (options.checkpointing == "none") engine.transformer.checkpointing = ActivationCheckpointing::kNone;
  return engine;
}

/// Time and calls of one kind of op in a step.
struct Row {
  int calls = 0;
  double ours_ms = 0.0, limit_ms = 0.0;
};

struct Result {
  std::string card, attention;
  std::int64_t parameters = 0, tokens = 0;
  double flops_per_token = 0.0;
  Samples step, limit;
  double copy_rate = 0.0;
  std::size_t memory_bytes = 0;
  double first_loss = 0.0, last_loss = 0.0;
  std::map<std::string, Row> rows;

  double tokens_per_second() const { return static_cast<double>(tokens) / (step.median_ms * 1e-3); }
  double mfu() const { return flops_per_token * tokens_per_second() / kPeakFlops; }
  double efficiency() const { return limit.median_ms / step.median_ms; }
};

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The host is a step ahead of the device, so the time between two returns is the device's.
Samples time_steps(Engine& engine, const std::vector<Pass>& passes, double weight, const Options& options,
                   Result& result) {
  std::vector<double> samples;
  double last = 0.0;
  for (int i = 0; i < options.warm_ups + options.steps + 1; ++i) {
    const std::optional<StepResult> step = engine.train_step(passes, weight);
    const double now = now_ms();
    if (i > options.warm_ups) samples.push_back(now - last);
    last = now;
    if (!step) continue;
    require(step->state.skip == 0, "step {} was skipped: its gradients are not finite", step->state.iteration);
    if (result.first_loss == 0.0) result.first_loss = step->loss;
    result.last_loss = step->loss;
  }
  engine.drain();
  return summarise(samples);
}

void add_rows(const RecordedOps& ops, const StepLimit& limit, Result& result) {
  for (std::size_t i = 0; i < ops.recorded().size(); ++i) {
    const RecordedOp& op = ops.recorded()[i];
    Row& row = result.rows[op.name];
    row.calls += 1;
    row.ours_ms += ops.milliseconds(i);
    if (op.rule != LimitRule::kNothing) row.limit_ms += limit.op_ms[i];
  }
}

std::size_t library_workspace(const Ops& ops, const std::vector<Pass>& passes, const ParamTable& table,
                              const EngineOptions& options) {
  return plan_memory(table, options, ops, 0, 1, {passes.data(), 1}).workspace_bytes;
}

/// cuBLASLt's fastest algorithm of every product of the step, timed on the GPU before the step's memory is taken.
CudaGemmAlgorithms tuned_products(Device& device, const std::vector<Pass>& passes, const ParamTable& table,
                                  const EngineOptions& options) {
  const auto sizing = make_cuda_sizing_ops();
  const std::size_t planned = std::min<std::size_t>(2, passes.size());
  (void)plan_memory(table, options, *sizing, 0, 1, {passes.data(), planned});
  return tune(device, *sizing).gemm_algorithms;
}

Result measure(const Options& options) {
  const auto device = make_cuda_device(0);
  LlamaConfig config = preset_config(options.shape);
  config.max_position_embeddings = std::max(config.max_position_embeddings, options.sequence);
  const ParamTable table(config);
  const std::int64_t pass_tokens = options.sequence * options.micro_batch;
  const std::vector<Pass> passes = random_passes(std::max<std::int64_t>(1, options.tokens_per_step / pass_tokens),
                                                 options.micro_batch, options.sequence, config.vocab_size, 7);
  const EngineOptions engine_opts = engine_options(options);
  CudaGemmAlgorithms tuned;
  if (options.tune) tuned = tuned_products(*device, passes, table, engine_opts);
  CudaOpsOptions own_options;
  own_options.gemm_algorithms = tuned;
  own_options.attention = attention_of(options.attention);
  const auto own = make_cuda_ops(*device, own_options);
  CudaOpsOptions best_options;
  best_options.attention = best_attention();
  best_options.gemm_algorithms = tuned;
  const auto best = make_cuda_ops(*device, best_options);

  Result result;
  result.card = device->description();
  result.attention = cudnn_status().usable ? cudnn_status().text : "flash attention (" + cudnn_status().text + ")";
  result.parameters = table.total_numel();
  result.tokens = passes.front().tokens_count() * static_cast<std::int64_t>(passes.size());
  result.flops_per_token = flops_per_token(table, options.sequence);

  const std::size_t planned_passes = std::min<std::size_t>(2, passes.size());
  const MemoryPlan plan = plan_memory(table, engine_opts, *own, 0, 1, {passes.data(), planned_passes});
  result.memory_bytes = plan.total_bytes();
  Arena arena(*device, plan.total_bytes() + Arena::kAlignment, "step");
  own->set_workspace(arena.allocate("workspace", DType::kU8, static_cast<std::int64_t>(plan.workspace_bytes)));
  const std::size_t best_workspace = library_workspace(*best, passes, table, engine_opts);
  Arena limit_arena(*device, best_workspace + 2 * LimitReplay::kScratchBytes + 4 * Arena::kAlignment, "limit");
  best->set_workspace(limit_arena.allocate("workspace", DType::kU8, static_cast<std::int64_t>(best_workspace)));

  RecordedOps ops(*own, *device);
  const auto communicator = make_local_communicator(*device);
  Engine engine(table, engine_opts, *device, ops, *communicator, arena);
  engine.load_weights(fast_weights(table));
  const double weight = static_cast<double>(passes.front().loss_tokens) * static_cast<double>(passes.size());

  LimitReplay replay(*device, *best, limit_arena);
  result.copy_rate = replay.copy_bytes_per_second();
  result.step = time_steps(engine, passes, weight, options, result);
  ops.start();
  engine.train_step(passes, weight);
  engine.drain();
  ops.stop();
  const StepLimit limit = replay.measure(ops.recorded(), options.steps);
  result.limit = limit.step;
  add_rows(ops, limit, result);
  return result;
}

nlohmann::ordered_json to_json(const Options& options, const Result& r) {
  nlohmann::ordered_json json{{"program", "llama_zero"},
                              {"card", r.card},
                              {"shape", options.shape},
                              {"parameters", r.parameters},
                              {"dtype", options.dtype},
                              {"sequence", options.sequence},
                              {"micro_batch", options.micro_batch},
                              {"tokens_per_step", r.tokens},
                              {"checkpointing", options.checkpointing},
                              {"tuned_products", options.tune},
                              {"steps", options.steps},
                              {"step_ms", r.step.median_ms},
                              {"step_spread", r.step.spread},
                              {"tokens_per_s", r.tokens_per_second()},
                              {"mfu", r.mfu()},
                              {"limit_ms", r.limit.median_ms},
                              {"limit_spread", r.limit.spread},
                              {"step_efficiency", r.efficiency()},
                              {"limit_attention", r.attention},
                              {"copy_gb_s", r.copy_rate * 1e-9},
                              {"memory_gb", static_cast<double>(r.memory_bytes) * 1e-9},
                              {"first_loss", r.first_loss},
                              {"last_loss", r.last_loss}};
  for (const auto& [name, row] : r.rows) {
    json["ops"][name] = {{"calls", row.calls}, {"limit_ms", row.limit_ms}, {"ours_ms", row.ours_ms}};
  }
  return json;
}

void print(const Options& options, const Result& r) {
  fmt::print(
      "{} | {} ({:.0f}M parameters) {} | {} tokens a step in passes of {} x {} | copy {:.0f} GB/s | limit with {}\n",
      r.card, options.shape, static_cast<double>(r.parameters) * 1e-6, options.dtype, r.tokens, options.micro_batch,
      options.sequence, r.copy_rate * 1e-9, r.attention);
  fmt::print("{:<24} {:>6} {:>10} {:>10} {:>10}\n", "op", "calls", "limit ms", "ours ms", "lost ms");
  for (const auto& [name, row] : r.rows) {
    fmt::print("{:<24} {:>6} {:>10.3f} {:>10.3f} {:>10.3f}\n", name, row.calls, row.limit_ms, row.ours_ms,
               row.ours_ms - row.limit_ms);
  }
  fmt::print("{:<24} {:>6} {:>10.3f} {:>10.3f} {:>10.3f}\n", "step, back to back", "", r.limit.median_ms,
             r.step.median_ms, r.step.median_ms - r.limit.median_ms);
  fmt::print(
      "step efficiency {:.3f} | {:.0f} tokens/s | MFU {:.1f} % | spread of step {:.1f} %, of limit {:.1f} % | loss "
      "{:.3f} to {:.3f}\n",
      r.efficiency(), r.tokens_per_second(), 100.0 * r.mfu(), 100.0 * r.step.spread, 100.0 * r.limit.spread,
      r.first_loss, r.last_loss);
}

}  // namespace
}  // namespace llama_zero::bench

int main(int argc, char** argv) {
  using namespace llama_zero::bench;
  Options options;
  CLI::App app("Sets the time of a training step on one GPU against its limit, op by op.", "step_bench");
  app.add_option("--shape", options.shape, "a preset: 125m, 1.3b, llama2-7b")->capture_default_str();
  app.add_option("--sequence", options.sequence, "tokens of a row")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--micro-batch", options.micro_batch, "rows of a pass")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--tokens-per-step", options.tokens_per_step, "tokens of an optimizer step")->capture_default_str();
  app.add_option("--steps", options.steps, "timed steps")->capture_default_str()->check(CLI::Range(2, 10000));
  app.add_option("--dtype", options.dtype, "storage")->capture_default_str()->check(CLI::IsMember({"fp16", "bf16"}));
  app.add_option("--checkpointing", options.checkpointing, "what backward recomputes")
      ->capture_default_str()
      ->check(CLI::IsMember({"none", "selective"}));
  app.add_option("--attention", options.attention, "of our step")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "flash", "cudnn"}));
  app.add_flag("--tune", options.tune, "time cuBLASLt's candidates first; ours and the limit take the fastest");
  app.add_flag("--json", options.json, "one JSON object");
  CLI11_PARSE(app, argc, argv);
  try {
    const Result result = measure(options);
    if (options.json) {
      fmt::print("{}\n", to_json(options, result).dump());
    } else {
      print(options, result);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "step_bench: %s\n", error.what());
    return 1;
  }
}
