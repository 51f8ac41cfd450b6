#include <doctest/doctest.h>

#include <sstream>
#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

/// The first line that starts with `begin` after blanks; "" when there is none.
std::string line_of(const std::string& text, const std::string& begin) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const std::size_t at = line.find_first_not_of(' ');
    if (at != std::string::npos && line.compare(at, begin.size(), begin) == 0) return line;
  }
  return "";
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("report gives versions, ops, host and what is missing, without a GPU") {
  const Outcome outcome = run_program({"report"});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(outcome.err == "");
  for (const char* library :
       {"Open MPI", "OpenBLAS", "SentencePiece", "simdjson", "spdlog", "fmt", "CLI11", "nlohmann-json", "xxHash"}) {
    const std::string line = line_of(outcome.out, library);
    INFO(library << ": " << line);
    CHECK(line.find_first_of("0123456789") != std::string::npos);
    CHECK(line.find("not found") == std::string::npos);
  }
  for (const char* op : {"cpu_ops .", "cuda_ops .", "cpu_adamw .", "collectives_mpi .", "collectives_nccl ."}) {
    const std::string line = line_of(outcome.out, op);
    INFO(op);
    CHECK((line.find("[YES]") != std::string::npos || line.find("[NO]  ") != std::string::npos));
  }
  CHECK(line_of(outcome.out, "cpu_ops .").find("[YES]") != std::string::npos);
  for (const char* fact :
       {"host ", "processor", "features", "NUMA", "memory", "cgroup", "/dev/shm", "memlock", "GPU"}) {
    INFO(fact);
    CHECK(line_of(outcome.out, fact) != "");
  }
  CHECK(line_of(outcome.out, "missing") != "");
}

TEST_CASE("report under mpirun names every rank once, and those that differ apart") {
  RunOptions options;
  options.ranks = 2;
  options.environment = {"NCCL_DEBUG=WARN", "OMP_NUM_THREADS=1"};
  const Outcome outcome = run_program({"report"}, options);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(line_of(outcome.out, "2 ranks") != "");
  CHECK(line_of(outcome.out, "ranks 0-1 of host") != "");
  CHECK(outcome.out.find("NCCL_DEBUG=WARN") != std::string::npos);
  CHECK(count(outcome.out, "\nhost ") == 1);
}

TEST_CASE("two reports of one machine differ in nothing but free memory") {
  const auto stable = [](const std::string& text) {
    std::string kept;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
      if (line.find("available") == std::string::npos && line.find(" free)") == std::string::npos) kept += line + "\n";
    }
    return kept;
  };
  CHECK(stable(run_program({"report"}).out) == stable(run_program({"report"}).out));
}

}  // namespace llama_zero::test
