// cpu_checkpointing's copies as observers of the communicator see them.
#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string_view>

#include "core/error.h"
#include "worker_rank.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

constexpr std::int64_t kLayers = 5, kLeaving = kLayers - 2, kHidden = 64;
constexpr std::string_view kDown = "copy_activations_to_host", kUp = "copy_activations_to_device";

RunOptions run_of(int passes_per_rank) {
  RunOptions run;
  run.stage = 2;
  run.ranks = 2;
  run.dtype = run.grad_dtype = DType::kBF16;
  run.passes_per_rank = passes_per_rank;
  return run;
}

class CopyCounter final : public CommObserver {
 public:
  struct Entry {
    std::int64_t copies = 0, ended = 0, bytes = 0, waits = 0, ended_waits = 0;
    std::set<Stream*> streams;
    std::set<std::int64_t> steps;
  };

  void before(const CommCall&) override {}
  void after(const CommCall&) override {}
  void before_copy(const CommCall& call) override {
    if (!call.op.starts_with("copy_activations")) return;
    require(call.background, "{} is part of the computation", call.op);
    Entry& entry = entries[call.op];
    entry.copies += 1;
    entry.bytes += call.bytes;
    entry.streams.insert(call.stream);
    entry.steps.insert(call.step);
  }
  void after_copy(const CommCall& call) override { entries[call.op].ended += 1; }
  void before_wait(const CommCall& call) override {
    require(!call.background, "the stream of {} waits for itself", call.op);
    entries[call.op].waits += 1;
  }
  void after_wait(const CommCall& call) override { entries[call.op].ended_waits += 1; }

  std::map<std::string_view, Entry> entries;
};

/// What a step of `rank` tells of its copies, checked against its passes.
template <typename Rank>
void require_counted(Rank& rank, Communicator& communicator, const RunOptions& run) {
  CopyCounter counter;
  communicator.add_observer(counter);
  rank.step(0);
  communicator.remove_observer(counter);
  std::int64_t tokens = 0;
  for (const Pass& pass : passes_of(0, communicator.rank(), run.ranks, run.passes_per_rank)) {
    tokens += pass.tokens_count();
  }
  for (const std::string_view op : {kDown, kUp}) {
    const CopyCounter::Entry& entry = counter.entries[op];
    const std::int64_t calls = kLeaving * run.passes_per_rank;
    require(entry.copies == calls && entry.ended == calls, "{}: {} copies, {} ends", op, entry.copies, entry.ended);
    require(entry.waits == calls && entry.ended_waits == calls, "{}: {} waits", op, entry.waits);
    require(entry.bytes == kLeaving * tokens * kHidden * 2, "{}: {} bytes of {} tokens", op, entry.bytes, tokens);
    require(entry.steps == std::set<std::int64_t>{1}, "{}: of another step", op);
    require(entry.streams.size() == 1, "{}: {} streams", op, entry.streams.size());
  }
  require(counter.entries[kDown].streams != counter.entries[kUp].streams, "both ways share a stream");
}

}  // namespace

TEST_CASE("observers see every byte of block inputs that goes to host memory and comes back") {
  for (const int passes : {1, 3}) {
    run_rank_threads(2, [&](Communicator& communicator) {
      const RunOptions run = run_of(passes);
      EngineOptions options = engine_options(run);
      options.transformer.cpu_checkpointing = true;
      TestRank at_once(run, options, communicator, kLayers);
      require_counted(at_once, communicator, run);
      WorkerRank on_threads(run, options, communicator, nullptr, false, kLayers);
      require_counted(on_threads, *on_threads.communicator, run);
    });
  }
}

TEST_CASE("block inputs that stay on the device are no host copies") {
  run_rank_threads(2, [&](Communicator& communicator) {
    const RunOptions run = run_of(2);
    TestRank rank(run, engine_options(run), communicator, kLayers);
    CopyCounter counter;
    communicator.add_observer(counter);
    rank.step(0);
    communicator.remove_observer(counter);
    for (const std::string_view op : {kDown, kUp}) require(!counter.entries.contains(op), "{} was seen", op);
  });
}
