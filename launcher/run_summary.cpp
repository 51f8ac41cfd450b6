#include "launcher/run_summary.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "launcher/plan_case.h"

namespace llama_zero {
namespace {

using Json = nlohmann::ordered_json;

Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json memory_json(const MemoryReport& report) {
  Json labels = Json::object();
  for (const auto& [label, bytes] : report.at_peak) labels[label] = bytes;
  return {{"peak_bytes", report.peak_bytes}, {"labels", labels}};
}

Json account_json(const std::map<std::string_view, AccountEntry>& entries) {
  Json json = Json::object();
  for (const auto& [op, entry] : entries) {
    json[std::string(op)] = {
        {"calls", entry.calls}, {"bytes", entry.bytes}, {"ms", entry.ms}, {"wait_ms", entry.wait_ms}};
  }
  return json;
}

Json transfer_json(const ModelTransfer& transfer) {
  return {{"bytes", transfer.bytes},
          {"seconds", transfer.seconds},
          {"anonymous_bytes", transfer.highest.anonymous},
          {"shared_bytes", transfer.highest.shared},
          {"pinned_bytes", transfer.highest.pinned},
          {"arena_bytes", transfer.arena_bytes}};
}

}  // namespace

std::string run_summary(const TrainSetup& setup, const TrainTotals& totals, std::optional<double> eval_loss,
                        const MemoryForecast& measured, const ModelTransfers& transfers, const std::string& device,
                        int ranks) {
  Json json;
  json["model"] = setup.model.name;
  json["parameters"] = setup.table->total_numel();
  json["device"] = device;
  json["ranks"] = ranks;
  json["steps"] = totals.steps;
  json["skipped"] = totals.skipped;
  json["tokens"] = totals.tokens;
  json["samples"] = totals.samples;
  json["seconds"] = totals.seconds;
  json["first_loss"] = totals.steps > 0 ? finite_or_null(totals.first_loss) : Json(nullptr);
  json["last_loss"] = totals.steps > 0 ? finite_or_null(totals.last_loss) : Json(nullptr);
  json["eval_loss"] = eval_loss ? finite_or_null(*eval_loss) : Json(nullptr);
  json["communication"] = account_json(totals.account.collectives);
  json["host_copies"] = account_json(totals.account.copies);
  json["import"] = transfers.imported ? transfer_json(*transfers.imported) : Json(nullptr);
  json["export"] = transfers.exported ? transfer_json(*transfers.exported) : Json(nullptr);
  Json& memory = json["memory"];
  memory = {{"planned", memory_json(with_workspace(setup.plan))}, {"measured", memory_json(measured.device)}};
  if (setup.plan.host.peak_bytes + measured.host.peak_bytes > 0) {
    memory["host_planned"] = memory_json(setup.plan.host);
    memory["host_measured"] = memory_json(measured.host);
  }
  return json.dump(2) + "\n";
}

}  // namespace llama_zero
