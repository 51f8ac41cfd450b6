#include "launcher/plan_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "data/tokenizer.h"
#include "launcher/driver_memory.h"
#include "launcher/model_source.h"
#include "launcher/plan_backend.h"
#include "launcher/plan_estimator.h"
#include "launcher/progress.h"
#include "launcher/run_description.h"

namespace llama_zero {
namespace {

constexpr int kMostRanksPerHost = 8;
constexpr double kGb = 1024.0 * 1024.0 * 1024.0;
// Without data the schedule has as many rows as 3 epochs of Alpaca's 52,002 give: 12 bytes each.
constexpr std::int64_t kAlpacaRows = 52002;

int ranks_per_host(const PlanArguments& arguments) {
  const int ranks = arguments.ranks;
  if (arguments.ranks_per_host > 0) {
    require(ranks % arguments.ranks_per_host == 0 || ranks < arguments.ranks_per_host,
            "{} ranks cannot be {} on every host", ranks, arguments.ranks_per_host);
    return std::min(ranks, arguments.ranks_per_host);
  }
  int most = std::min(ranks, kMostRanksPerHost);
  while (ranks % most != 0) --most;
  return most;
}

// A preset keeps its own vocabulary unless a tokenizer is named; the tiny one is made for the bundled tokenizer.
ModelSource find_shape(const RunSection& run) {
  ModelSource model = find_model(run.model);
  LlamaConfig& shape = model.config.model;
  if (!run.tokenizer.empty() || (!model.imported && model.name == "tiny")) {
    const Tokenizer tokenizer(find_tokenizer(run.tokenizer, model));
    fit_model(model, tokenizer, run.sequence_length);
  } else if (!model.imported) {
    shape.max_position_embeddings = std::max(shape.max_position_embeddings, run.sequence_length);
  }
  require(run.sequence_length <= shape.max_position_embeddings,
          "sequence length {} is more than the {} positions (max_position_embeddings) of the model in {}",
          run.sequence_length, shape.max_position_embeddings, model.name);
  return model;
}

TrainConfig resolve_for(const ConfigFile& file, const ModelSource& model, int ranks) {
  ResolveFacts facts;
  facts.world_size = ranks;
  facts.hidden_size = model.config.model.hidden_size;
  facts.imported_model = model.imported;
  facts.preset_learning_rate = model.preset_learning_rate;
  facts.rows = kAlpacaRows;
  return resolve(file, facts);
}

MemoryForecast replay(const ParamTable& table, const PlanCase& plan_case, const PlanBackend& backend) {
  MemoryForecast forecast = forecast_memory(table, plan_case, *backend.sizing, largest_step(plan_case));
  if (backend.cuda_bytes == 0) return forecast;
  forecast.device.at_peak["CUDA libraries"] = backend.cuda_bytes;
  forecast.device.peak_bytes += backend.cuda_bytes;
  if (plan_case.ranks > 1 && plan_case.by_nccl) {
    forecast.device.at_peak["NCCL"] = kNcclBytes;
    forecast.device.peak_bytes += kNcclBytes;
  }
  return forecast;
}

}  // namespace

PlanResult make_plan(const PlanArguments& arguments) {
  const ConfigFile file = load_config(arguments.train.config, arguments.train.flags);
  const ModelSource model = find_shape(file.run);
  const ParamTable table(model.config.model);
  PlanResult plan;
  plan.ranks_per_host = ranks_per_host(arguments);
  const PlanBackend backend = make_plan_backend(file.run.device, file.run.attention, plan.ranks_per_host);
  plan.config = resolve_for(file, model, arguments.ranks);
  plan.model = fmt::format("{}: {}", model.name, describe_shape(table));
  plan.plan_case = plan_case_of(plan.config, arguments.ranks, backend.device == DeviceType::kCuda);
  plan.backend = backend.description;
  const EstimatorInput sizes = estimator_input(table, 1, 1);
  plan.params = sizes.params;
  plan.largest_layer = sizes.largest_layer;
  plan.memory_bytes = backend.memory_bytes;
  if (arguments.memory_gb > 0.0) plan.memory_bytes = static_cast<std::size_t>(arguments.memory_gb * kGb);

  plan.forecast = replay(table, plan.plan_case, backend);
  // "auto": the largest pass that fits, as training chooses it.
  PlanCase& chosen = plan.plan_case;
  while (!plan.fits() && plan.config.run.max_tokens_per_pass == 0 && chosen.coalesce &&
         chosen.max_tokens_per_pass > chosen.least_tokens_per_pass()) {
    chosen.max_tokens_per_pass = chosen.smaller_tokens_per_pass();
    plan.forecast = replay(table, chosen, backend);
  }
  if (!plan.fits()) {
    plan.advice = advise(chosen, *plan.memory_bytes, [&](const PlanCase& changed) {
      return needed_bytes_of(replay(table, changed, backend), changed);
    });
  }
  return plan;
}

}  // namespace llama_zero
