// A real training run that a kill or the disk strikes down while it saves: at every place where one can strike.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "core/files.h"
#include "tests/program/program.h"
#include "zero/checkpoint/folder.h"

namespace llama_zero::test {
namespace {

constexpr int kSteps = 4;

bool full_suite() { return std::getenv("LLAMA_ZERO_TEST_FULL") != nullptr; }

/// A run that stands at step 1 of 4 and saves after every step, beside the same run that nothing struck.
class StruckRun {
 public:
  explicit StruckRun(int ranks) : ranks_(ranks) {
    const Outcome straight = train("straight", {"--keep", "0"}, "");
    INFO(straight.out << straight.err);
    REQUIRE(straight.exit_code == 0);
    model_ = read_text(run("straight") / "final/model.safetensors");
    create_folder(run("first") / "checkpoints");
    fs::copy(run("straight") / "checkpoints/step-00000001", run("first") / "checkpoints/step-00000001");
  }

  /// Goes on from step 1 with the fault armed in every process.
  Outcome strike(const std::string& fault) {
    prepare();
    return go_on(fault);
  }
  /// The run at step 1, ready to go on.
  void prepare() {
    fs::remove_all(run("struck"));
    fs::copy(run("first"), run("struck"), fs::copy_options::recursive);
  }
  Outcome go_on(const std::string& fault) { return train("struck", {"--resume", run("struck").string()}, fault); }

  /// The last complete checkpoint loads, and the run that goes on from it ends with the straight run's very model.
  void check_recovery() {
    CheckpointReader reader(find_checkpoint(run("struck")));
    reader.verify_all();
    steps_found_ += reader.manifest().step;
    const Outcome outcome = go_on("");
    INFO(outcome.out << outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK(read_text(run("struck") / "final/model.safetensors") == model_);
    for (const auto& entry : fs::directory_iterator(run("struck") / "checkpoints")) {
      CAPTURE(entry.path().string());
      CHECK((entry.path().extension().empty() || reader.manifest().step == kSteps));
    }
    ++struck_;
  }

  /// Bytes that one process writes for its checkpoints, or somewhat less.
  std::uint64_t bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(run("first") / "checkpoints/step-00000001")) {
      bytes += entry.file_size();
    }
    return bytes * (kSteps - 1) / static_cast<std::uint64_t>(ranks_);
  }
  fs::path run(const std::string& name) const { return folder_.path() / name; }
  int struck() const { return struck_; }
  /// Over all recoveries; more than their number: some found a checkpoint that the struck run had completed.
  std::int64_t steps_found() const { return steps_found_; }

 private:
  Outcome train(const std::string& name, std::vector<std::string> more, const std::string& fault) {
    RunOptions options;
    options.ranks = ranks_ == 1 ? 0 : ranks_;
    options.environment = {"LLAMA_ZERO_TEST_IO_FAULT=" + fault};
    more.insert(more.end(), {"--save-interval", "1", "--precision", "fp16", "--set", "zero_optimization.stage=3"});
    return run_program(tiny_run(folder_, name, kSteps, more), options);
  }

  TemporaryFolder folder_;
  int ranks_;
  std::string model_;
  int struck_ = 0;
  std::int64_t steps_found_ = 0;
};

/// Calls that are struck: of the whole suite every one, until a run gets by; else those of `few`.
template <typename Strike>
void for_each_call(const std::vector<int>& few, const Strike& strike) {
  if (!full_suite()) {
    for (const int call : few) CHECK(strike(call));
    return;
  }
  int call = 1;
  while (strike(call)) ++call;
  CHECK(call > few.back());
}

class Clock {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void kill_at_calls(StruckRun& run, const std::string& point, const std::vector<int>& few) {
  for_each_call(few, [&](int call) {
    CAPTURE(point);
    CAPTURE(call);
    const Outcome outcome = run.strike(fmt::format("kill@{}:{}", point, call));
    if (outcome.exit_code == 0) return false;
    run.check_recovery();
    return true;
  });
}

void kill_at_bytes(StruckRun& run, int count) {
  for (int i = 0; i < count; ++i) {
    const std::uint64_t at = hash_text(fmt::format("program kill {}", i)) % run.bytes();
    CAPTURE(at);
    CHECK(run.strike(fmt::format("kill@byte:{}", at)).exit_code != 0);
    run.check_recovery();
  }
}

/// Makes a folder read-only while it lives: by its mode, or, for root, whom modes do not stop, by a mount.
class ReadOnly {
 public:
  explicit ReadOnly(fs::path folder) : folder_(std::move(folder)) {
    if (::geteuid() != 0) {
      fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
      done_ = true;
      return;
    }
    mounted_ = ::mount(folder_.c_str(), folder_.c_str(), nullptr, MS_BIND, nullptr) == 0;
    done_ = mounted_ && ::mount(nullptr, folder_.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0;
  }
  ~ReadOnly() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
    std::error_code ignored;
    if (!mounted_) fs::permissions(folder_, fs::perms::owner_all, ignored);
  }
  ReadOnly(const ReadOnly&) = delete;
  ReadOnly& operator=(const ReadOnly&) = delete;
  /// False: root without the right to mount, e.g. in a container.
  bool done() const { return done_; }
  const char* words() const { return mounted_ ? "Read-only file system" : "Permission denied"; }

 private:
  fs::path folder_;
  bool mounted_ = false;
  bool done_ = false;
};

/// What the run says of a disk that fails, in one line.
void check_refusal(const Outcome& outcome, const std::string& words) {
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 1);
  const auto errors = error_lines(outcome.err);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].find(words) != std::string::npos);
}

}  // namespace

TEST_CASE("a training run killed while it saves goes on from its last checkpoint to the end, bit for bit") {
  const Clock clock;
  StruckRun run(1);
  kill_at_bytes(run, full_suite() ? 60 : 3);
  kill_at_calls(run, "create", {3});
  kill_at_calls(run, "fsync", {5, 11});
  kill_at_calls(run, "rename", {3, 4});
  CHECK(run.steps_found() > run.struck());
  MESSAGE("runs killed: " << run.struck() << " in " << clock.seconds() << " s");
}

TEST_CASE("two ranks killed while they save go on from their last checkpoint to the end, bit for bit") {
  const Clock clock;
  StruckRun run(2);
  kill_at_bytes(run, full_suite() ? 20 : 1);
  kill_at_calls(run, "create", {2});
  kill_at_calls(run, "fsync", {9});
  kill_at_calls(run, "rename", {3});
  MESSAGE("runs killed: " << run.struck() << " in " << clock.seconds() << " s");
}

TEST_CASE("a training run whose disk fails while it saves ends with one line, and goes on once the disk works") {
  const Clock clock;
  StruckRun run(1);
  const std::pair<std::string, std::string> actions[] = {
      {"enospc", "No space left on device"}, {"eio", "Input/output error"}, {"erofs", "Read-only file system"}};
  for (const auto& [action, words] : actions) {
    CAPTURE(action);
    for (int i = 0; i < (full_suite() ? 10 : 1); ++i) {
      const std::uint64_t at = hash_text(fmt::format("program {} {}", action, i)) % run.bytes();
      CAPTURE(at);
      check_refusal(run.strike(fmt::format("{}@byte:{}", action, at)), words);
      run.check_recovery();
    }
    using Few = std::vector<int>;
    for (const auto& [point, few] : {std::pair{"create", Few{4}}, {"fsync", Few{7}}, {"rename", Few{3}}}) {
      CAPTURE(point);
      for_each_call(few, [&, name = point](int call) {
        CAPTURE(call);
        const Outcome outcome = run.strike(fmt::format("{}@{}:{}", action, name, call));
        if (outcome.exit_code == 0) return false;
        check_refusal(outcome, words);
        run.check_recovery();
        return true;
      });
    }
  }
  MESSAGE("disks that failed: " << run.struck() << " in " << clock.seconds() << " s");
}

TEST_CASE("a training run whose folder of checkpoints is read-only ends with one line, and goes on once it is not") {
  for (const int ranks : {1, 2}) {
    CAPTURE(ranks);
    StruckRun run(ranks);
    run.prepare();
    {
      const ReadOnly folder(run.run("struck") / "checkpoints");
      if (!folder.done()) {
        MESSAGE("skipped: root may not mount here, and no mode stops root");
        return;
      }
      check_refusal(run.go_on(""), folder.words());
    }
    run.check_recovery();
    CHECK(run.steps_found() == 1);
  }
}

}  // namespace llama_zero::test
