// The command line. Every key of the config's "llama_zero" section is a flag, made from the schema table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/log.h"
#include "launcher/config.h"

namespace llama_zero {

enum class Command { kPrintText, kTrain, kPlan, kReport, kTokenize, kGenerate, kEval, kSample, kExport, kLabReport };

struct TrainArguments {
  std::optional<fs::path> config;
  ConfigFlags flags;          ///< --set first, then the flags, which therefore win
  std::string invocation;     ///< the command line as typed, without --resume
  bool plan = false;          ///< print the memory table and stop
  bool print_config = false;  ///< print the resolved config with the origin of each value and stop
};

/// The run is described as for training; `ranks` need not be there.
struct PlanArguments {
  TrainArguments train;
  int ranks = 0;           ///< 0: as many as mpirun started
  int ranks_per_host = 0;  ///< 0: the most that divide `ranks`, at most 8
  double memory_gb = 0.0;  ///< 2^30 bytes of memory for each rank; 0: what this machine's device has
  bool compare = false;    ///< every stage and offload on 1 to 8 ranks, in one table
};

struct TokenizeArguments {
  fs::path data;
  std::string tokenizer;  ///< empty: the bundled one
  std::int64_t sequence_length = 512;
};

/// What `generate` and `eval` load, and where it runs.
struct ModelArguments {
  std::string model;      ///< Hugging Face folder or preset
  std::string tokenizer;  ///< empty: the folder's, else the bundled one
  std::string dtype;      ///< "fp32", "fp16", "bf16"; empty: the folder's own, fp32 for a preset
  DeviceChoice device = DeviceChoice::kAuto;
  std::uint64_t seed = 42;         ///< random weights of a preset; sampling
  bool without_tokenizer = false;  ///< token ids in and out: none is looked for
};

struct GenerateArguments {
  ModelArguments model;
  std::string instruction, input;
  std::optional<std::string> prompt;     ///< raw text instead of Alpaca's template
  std::vector<std::int32_t> prompt_ids;  ///< token ids instead of text; empty: text
  bool print_ids = false;                ///< the answer as token ids
  std::int64_t max_new_tokens = 128;
  double temperature = 0.0;  ///< 0: greedy
  double top_p = 1.0;
};

struct EvalArguments {
  ModelArguments model;
  std::string data;        ///< empty: the bundled held-out prompts
  std::string ids;         ///< rows as token ids (launcher/id_rows.h) instead of text: loss alone; empty: text
  std::int64_t limit = 0;  ///< rows, 0: all
  std::int64_t show = 0;   ///< questions to print with answer and expected output
  std::int64_t sequence_length = 512;
  std::int64_t max_new_tokens = 0;                    ///< 0: what the longest expected output needs
  std::string json;                                   ///< file for the figures; empty: none
  std::optional<double> min_exact_match, min_family;  ///< percent
};

struct SampleArguments {
  fs::path output;
};

struct ExportArguments {
  fs::path checkpoint;  ///< a checkpoint, or a run with several: its newest
  fs::path output;
  std::string dtype;  ///< "fp32", "fp16", "bf16"; empty: as the run would have
  std::string max_shard_size = "5GB";
};

struct LabReportArguments {
  fs::path input = "runs/lab";  ///< what scripts/lab left
  fs::path output;              ///< the page; empty: lab.html in `input`
};

struct CommandLine {
  Command command = Command::kTrain;
  std::string text;  ///< kPrintText: help, version, a config key's meaning
  log::Level log_level = log::Level::kInfo;
  TrainArguments train;
  PlanArguments plan;
  TokenizeArguments tokenize;
  GenerateArguments generate;
  EvalArguments eval;
  SampleArguments sample;
  ExportArguments export_model;
  LabReportArguments lab_report;
};

/// Throws Error for an unknown flag, a missing or malformed value, or flags that exclude each other.
CommandLine parse_command_line(int argc, const char* const* argv);

}  // namespace llama_zero
