#include "launcher/eval_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "launcher/bundled.h"
#include "launcher/eval_ids.h"
#include "launcher/evaluation.h"
#include "launcher/progress.h"
#include "launcher/score.h"

namespace llama_zero {
namespace {

/// The figures of all ranks together.
struct EvalResult {
  std::string model, data;
  std::int64_t rows = 0;
  double loss = 0.0;
  std::int64_t loss_tokens = 0;
  Score score;
  std::vector<Answer> shown;  ///< of this rank's rows, those that --show asks for
};

std::vector<AlpacaRow> read_rows(const std::string& data, std::int64_t limit) {
  std::vector<AlpacaRow> rows = read_alpaca(data);
  if (limit > 0 && static_cast<std::int64_t>(rows.size()) > limit) rows.resize(static_cast<std::size_t>(limit));
  return rows;
}

std::string one_line(std::string_view text) {
  std::string line(trimmed(text));
  std::ranges::replace(line, '\n', ' ');
  return line;
}

// Evenly spaced over the rows, so that a file that is ordered by family shows several.
std::vector<Answer> spaced_answers(const std::vector<Answer>& answers, std::int64_t count) {
  const auto all = static_cast<std::int64_t>(answers.size());
  count = std::min(count, all);
  std::vector<Answer> chosen;
  for (std::int64_t i = 0; i < count; ++i) {
    chosen.push_back(answers[static_cast<std::size_t>((2 * i + 1) * all / (2 * count))]);
  }
  return chosen;
}

void print_answers(const std::vector<Answer>& answers) {
  for (const Answer& answer : answers) {
    const std::string input = answer.row.input.empty() ? "" : " | " + one_line(answer.row.input);
    log::info("question  {}{}", one_line(answer.row.instruction), input);
    log::info("answer    {}   [{}]", one_line(answer.text),
              answer.exact ? "right" : fmt::format("wrong, expected: {}", one_line(answer.row.output)));
  }
}

void print_result(const EvalResult& result) {
  const FamilyScore total = result.score.total();
  log::info("loss      {:.4f} (mean over {} output tokens)", result.loss, format_count(result.loss_tokens));
  log::info("exact     {:.1f} % ({} of {} rows)", total.percent(), format_count(total.exact), format_count(total.rows));
  const auto& families = result.score.families();
  if (families.size() < 2) return;
  log::info("families  {:.1f} % (mean over {} families)", result.score.mean_of_families(), families.size());
  log::info("  {:<24} {:>7} {:>9}", "family", "rows", "exact %");
  for (const auto& [family, score] : families)
    log::info("  {:<24} {:>7} {:>9.1f}", family, score.rows, score.percent());
}

void write_json(const std::string& path, const EvalResult& result) {
  nlohmann::ordered_json json;
  json["model"] = result.model;
  json["data"] = result.data;
  json["rows"] = result.rows;
  json["loss"] = std::isfinite(result.loss) ? nlohmann::ordered_json(result.loss) : nlohmann::ordered_json(nullptr);
  json["loss_tokens"] = result.loss_tokens;
  json["exact_match"] = result.score.total().percent();
  json["exact_match_mean_of_families"] = result.score.mean_of_families();
  nlohmann::ordered_json families = nlohmann::ordered_json::object();
  for (const auto& [family, score] : result.score.families()) {
    families[family] = {{"rows", score.rows}, {"exact", score.exact}, {"exact_match", score.percent()}};
  }
  json["families"] = std::move(families);
  nlohmann::ordered_json answers = nlohmann::ordered_json::array();
  for (const Answer& answer : result.shown) {
    answers.push_back({{"instruction", answer.row.instruction},
                       {"input", answer.row.input},
                       {"expected", answer.row.output},
                       {"answer", answer.text},
                       {"exact", answer.exact}});
  }
  if (!answers.empty()) json["answers"] = std::move(answers);
  AtomicFile file(path);
  // What an untrained model answers need not be UTF-8.
  file.write(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  file.commit();
}

void require_quality(const EvalArguments& arguments, const Score& score) {
  const double mean = score.total().percent();
  if (arguments.min_exact_match && mean < *arguments.min_exact_match) {
    throw AgreedError(
        fmt::format("exact match {:.1f} % is below the wanted {:.1f} %", mean, *arguments.min_exact_match));
  }
  if (!arguments.min_family) return;
  const auto [family, percent] = score.weakest();
  if (percent < *arguments.min_family) {
    throw AgreedError(fmt::format("family '{}' has exact match {:.1f} %, below the wanted {:.1f} %", family, percent,
                                  *arguments.min_family));
  }
}

std::string data_path(const EvalArguments& arguments, const HostGroup& group) {
  std::string path = arguments.data;
  group.on_root([&] {
    if (path.empty()) path = bundled_sample().held_out.string();
  });
  return group.from_root(path);
}

class Evaluation {
 public:
  Evaluation(const EvalArguments& arguments, Runtime& runtime) : arguments_(arguments), runtime_(runtime) {
    const HostGroup& group = runtime.group();
    result_.data = data_path(arguments, group);
    group.together([&] {
      rows_ = read_rows(result_.data, arguments.limit);
      model_.emplace(arguments.model, arguments.sequence_length, runtime);
    });
    result_.model = model_->source().name;
    result_.rows = static_cast<std::int64_t>(rows_.size());
    log::info("model     {}", model_->description());
    log::info("data      {} ({} rows)", result_.data, format_count(result_.rows));
  }

  const EvalResult& run() {
    const HostGroup& group = runtime_.group();
    const std::vector<AlpacaRow> mine = rows_of_rank(rows_, group.rank(), group.size());
    add_losses(mine);
    for (const AlpacaRow& row : rows_) result_.score.declare(row.family);
    std::vector<Answer> answers;
    group.together([&] { answers = answer_rows(*model_, mine, max_new_tokens()); });
    for (const Answer& answer : answers) result_.score.add(answer.row.family, answer.exact);
    result_.score.set_counts(group.sum(result_.score.counts()));
    print_result(result_);
    result_.shown = spaced_answers(answers, arguments_.show);
    if (group.rank() == 0) print_answers(result_.shown);
    return result_;
  }

 private:
  void add_losses(const std::vector<AlpacaRow>& mine) {
    const HostGroup& group = runtime_.group();
    LossSum sum;
    const std::int64_t length = std::min(arguments_.sequence_length, model_->max_positions());
    group.together([&] { sum = sum_losses(*model_, mine, length); });
    const std::vector<double> all = group.sum(std::array{sum.sum, static_cast<double>(sum.tokens)});
    result_.loss = all[0] / all[1];
    result_.loss_tokens = static_cast<std::int64_t>(all[1]);
  }

  std::int64_t max_new_tokens() const {
    return arguments_.max_new_tokens > 0 ? arguments_.max_new_tokens : longest_output(rows_, model_->tokenizer());
  }

  const EvalArguments& arguments_;
  Runtime& runtime_;
  std::vector<AlpacaRow> rows_;
  std::optional<LoadedModel> model_;
  EvalResult result_;
};

}  // namespace

int run_eval(const EvalArguments& arguments, MpiWorld& world) {
  const HostGroup group(world.rank(), world.size());
  if (!arguments.ids.empty()) return run_eval_ids(arguments, world);
  Runtime runtime(world, {.device = arguments.model.device});
  Evaluation evaluation(arguments, runtime);
  const EvalResult& result = evaluation.run();
  group.on_root([&] {
    if (!arguments.json.empty()) write_json(arguments.json, result);
  });
  require_quality(arguments, result.score);
  return 0;
}

}  // namespace llama_zero
