#include "launcher/train_finish.h"

#include <fmt/format.h>

#include <csignal>
#include <set>

#include "core/log.h"
#include "launcher/plan_case.h"
#include "launcher/progress.h"
#include "model/hf_folder.h"

namespace llama_zero {
namespace {

std::size_t bytes_of(const std::map<std::string, std::size_t>& labels, const std::string& label) {
  const auto found = labels.find(label);
  return found == labels.end() ? 0 : found->second;
}

void print_memory(const char* title, const MemoryReport& planned, const MemoryReport& measured) {
  std::set<std::string> labels;
  for (const auto& [label, bytes] : planned.at_peak) labels.insert(label);
  for (const auto& [label, bytes] : measured.at_peak) labels.insert(label);
  log::info("  {:<20} {:>12} {:>12}", title, "planned", "measured");
  for (const std::string& label : labels) {
    log::info("  {:<20} {:>12} {:>12}", label, format_bytes(bytes_of(planned.at_peak, label)),
              format_bytes(bytes_of(measured.at_peak, label)));
  }
  log::info("  {:<20} {:>12} {:>12}", "total", format_bytes(planned.peak_bytes), format_bytes(measured.peak_bytes));
}

void print_account(const TrainTotals& totals) {
  const Account& account = totals.account;
  if (!account.collectives.empty()) {
    log::info("communication  {}; {:.1f} % of the time waited (rank 0)", describe(account.collectives),
              account.all_collectives().wait_ms / 10.0 / totals.seconds);
  }
  if (!account.copies.empty()) log::info("host copies    {}", describe(account.copies));
}

std::string describe_end(const TrainSetup& setup, const TrainTotals& totals) {
  std::string text = fmt::format("{} step{}", format_count(totals.steps), totals.steps == 1 ? "" : "s");
  if (totals.steps < setup.config.total_steps) text += fmt::format(" of {}", format_count(setup.config.total_steps));
  if (totals.skipped > 0) text += fmt::format(" ({} skipped: gradients not finite)", totals.skipped);
  if (totals.stop_signal != 0) text += fmt::format(", stopped by {}", strsignal(totals.stop_signal));
  return text;
}

}  // namespace

std::optional<double> evaluate_at_end(TrainSetup& setup, Engine& engine) {
  if (!setup.eval_loader) return std::nullopt;
  double sum = 0.0;
  std::int64_t tokens = 0;
  for (std::int64_t i = 0; i < setup.eval_loader->batches_per_epoch(); ++i) {
    const GlobalBatch batch = setup.eval_loader->next();
    sum += engine.evaluate(batch.passes);
    tokens += batch.global_loss_tokens;
  }
  return sum / static_cast<double>(tokens);
}

DType export_dtype_of(const TrainConfig& config) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (name_of(dtype) == config.run.export_dtype) return dtype;
  }
  return config.dtype;
}

ModelTransfer export_final_model(const TrainSetup& setup, Engine& engine, const Runtime& runtime,
                                 const RunFolder& folder) {
  TransferMeter meter;
  if (runtime.rank() == 0) {
    HfModelInfo info = setup.model.config.info;
    info.torch_dtype = export_dtype_of(setup.config);
    HfExportOptions options;
    options.max_shard_bytes = setup.config.run.max_shard_bytes;
    options.source = setup.model.folder;
    write_hf_folder(
        folder.final_model(), *setup.table, info, setup.tokenizer->path(),
        [&](int unit, std::vector<float>& out) {
          engine.gather_master(unit, out, 0);
          meter.sample();
        },
        options);
  } else {
    std::vector<float> none;
    for (int unit = 0; unit < setup.table->unit_count(); ++unit) engine.gather_master(unit, none, 0);
  }
  const std::size_t bytes =
      static_cast<std::size_t>(setup.table->total_numel()) * size_of(export_dtype_of(setup.config));
  return meter.finish(static_cast<std::int64_t>(bytes), 0, runtime.group());
}

void print_summary(const TrainSetup& setup, const TrainTotals& totals, std::optional<double> eval_loss,
                   const MemoryForecast& measured, const RunFolder& folder,
                   const std::optional<ModelTransfer>& exported) {
  const double all_tokens = static_cast<double>(totals.tokens + totals.padded_tokens);
  log::info("done      {} in {}", describe_end(setup, totals), format_duration(totals.seconds));
  if (totals.steps > 0) {
    log::info("loss      first {:.4f}, last {:.4f}", totals.first_loss, totals.last_loss);
    log::info("speed     {} tokens/s ({} tokens, {} rows)",
              format_count(static_cast<std::int64_t>(static_cast<double>(totals.tokens - totals.tokens_before) /
                                                     totals.seconds)),
              format_count(totals.tokens), format_count(totals.samples));
    log::info("padding   {:.2f} % of the tokens computed",
              100.0 * static_cast<double>(totals.padded_tokens) / all_tokens);
    print_account(totals);
  }
  if (eval_loss) log::info("eval loss {:.4f} ({} rows)", *eval_loss, format_count(setup.eval_data->tokens.rows()));
  print_memory("memory at the peak", with_workspace(setup.plan), measured.device);
  if (setup.plan.host.peak_bytes + measured.host.peak_bytes > 0) {
    print_memory("host memory", setup.plan.host, measured.host);
  }
  if (exported) {
    log::info("model     {}, {}", folder.final_model().string(), describe_rate(*exported));
  } else {
    log::info("model     not written: llama_zero.export is false");
  }
}

}  // namespace llama_zero
