// What the benchmarks that run on several ranks share: start-up and ends as llama_zero's.
#pragma once

#include <cstdlib>
#include <exception>
#include <functional>
#include <map>
#include <string>

#include <CLI/CLI.hpp>

#include "core/log.h"
#include "launcher/host_group.h"
#include "launcher/runtime.h"
#include "launcher/thread_waiting.h"
#include "zero/mpi_communicator.h"

namespace llama_zero::bench {

/// --device and --communicator.
inline void add_runtime_options(CLI::App& app, RuntimeOptions& options) {
  app.add_option("--device", options.device, "where to compute [auto|cpu|cuda]")
      ->transform(CLI::CheckedTransformer(std::map<std::string, DeviceChoice>{
          {"auto", DeviceChoice::kAuto}, {"cpu", DeviceChoice::kCpu}, {"cuda", DeviceChoice::kCuda}}));
  app.add_option("--communicator", options.communicator, "how ranks exchange [auto|nccl|mpi]")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, CommunicatorChoice>{{"auto", CommunicatorChoice::kAuto},
                                                                            {"nccl", CommunicatorChoice::kNccl},
                                                                            {"mpi", CommunicatorChoice::kMpi}}));
  app.add_option("--timeout", options.collective_timeout, "seconds that a rank waits for the others in a collective")
      ->capture_default_str();
}

/// The text of an environment variable, "" where there is none.
inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

/// Parses the command line and runs `body` on every rank.
inline int run_ranks(int argc, char** argv, CLI::App& app, const std::function<void(MpiWorld&)>& body) {
  restart_with_sleeping_threads(argv);
  MpiWorld world(&argc, &argv);
  try {
    app.parse(argc, argv);
    log::configure(world.rank(), world.size(), log::parse_level("warning"));
    body(world);
    return 0;
  } catch (const CLI::ParseError& error) {
    return world.rank() == 0 ? app.exit(error) : error.get_exit_code();
  } catch (const AgreedError& error) {
    if (world.rank() == 0) std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), error.what());
  } catch (const std::exception& error) {
    const std::string text = app.get_name() + ": rank " + std::to_string(world.rank()) + ": " + error.what();
    if (world.size() > 1) world.abort(text);
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  return 1;
}

}  // namespace llama_zero::bench
