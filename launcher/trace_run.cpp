#include "launcher/trace_run.h"

#include <fmt/format.h>

#include <vector>

#include "core/files.h"
#include "core/log.h"
#include "launcher/report_host.h"
#include "launcher/trace_clock.h"
#include "launcher/trace_file.h"

namespace llama_zero {
namespace {

std::vector<std::string> unit_names(const ParamTable& table) {
  std::vector<std::string> names;
  for (const Unit& unit : table.units()) names.push_back(unit.name);
  return names;
}

void prove_writable(const fs::path& path) {
  if (path.has_parent_path()) create_folder(path.parent_path());
  require(!fs::is_directory(path), "trace {} is a folder", path.string());
  AtomicFile file(path);  // not committed: the temporary file is removed
}

}  // namespace

TraceRun::TraceRun(const TrainSetup& setup, Runtime& runtime, std::int64_t steps_before)
    : runtime_(runtime), path_(setup.config.run.trace), last_step_(steps_before + setup.config.run.trace_steps) {
  if (path_.empty()) return;
  runtime.group().on_root([&] { prove_writable(path_); });
  origin_ns_ = trace_origin(runtime.group());
  observer_.emplace(runtime.device(), unit_names(*setup.table), recorder_);
  runtime.communicator().add_observer(*observer_);
  recorder_.activate();
  recording_ = true;
}

TraceRun::~TraceRun() { stop(); }

void TraceRun::stop() {
  if (!recording_) return;
  recording_ = false;
  recorder_.deactivate();
  runtime_.communicator().remove_observer(*observer_);
  observer_->stop();
}

void TraceRun::before_step(std::int64_t step) {
  if (recording_) observer_->begin_step(step);
}

void TraceRun::after_step(std::int64_t step) {
  if (!recording_) return;
  observer_->resolve(step);
  if (step >= last_step_) finish();
}

void TraceRun::finish() {
  if (!recording_) return;
  stop();
  const std::vector<TraceSlice> slices = recorder_.take();
  const std::string title = fmt::format("rank {} on {}", runtime_.rank(), host_name());
  const std::vector<std::string> all =
      runtime_.group().from_all(trace_events(runtime_.rank(), title, slices, origin_ns_));
  if (runtime_.rank() != 0) return;
  try {
    AtomicFile file(path_);
    file.write(trace_document(all));
    file.commit();
    log::info("trace     {} (open it in ui.perfetto.dev or chrome://tracing)", path_);
  } catch (const Error& error) {
    log::warning("trace: {}", error.what());
  }
}

}  // namespace llama_zero
