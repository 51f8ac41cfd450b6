// What a crash or a failing disk leaves behind, at every place where one can strike.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "core/error.h"
#include "core/io_fault.h"
#include "core/rng.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/zero/checkpoint_support.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

constexpr int kRanks = 2;

/// Kills of the random test; the full suite makes more.
int kill_count() { return std::getenv("LLAMA_ZERO_TEST_FULL") != nullptr ? 500 : 20; }

class ArmedFault {
 public:
  explicit ArmedFault(const std::string& text) { io_fault::arm(text); }
  ~ArmedFault() { io_fault::arm(""); }
  ArmedFault(const ArmedFault&) = delete;
  ArmedFault& operator=(const ArmedFault&) = delete;
};

/// Saves `step` in a process of its own with the fault armed; the signal that ended it, or 0.
int save_in_child(const CheckpointRoot& root, std::int64_t step, const std::string& fault) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    io_fault::arm(fault);
    int code = 0;
    try {
      save_made_up(root, step, kRanks, 2);
    } catch (const Error&) {
      code = 1;
    }
    ::_exit(code);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/// The step of the checkpoint that resuming finds, every value of which was compared.
std::int64_t step_found(const CheckpointRoot& root) {
  CheckpointReader reader(find_checkpoint(root.path()));
  reader.verify_all();
  CHECK(holds_made_up_values(reader, 3));
  return reader.manifest().step;
}

std::uint64_t bytes_of_a_save(const fs::path& folder) {
  const CheckpointRoot root(folder);
  save_made_up(root, 1, kRanks);
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

}  // namespace

TEST_CASE("a process killed at a random byte of a save leaves a checkpoint that loads, and the next save works") {
  const TemporaryFolder folder;
  const std::uint64_t bytes = bytes_of_a_save(folder / "measure");
  const CheckpointRoot root(folder / "c");
  save_made_up(root, 1, kRanks);
  std::int64_t last = 1;
  const int kills = kill_count();
  for (int i = 0; i < kills; ++i) {
    const std::uint64_t at = hash_text(fmt::format("kill {}", i)) % bytes;
    CAPTURE(at);
    // Every third save replaces the checkpoint of its own step.
    const std::int64_t step = i % 3 == 2 ? last : last + 1;
    REQUIRE(save_in_child(root, step, fmt::format("kill@byte:{}", at)) == SIGKILL);
    const std::int64_t found = step_found(root);
    CHECK((found == last || found == step));
    last = step + 1;
    save_made_up(root, last, kRanks, 2);
    CHECK(step_found(root) == last);
    CHECK(root.steps().size() <= 2);
  }
  MESSAGE("kills: " << kills);
}

TEST_CASE("a process killed at any create, fsync or rename of a save leaves a checkpoint that loads") {
  const TemporaryFolder folder;
  const CheckpointRoot root(folder / "c");
  save_made_up(root, 1, kRanks);
  std::int64_t last = 1;
  for (const std::string point : {"create", "fsync", "rename"}) {
    for (const bool replace : {false, true}) {
      int struck = 0;
      for (int call = 1;; ++call) {
        CAPTURE(point);
        CAPTURE(call);
        const std::int64_t step = replace ? last : last + 1;
        if (save_in_child(root, step, fmt::format("kill@{}:{}", point, call)) == 0) break;
        ++struck;
        const std::int64_t found = step_found(root);
        CHECK((found == last || found == step));
        last = std::max(last, step) + 1;
        save_made_up(root, last, kRanks, 2);
        CHECK(step_found(root) == last);
      }
      CHECK(struck >= 2);
      last = step_found(root);
    }
  }
}

TEST_CASE("a disk that is full, broken or read-only fails the save with one line and keeps the last checkpoint") {
  const TemporaryFolder folder;
  const CheckpointRoot root(folder / "c");
  save_made_up(root, 1, kRanks);
  const std::pair<const char*, const char*> actions[] = {
      {"enospc", "No space left on device"}, {"eio", "Input/output error"}, {"erofs", "Read-only file system"}};
  for (const auto& [action, words] : actions) {
    for (const std::string point : {"byte:0", "byte:70", "byte:20000", "create:1", "create:3", "create:4", "fsync:1",
                                    "fsync:3", "fsync:4", "rename:1", "rename:2"}) {
      const std::string fault = fmt::format("{}@{}", action, point);
      CAPTURE(fault);
      std::string message;
      {
        const ArmedFault armed(fault);
        try {
          save_made_up(root, 2, kRanks, 2);
        } catch (const Error& error) {
          message = error.what();
        }
      }
      CAPTURE(message);
      CHECK(message.find(words) != std::string::npos);
      CHECK(message.find(root.path().string()) != std::string::npos);
      CHECK(message.find('\n') == std::string::npos);
      const std::int64_t found = step_found(root);
      CHECK((found == 1 || found == 2));
      fs::remove_all(root.path());
      save_made_up(root, 1, kRanks);
    }
  }
}

TEST_CASE("a fault that makes no sense is refused") {
  for (const std::string text : {"kill", "kill@byte", "burn@byte:1", "kill@moon:1", "kill@fsync:0", "kill@byte:x"}) {
    CHECK_THROWS_AS(io_fault::arm(text), Error);
  }
}
