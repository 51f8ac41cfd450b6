// A run that its host has no room for ends before it takes or writes anything.
#include <doctest/doctest.h>

#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

/// A run of two ranks on a host that says what lies in `root`.
Outcome on_host(const TemporaryFolder& folder, const std::vector<std::string>& more) {
  RunOptions options;
  options.ranks = 2;
  options.environment = {"LLAMA_ZERO_TEST_HOST_ROOT=" + (folder / "root").string()};
  return run_program(tiny_run(folder, "run", 6, more), options);
}

void say(const TemporaryFolder& folder, const std::string& name, const std::string& text) {
  const fs::path path = folder.path() / "root" / name;
  fs::create_directories(path.parent_path());
  write_text(path, text);
}

}  // namespace

TEST_CASE("a disk too small for checkpoints and model ends a run before its folder is made") {
  const TemporaryFolder folder;
  say(folder, "disk", "8000000");
  const Outcome refused = on_host(folder, {"--save-interval", "2"});
  INFO(refused.out << refused.err);
  CHECK(refused.exit_code == 1);
  const auto errors = error_lines(refused.err);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].find("disk: the run writes ") != std::string::npos);
  CHECK(errors[0].find("(3 checkpoints of ") != std::string::npos);
  CHECK(errors[0].find("7.63 MB free") != std::string::npos);
  CHECK_FALSE(fs::exists(folder.path() / "run"));

  const Outcome without = on_host(folder, {"--save-interval", "none"});
  INFO(without.out << without.err);
  CHECK(without.exit_code == 0);
  // What time decides about is no reason to refuse.
  const Outcome by_time = on_host(folder, {"--save-interval", "30m"});
  INFO(by_time.out << by_time.err);
  CHECK(by_time.exit_code == 0);
  CHECK(by_time.err.find("disk: the run may write ") != std::string::npos);
}

TEST_CASE("a cgroup too small for all ranks of a host together refuses the run; little available memory warns") {
  const TemporaryFolder folder;
  say(folder, "proc/self/cgroup", "0::/job\n");
  say(folder, "proc/meminfo", "MemAvailable: 1000 kB\n");
  say(folder, "sys/fs/cgroup/job/memory.max", "16777216\n");
  say(folder, "sys/fs/cgroup/job/memory.current", "8388608\n");
  const Outcome refused = on_host(folder, {});
  INFO(refused.out << refused.err);
  CHECK(refused.exit_code == 1);
  const auto errors = error_lines(refused.err);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].find("host memory: the 2 ranks of this host need ") != std::string::npos);
  CHECK(errors[0].find("the cgroup's limit of 16.00 MB leaves 8.00 MB") != std::string::npos);
  CHECK_FALSE(fs::exists(folder.path() / "run"));

  say(folder, "sys/fs/cgroup/job/memory.max", "1073741824\n");
  const Outcome warned = on_host(folder, {});
  INFO(warned.out << warned.err);
  CHECK(warned.exit_code == 0);
  CHECK(warned.err.find("but only 1000.0 KB is available (MemAvailable)") != std::string::npos);
}

}  // namespace llama_zero::test
