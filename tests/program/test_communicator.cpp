#include <doctest/doctest.h>

#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {

TEST_CASE("the communicator of a run is the one asked for, or an error") {
  const TemporaryFolder folder;
  RunOptions options;
  options.ranks = 2;
  const Outcome mpi = run_program(tiny_run(folder, "mpi", 1, {"--device", "cpu", "--communicator", "mpi"}), options);
  INFO(mpi.out << mpi.err);
  CHECK(mpi.exit_code == 0);
  CHECK(mpi.out.find("MPI (2 ranks, host-staged)") != std::string::npos);

  const Outcome nccl = run_program(tiny_run(folder, "nccl", 1, {"--device", "cpu", "--communicator", "nccl"}), options);
  INFO(nccl.out << nccl.err);
  CHECK(nccl.exit_code == 1);
  const auto errors = error_lines(nccl.err);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].find("llama_zero.communicator is \"nccl\", but") != std::string::npos);
}

}  // namespace llama_zero::test
