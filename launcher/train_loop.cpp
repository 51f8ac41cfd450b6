#include "launcher/train_loop.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <utility>

#include "core/log.h"
#include "launcher/data_position.h"
#include "launcher/metrics.h"
#include "launcher/progress.h"
#include "launcher/save_interval.h"
#include "launcher/trace_run.h"

namespace llama_zero {
namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The step before which this rank is to kill itself (0: never).
std::int64_t kill_step(int rank) {
  const char* text = std::getenv("LLAMA_ZERO_TEST_KILL");
  if (text == nullptr) return 0;
  char* end = nullptr;
  const long wanted_rank = std::strtol(text, &end, 10);
  return *end == ':' && wanted_rank == rank ? std::strtol(end + 1, nullptr, 10) : 0;
}

Progress make_progress(bool with_scale) {
  Progress::Options options;
  const std::optional<int> width = terminal_width();
  options.terminal = width.has_value();
  options.width = width.value_or(options.width);
  options.with_scale = with_scale;
  return {options, write_stdout};
}

class TrainLoop {
 public:
  TrainLoop(TrainSetup& setup, Engine& engine, Arena& arena, Runtime& runtime, const RunFolder& folder,
            const StopSignal& signal, RunMonitor& monitor, CheckpointSaver& saver, const RunPosition& start)
      : setup_(setup),
        engine_(engine),
        arena_(arena),
        runtime_(runtime),
        signal_(signal),
        monitor_(monitor),
        saver_(saver),
        interval_(parse_save_interval(setup.config.run.save_interval)),
        position_(start),
        kill_step_(kill_step(runtime.rank())),
        progress_(make_progress(setup.config.dtype == DType::kF16)),
        trace_(setup, runtime, start.steps) {
    if (runtime.rank() == 0) {
      metrics_.emplace(folder.metrics(), start.steps);
      runtime.communicator().add_observer(account_.emplace(runtime.device(), runtime.ranks()));
    }
    take_up(start);
    if (StepObserver* observer = trace_.observer()) monitor.add(*observer);
    monitor.attach(engine, arena, [this](std::string_view text) {
      progress_.finish();
      write_stdout(text);
    });
  }

  ~TrainLoop() {
    monitor_.stop_watching();
    if (account_) runtime_.communicator().remove_observer(*account_);
  }
  TrainLoop(const TrainLoop&) = delete;
  TrainLoop& operator=(const TrainLoop&) = delete;

  TrainTotals run() {
    const double start = now_seconds();
    last_save_ = start;
    while (given_steps_ < setup_.config.total_steps && !stopped()) {
      one_step();
      totals_.seconds = now_seconds() - start;
      if (save_is_due()) save();
    }
    if (const auto last = engine_.drain()) account(*last);
    totals_.seconds = now_seconds() - start;
    if (totals_.stop_signal != 0 || !totals_.failure.empty()) save();
    progress_.finish();
    saver_.finish();
    trace_.finish();
    monitor_.print_summary();
    if (account_) totals_.account = account_->total();
    return totals_;
  }

 private:
  void take_up(const RunPosition& start) {
    given_steps_ = start.steps;
    runtime_.group().set_step(given_steps_);
    given_next_ = taken_next_ = setup_.loader->position();
    totals_.steps = totals_.steps_before = start.steps;
    totals_.tokens = totals_.tokens_before = start.tokens;
    totals_.skipped = start.skipped;
    totals_.samples = start.samples;
    totals_.padded_tokens = start.padded_tokens;
    totals_.first_loss = start.first_loss;
  }

  // One agreement a step: whether any rank was told to stop, and what rank 0's clock says of the next checkpoint.
  bool stopped() {
    const bool late = interval_.seconds > 0.0 && now_seconds() - last_save_ >= interval_.seconds;
    const std::int64_t clock = late && runtime_.rank() == 0 ? 1 : 0;
    const std::int64_t agreed =
        runtime_.group().max(2 * std::int64_t{signal_.received()} + clock, "agreement to go on");
    totals_.stop_signal = static_cast<int>(agreed / 2);
    clock_says_save_ = agreed == 1;
    return totals_.stop_signal != 0 || !totals_.failure.empty();
  }

  bool save_is_due() {
    if (saver_.saving()) {
      progress_.finish();
      saver_.poll();
    }
    return clock_says_save_ || (interval_.steps > 0 && given_steps_ % interval_.steps == 0);
  }

  // Of the state after the last step given, whose result must be known first.
  void save() {
    if (const auto last = engine_.drain()) account(*last);
    clock_says_save_ = false;
    last_save_ = now_seconds();
    progress_.finish();
    position_.steps = totals_.steps;
    position_.skipped = totals_.skipped;
    position_.samples = totals_.samples;
    position_.tokens = totals_.tokens;
    position_.padded_tokens = totals_.padded_tokens;
    position_.first_loss = totals_.first_loss;
    describe_data(position_, setup_, taken_next_);
    const TraceScope scope(TraceThread::kHost, "checkpoint", "save");
    saver_.save(position_);
  }

  // The engine is one step late: what it returns belongs to the batch before this one.
  void one_step() {
    if (++given_steps_ == kill_step_) std::raise(SIGKILL);
    runtime_.group().set_step(given_steps_);
    GlobalBatch batch = next_batch();
    trace_.before_step(given_steps_);
    monitor_.before_step(given_steps_, batch.passes);
    const auto before = give_to_engine(batch);
    if (before) account(*before);
    batch.passes.clear();
    given_ = std::move(batch);
    given_next_ = setup_.loader->position();
  }

  GlobalBatch next_batch() {
    const TraceScope scope(TraceThread::kHost, "loader", "load batch");
    return setup_.loader->next();
  }

  // A lost GPU is found by whoever waits for it; here the step is known.
  std::optional<StepResult> give_to_engine(const GlobalBatch& batch) {
    const TraceScope scope(TraceThread::kHost, "host", "give a step, wait for the one before");
    try {
      return engine_.train_step(batch.passes, batch.loss_weight);
    } catch (const Error& error) {
      if (!std::string_view(error.what()).starts_with("CUDA")) throw;
      fail("step {} or the one before: {}", given_steps_, error.what());
    }
  }

  // A failure ends the run on every rank, but the weights so far are good and the step is reported.
  void account(const StepResult& result) {
    add(given_, result);
    taken_next_ = given_next_;
    report(given_, result);
    totals_.failure = result.failure;
    if (trace_.writes_after(totals_.steps)) progress_.finish();
    trace_.after_step(totals_.steps);
  }

  void add(const GlobalBatch& batch, const StepResult& result) {
    totals_.steps += 1;
    totals_.skipped += result.state.skip != 0 ? 1 : 0;
    totals_.samples += batch.global_rows;
    totals_.tokens += batch.global_tokens;
    totals_.padded_tokens += batch.padded_tokens;
    if (totals_.steps == 1) totals_.first_loss = result.loss;
    totals_.last_loss = result.loss;
  }

  void report(const GlobalBatch& batch, const StepResult& result) {
    if (runtime_.rank() != 0) return;
    StepReport report;
    report.step = totals_.steps;
    report.total_steps = setup_.config.total_steps;
    report.loss = result.loss;
    report.lr = static_cast<double>(result.state.lr);
    report.grad_norm = result.state.grad_norm;
    report.loss_scale = static_cast<double>(result.state.used_loss_scale);
    report.next_loss_scale = static_cast<double>(result.state.loss_scale);
    report.skipped = result.state.skip != 0;
    report.samples = totals_.samples;
    report.tokens = totals_.tokens;
    report.tokens_per_second = static_cast<double>(batch.global_tokens) / result.seconds;
    report.step_ms = result.seconds * 1e3;
    report.mem_peak_bytes = arena_.report().peak_bytes;
    const AccountEntry collectives = account_->take(result.state.iteration).all_collectives();
    report.comm_bytes = collectives.bytes;
    report.comm_ms = collectives.ms;
    report.wait_ms = collectives.wait_ms;
    report.epoch = static_cast<double>(totals_.samples) / static_cast<double>(setup_.loader->trainable_rows());
    metrics_->write(report);
    warn_if_not_finite(report);
    progress_.step(report, now_seconds());
    monitor_.after_step(report, result.state);
  }

  // A skipped step is fp16's normal search for its scale; weights that are not finite are the end of the run's use.
  void warn_if_not_finite(const StepReport& report) {
    if (warned_ || report.skipped || (std::isfinite(report.loss) && std::isfinite(report.grad_norm))) return;
    warned_ = true;
    progress_.finish();
    log::warning("step {}: loss {} and gradient norm {} are not finite; a lower learning rate may help", report.step,
                 report.loss, report.grad_norm);
  }

  TrainSetup& setup_;
  Engine& engine_;
  Arena& arena_;
  Runtime& runtime_;
  const StopSignal& signal_;
  RunMonitor& monitor_;
  CheckpointSaver& saver_;
  SaveInterval interval_;
  RunPosition position_;
  double last_save_ = 0.0;
  bool clock_says_save_ = false;
  std::int64_t kill_step_;
  std::int64_t given_steps_ = 0;
  GlobalBatch given_;                       ///< of the last step given, without its passes
  LoaderPosition given_next_, taken_next_;  ///< of the batch after it, and after the last one whose result is known
  Progress progress_;
  std::optional<MetricsFile> metrics_;
  std::optional<AccountKeeper> account_;
  TraceRun trace_;
  TrainTotals totals_;
  bool warned_ = false;
};

}  // namespace

TrainTotals run_training(TrainSetup& setup, Engine& engine, Arena& arena, Runtime& runtime, const RunFolder& folder,
                         const StopSignal& signal, RunMonitor& monitor, CheckpointSaver& saver,
                         const RunPosition& start) {
  return TrainLoop(setup, engine, arena, runtime, folder, signal, monitor, saver, start).run();
}

}  // namespace llama_zero
