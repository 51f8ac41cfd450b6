// llama_zero: parse, dispatch, and one clear line when something is wrong.
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include "core/io_fault.h"
#include "core/log.h"
#include "launcher/cli.h"
#include "launcher/data_commands.h"
#include "launcher/eval_command.h"
#include "launcher/export_command.h"
#include "launcher/generate_command.h"
#include "launcher/host_group.h"
#include "launcher/lab/lab_report_command.h"
#include "launcher/plan_command.h"
#include "launcher/progress.h"
#include "launcher/report_command.h"
#include "launcher/thread_waiting.h"
#include "launcher/train.h"
#include "zero/mpi_communicator.h"

namespace llama_zero {
namespace {

std::string error_line(const std::string& message) { return "llama_zero: error: " + message; }

void report(const std::string& message) { std::fprintf(stderr, "%s\n", error_line(message).c_str()); }

// What a communicator throws names its rank already.
std::string with_rank(int rank, std::string_view message) {
  const std::string prefix = fmt::format("rank {}: ", rank);
  return message.starts_with(prefix) ? std::string(message) : prefix + std::string(message);
}

int dispatch(const CommandLine& line, MpiWorld& world, const HostGroup& group) {
  switch (line.command) {
    case Command::kPrintText:
      if (world.rank() == 0) write_stdout(line.text);
      return 0;
    case Command::kTrain:
      return run_train(line.train, world);
    case Command::kPlan:
      group.together([&] { run_plan(line.plan, world.rank(), world.size()); });
      return 0;
    case Command::kReport:
      return run_report(group, world);
    case Command::kTokenize:
      return run_tokenize(line.tokenize, group);
    case Command::kGenerate:
      return run_generate(line.generate, world);
    case Command::kEval:
      return run_eval(line.eval, world);
    case Command::kExport:
      return run_export(line.export_model, group);
    case Command::kSample:
      return run_sample(line.sample, group);
    case Command::kLabReport:
      group.on_root([&] { run_lab_report(line.lab_report); });
      return 0;
  }
  return 1;
}

// What all ranks know, rank 0 reports and all end in order; what one rank alone knows ends the others by force.
int run(int argc, char** argv, MpiWorld& world) {
  const HostGroup group(world.rank(), world.size());
  try {
    CommandLine line;
    group.together([&] { line = parse_command_line(argc, argv); });
    log::configure(world.rank(), world.size(), line.log_level);
    io_fault::arm_from_environment();
    return dispatch(line, world, group);
  } catch (const AgreedError& error) {
    if (world.rank() == 0) report(error.what());
  } catch (const std::exception& error) {
    if (world.size() > 1) world.abort(error_line(with_rank(world.rank(), error.what())));
    report(error.what());
  }
  return 1;
}

}  // namespace
}  // namespace llama_zero

int main(int argc, char** argv) {
  llama_zero::restart_with_sleeping_threads(argv);
  try {
    llama_zero::MpiWorld world(&argc, &argv);
    return llama_zero::run(argc, argv, world);
  } catch (const std::exception& error) {
    llama_zero::report(error.what());
    return 1;
  }
}
