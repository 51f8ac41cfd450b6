#include "tests/program/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace llama_zero::test {
namespace {

constexpr double kTimeoutSeconds = 120.0;

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// What Open MPI never frees is not our leak; the leaks of our own code show in the tests of the libraries.
void allow_leaks() {
  const char* before = std::getenv("ASAN_OPTIONS");
  const std::string options = std::string(before == nullptr ? "" : before) + ":detect_leaks=0";
  ::setenv("ASAN_OPTIONS", options.c_str(), 1);
}

// Open MPI 4 and 5 each refuse root and more ranks than cores unless told so, under different names.
void set_environment(const std::vector<std::string>& more) {
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  ::setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
  ::setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe", 1);
  allow_leaks();
  ::setenv("LLAMA_ZERO_POISON", "1", 1);
  for (const std::string& entry : more) {
    const std::size_t at = entry.find('=');
    ::setenv(entry.substr(0, at).c_str(), entry.substr(at + 1).c_str(), 1);
  }
}

std::vector<std::string> command_of(const std::vector<std::string>& arguments, int ranks) {
  std::vector<std::string> command;
  if (ranks > 0) command = {"mpirun", "--bind-to", "none", "-np", std::to_string(ranks)};
  command.push_back(program_file());
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

[[noreturn]] void become(const std::vector<std::string>& command, const RunOptions& options, const fs::path& out,
                         const fs::path& err) {
  ::setpgid(0, 0);
  set_environment(options.environment);
  if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) std::_Exit(126);
  const int out_file = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int err_file = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int in_file = ::open("/dev/null", O_RDONLY);
  ::dup2(in_file, STDIN_FILENO);
  ::dup2(out_file, STDOUT_FILENO);
  ::dup2(err_file, STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  std::_Exit(127);
}

bool has_content(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return !error && size > 0;
}

int wait_for(pid_t child, fs::path terminate_when) {
  const double deadline = now_seconds() + kTimeoutSeconds;
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (now_seconds() > deadline) ::kill(-child, SIGKILL);
    if (!terminate_when.empty() && has_content(terminate_when)) {
      ::kill(child, SIGTERM);
      terminate_when.clear();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Outcome run_program(const std::vector<std::string>& arguments, const RunOptions& options) {
  const TemporaryFolder capture;
  const std::vector<std::string> command = command_of(arguments, options.ranks);
  const double start = now_seconds();
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) become(command, options, capture.path() / "out", capture.path() / "err");
  Outcome outcome;
  outcome.exit_code = wait_for(child, options.terminate_when);
  outcome.seconds = now_seconds() - start;
  outcome.out = read_text(capture.path() / "out");
  outcome.err = read_text(capture.path() / "err");
  return outcome;
}

std::vector<std::string> error_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("llama_zero: error: ")) lines.push_back(line);
  }
  return lines;
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<nlohmann::json> read_json_lines(const fs::path& path) {
  std::vector<nlohmann::json> objects;
  std::istringstream in(read_text(path));
  for (std::string line; std::getline(in, line);) objects.push_back(nlohmann::json::parse(line));
  return objects;
}

std::string alpaca_rows(int rows) {
  std::string text;
  for (int i = 0; i < rows; ++i) {
    nlohmann::ordered_json row;
    const bool sum = i % 2 == 0;
    row["instruction"] = sum ? "Add the two numbers." : "Say the number twice.";
    row["input"] = sum ? std::to_string(i) + " and 3" : std::to_string(i);
    row["output"] = sum ? std::to_string(i + 3) : std::to_string(i) + " " + std::to_string(i);
    row["family"] = sum ? "sum" : "twice";
    text += row.dump() + "\n";
  }
  return text;
}

std::vector<std::string> tiny_run(const TemporaryFolder& folder, const std::string& name, int steps,
                                  const std::vector<std::string>& more) {
  const std::string data = folder / "train.jsonl";
  if (!fs::exists(data)) write_text(data, alpaca_rows(40));
  std::vector<std::string> arguments = {"--model",  "tiny",        "--data",      data,
                                        "--output", folder / name, "--max-steps", std::to_string(steps)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace llama_zero::test
