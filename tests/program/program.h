// Runs the real binary as a child process, alone or under mpirun, and hands back what it said.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace llama_zero::test {

namespace fs = std::filesystem;

struct Outcome {
  int exit_code = -1;  ///< 128 + signal for a child that died of one
  std::string out;     ///< standard output
  std::string err;     ///< standard error
  double seconds = 0.0;
};

struct RunOptions {
  int ranks = 0;                         ///< 0: without mpirun
  std::vector<std::string> environment;  ///< "NAME=value", added to the tests' own
  fs::path folder;                       ///< working folder; empty: that of the tests
  fs::path terminate_when;               ///< the child gets one SIGTERM when this file has content; empty: never
};

/// The binary under test, absolute.
fs::path program_file();

/// Runs `llama_zero arguments...` to its end. A child that takes longer than two minutes is killed (exit code 137).
Outcome run_program(const std::vector<std::string>& arguments, const RunOptions& options = {});

/// The lines of `text` that start with "llama_zero: error: ".
std::vector<std::string> error_lines(const std::string& text);

void write_text(const fs::path& path, const std::string& text);
std::string read_text(const fs::path& path);
/// The objects of a JSON-lines file.
std::vector<nlohmann::json> read_json_lines(const fs::path& path);
/// `rows` Alpaca rows of small sums, with the families "sum" and "twice", as JSON lines.
std::string alpaca_rows(int rows);

/// Arguments of a training run of a few seconds: tiny model, small data of this folder (written when missing), `steps`
/// steps, output in folder/name.
std::vector<std::string> tiny_run(const TemporaryFolder& folder, const std::string& name, int steps,
                                  const std::vector<std::string>& more = {});

}  // namespace llama_zero::test
