// Stage 3 under all its limits, and with its weights on the host: the same bits, within the planned memory.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "training_run.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

struct Variant {
  const char* name;
  std::function<void(EngineOptions&)> change;
};

void offload(EngineOptions& options) { options.offload_param.enabled = true; }

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all = {
      {"no prefetch", [](EngineOptions& o) { o.prefetch_bucket_size = 0; }},
      {"all ahead", [](EngineOptions& o) { o.prefetch_bucket_size = 1 << 30; }},
      {"all kept", [](EngineOptions& o) { o.max_reuse_distance = 1 << 30; }},
      {"the last block kept", [](EngineOptions& o) { o.max_reuse_distance = 40000; }},
      {"all ahead and kept", [](EngineOptions& o) { o.prefetch_bucket_size = o.max_reuse_distance = 1 << 30; }},
      {"nothing ahead of the live limit",
       [](EngineOptions& o) {
         o.prefetch_bucket_size = o.max_reuse_distance = 1 << 30;
         o.max_live_parameters = 1;
       }},
      {"a live limit of two units",
       [](EngineOptions& o) {
         o.prefetch_bucket_size = o.max_reuse_distance = 1 << 30;
         o.max_live_parameters = 90000;
       }},
      {"none persistent", [](EngineOptions& o) { o.param_persistence_threshold = 0; }},
      {"all persistent", [](EngineOptions& o) { o.param_persistence_threshold = 1 << 30; }},
      {"some persistent",
       [](EngineOptions& o) {
         o.param_persistence_threshold = 1 << 30;
         o.model_persistence_threshold = 80000;
       }},
      {"no overlap", [](EngineOptions& o) { o.overlap_comm = false; }},
      {"offload", offload},
      {"offload, no prefetch", [](EngineOptions& o) { offload(o), o.prefetch_bucket_size = 0; }},
      {"offload, all ahead and kept",
       [](EngineOptions& o) {
         offload(o);
         o.prefetch_bucket_size = o.max_reuse_distance = 1 << 30;
         o.offload_param.buffer_count = 100;
       }},
      {"offload, three buffers, small copies",
       [](EngineOptions& o) {
         offload(o);
         o.prefetch_bucket_size = o.max_reuse_distance = 1 << 30;
         o.offload_param.buffer_count = 3;
         o.offload_param.buffer_size = 1000;
       }},
      {"offload, no overlap", [](EngineOptions& o) { offload(o), o.overlap_comm = false; }},
      {"offload of a part", [](EngineOptions& o) { offload(o), o.offload_param.max_in_cpu = 30000; }},
      {"offload, some persistent",
       [](EngineOptions& o) {
         offload(o);
         o.param_persistence_threshold = 1 << 30;
         o.model_persistence_threshold = 80000;
       }},
  };
  return all;
}

RunOptions run_of(int ranks, DType dtype, bool tied) {
  RunOptions run;
  run.stage = 3;
  run.ranks = ranks;
  run.dtype = dtype;
  run.tied = tied;
  run.steps = 3;
  run.passes_per_rank = 2;
  return run;
}

bool is_full() {
  const char* value = std::getenv("LLAMA_ZERO_TEST_FULL");
  return value != nullptr && std::string(value) == "1";
}

void check_memory(const RankRecord& rank) {
  CHECK(rank.memory.peak_bytes <= rank.plan.arena.peak_bytes);  // the largest pass may not have come
  for (const char* label : {"weights", "leases"}) {
    const auto bytes = [&](const MemoryReport& report) {
      const auto at = report.peak_by_label.find(label);
      return at == report.peak_by_label.end() ? 0 : at->second;
    };
    CHECK(bytes(rank.memory) == bytes(rank.plan.arena));
  }
  CHECK(rank.host.peak_bytes == rank.plan.host.peak_bytes);
  CHECK(rank.host.at_peak == rank.plan.host.at_peak);
}

}  // namespace

TEST_CASE("stage 3 gives the same bits under every limit and with weights on the host, in planned memory") {
  for (const bool tied : {false, true}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const int ranks : {1, 2, 3, 4}) {
        if (!is_full() && (tied ? dtype == DType::kBF16 || ranks != 2 : dtype == DType::kF32)) continue;
        RunOptions run = run_of(ranks, dtype, tied);
        const std::vector<RankRecord> reference = train(run);
        for (const Variant& variant : variants()) {
          INFO(std::string(variant.name) << ", " << ranks << " ranks, " << std::string(name_of(dtype))
                                         << std::string(tied ? ", tied" : ""));
          run.change = variant.change;
          const std::vector<RankRecord> records = train(run);
          CHECK(first_difference(reference, records) == "");
          for (const RankRecord& rank : records) check_memory(rank);
        }
      }
    }
  }
}

TEST_CASE("what is gathered at once obeys the limits") {
  RunOptions run = run_of(2, DType::kBF16, false);
  const ParamTable table(small_llama(false));
  std::int64_t largest = 0;
  for (const Unit& unit : table.units()) largest = std::max(largest, unit.numel);
  const auto peak = [&](std::int64_t prefetch, std::int64_t live, std::int64_t reuse) {
    run.change = [=](EngineOptions& o) {
      o.param_persistence_threshold = 0;
      o.prefetch_bucket_size = prefetch;
      o.max_live_parameters = live;
      o.max_reuse_distance = reuse;
    };
    return train(run).front().gathered_peak;
  };
  CHECK(peak(0, 1 << 30, 0) == largest);
  CHECK(peak(1, 1 << 30, 0) > largest);
  CHECK(peak(1, 1 << 30, 0) <= 2 * largest);
  CHECK(peak(1 << 30, 1, 1 << 30) == largest);
  for (const std::int64_t limit : {largest, 2 * largest}) {
    INFO("limit ", limit);
    CHECK(peak(1 << 30, limit, 0) < limit + largest);  // the last unit ahead may overshoot
    CHECK(peak(0, limit, 1 << 30) <= limit);
  }
  CHECK(peak(1 << 30, 1 << 30, 1 << 30) == table.total_numel());
}

TEST_CASE("weights on the host leave nothing but slots on the device") {
  for (const int ranks : {1, 2}) {
    RunOptions run = run_of(ranks, DType::kBF16, false);
    run.change = offload;
    for (const RankRecord& rank : train(run)) {
      CHECK(rank.memory.at_peak.count("weights") == 0);
      const ParamTable table(small_llama(false));
      const Layout layout(table, ranks, 0);
      std::size_t shards = 0, largest = 0;
      for (int unit = 0; unit < layout.unit_count(); ++unit) {
        shards += 2 * static_cast<std::size_t>(layout[unit].shard);
        largest = std::max(largest, 2 * static_cast<std::size_t>(layout[unit].padded()));
      }
      CHECK(rank.host.at_peak.at("host weights") >= shards);
      CHECK(rank.host.at_peak.at("host weights") < shards + static_cast<std::size_t>(layout.unit_count()) * 256);
      CHECK(rank.memory.at_peak.at("leases") <= 2 * (largest + Arena::kAlignment));
    }
  }
}
