#include "launcher/eval_ids.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/log.h"
#include "launcher/evaluation.h"
#include "launcher/id_rows.h"
#include "launcher/progress.h"

namespace llama_zero {
namespace {

void write_json(const EvalArguments& arguments, const LoadedModel& model, std::size_t rows, double loss,
                std::int64_t loss_tokens) {
  nlohmann::ordered_json json;
  json["model"] = model.source().name;
  json["ids"] = arguments.ids;
  json["rows"] = rows;
  json["loss"] = std::isfinite(loss) ? nlohmann::ordered_json(loss) : nlohmann::ordered_json(nullptr);
  json["loss_tokens"] = loss_tokens;
  AtomicFile file(arguments.json);
  file.write(json.dump(2) + "\n");
  file.commit();
}

}  // namespace

int run_eval_ids(const EvalArguments& arguments, MpiWorld& world) {
  Runtime runtime(world, {.device = arguments.model.device});
  const HostGroup& group = runtime.group();
  std::optional<LoadedModel> model;
  std::vector<EncodedRow> rows;
  LossSum sum;
  group.together([&] {
    model.emplace(arguments.model, arguments.sequence_length, runtime);
    rows = read_id_rows(arguments.ids, model->source().config.model.vocab_size, model->max_positions());
    if (arguments.limit > 0 && rows.size() > static_cast<std::size_t>(arguments.limit)) {
      rows.resize(static_cast<std::size_t>(arguments.limit));
    }
    sum = sum_losses(*model, rows_of_rank(rows, group.rank(), group.size()));
  });
  const std::vector<double> all = group.sum(std::array{sum.sum, static_cast<double>(sum.tokens)});
  const double loss = all[0] / all[1];
  const auto tokens = static_cast<std::int64_t>(all[1]);
  log::info("model     {}", model->description());
  log::info("data      {} ({} rows)", arguments.ids, format_count(static_cast<std::int64_t>(rows.size())));
  log::info("loss      {:.6f} (mean over {} tokens)", loss, format_count(tokens));
  group.on_root([&] {
    if (!arguments.json.empty()) write_json(arguments, *model, rows.size(), loss, tokens);
  });
  return 0;
}

}  // namespace llama_zero
