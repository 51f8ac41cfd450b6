// The runs of the lab, as they lie in its folder: what each was told, and what it measured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/files.h"

namespace llama_zero::lab {

/// A line of metrics.jsonl. The last three are of rank 0's collectives.
struct Step {
  std::int64_t step = 0;
  double loss = 0.0, lr = 0.0;
  double step_ms = 0.0, tokens_per_second = 0.0;
  double comm_bytes = 0.0, comm_ms = 0.0, wait_ms = 0.0;
};

/// Bytes of one rank at its peak.
struct Memory {
  std::size_t peak_bytes = 0;
  std::map<std::string, std::size_t> labels;
};

/// Collectives or copies of one kind over a whole run, by the run's account (launcher/account.h), of rank 0.
struct Traffic {
  double calls = 0.0, bytes = 0.0, ms = 0.0, wait_ms = 0.0;
};

/// How failed.txt of a run begins that scripts/lab left out.
inline constexpr const char* kLeftOut = "left out: ";

struct Run {
  std::string name;     ///< the folder's
  std::string command;  ///< as typed
  std::string failure;  ///< the run's last error line; empty: it finished, and what was measured holds
  std::string model, device;
  std::int64_t parameters = 0;
  int ranks = 0;
  int stage = 0;
  std::int64_t micro_batch = 0, accumulation = 0, sequence_length = 0;
  bool offload_optimizer = false, offload_param = false, overlap = false;
  Memory planned, planned_host;  ///< of a run that failed too, if its config can be planned; host: offloaded states
  Memory measured, measured_host;
  std::vector<Step> steps;
  double seconds = 0.0;
  std::map<std::string, Traffic> collectives, copies;

  bool finished() const { return failure.empty(); }
  bool left_out() const { return failure.starts_with(kLeftOut); }  ///< not wanted to its end: the lab's time was over
};

/// The runs of `folder`, in order of name: each sub-folder with a command.txt, which holds config.json, metrics.jsonl
/// and summary.json of a run that finished, or failed.txt of one that did not, with its words in words.txt for a plan
/// (launcher/lab/lab_plan.h); neither summary.json nor failed.txt is there of one that was cut off. None when there is
/// no such folder. Throws Error naming the file when one of them cannot be read.
std::vector<Run> read_runs(const fs::path& folder);

std::vector<Run> finished(const std::vector<Run>& runs);

/// Steps that count for speed: all but the first two (of two or three: the first), which warm up.
std::vector<Step> warm_steps(const Run& run);
/// Median of the warm steps: one that something else on the machine held up does not count. 0 without steps.
double tokens_per_second(const Run& run);
double median_step_ms(const Run& run);
/// Percent of the warm steps' time that rank 0 spent in collectives, its waits for other ranks included.
double communication_percent(const Run& run);
/// Percent of the warm steps' time for which rank 0's computation stood still for collectives.
double waiting_percent(const Run& run);
/// Bytes of `traffic` a step.
double bytes_a_step(const Run& run, const std::map<std::string, Traffic>& traffic);

/// "ZeRO-2 + offload", "standard (stage 0)"
std::string stage_name(const Run& run);
/// stage_name, or "standard" alone.
std::string short_name(const Run& run);
bool on_cpu(const Run& run);

}  // namespace llama_zero::lab
