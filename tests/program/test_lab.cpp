// A small lab from scripts/lab to the page, with the real program.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/program/program.h"
#include "tests/support/source_folder.h"

namespace llama_zero::test {
namespace {

const fs::path kSource = source_folder();

/// What scripts/lab printed; its exit code in `code`.
std::string run_lab(const fs::path& output, const std::string& settings, int& code) {
  const fs::path said = output / "said.txt";
  fs::create_directories(output);
  // As run_program does: what Open MPI never frees is not our leak.
  const std::string command = "ASAN_OPTIONS=\"$ASAN_OPTIONS:detect_leaks=0\" LLAMA_ZERO_POISON=1 LLAMA_ZERO='" +
                              program_file().string() + "' LAB_OUTPUT='" + output.string() + "' " + settings + " '" +
                              (kSource / "scripts/lab").string() + "' > '" + said.string() + "' 2>&1";
  code = std::system(command.c_str());
  return read_text(said);
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::size_t lines_of(const fs::path& path) {
  const std::string text = read_text(path);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("a small lab leaves its tables, CSV files and one page that needs no network") {
  const TemporaryFolder folder;
  write_text(folder / "rows.jsonl", alpaca_rows(12));
  const fs::path lab = folder.path() / "lab";
  int code = -1;
  const std::string said = run_lab(lab,
                                   "LAB_PARTS='report training memory scaling' LAB_RANKS=1 LAB_STAGES='2 3' "
                                   "LAB_SEQUENCE=32 LAB_EPOCHS=2 LAB_DATA='" +
                                       (folder.path() / "rows.jsonl").string() + "'",
                                   code);
  INFO(said);
  REQUIRE(code == 0);
  for (const char* title :
       {"01 Setup", "Training runs", "Answers to held-out questions", "Memory of one rank by stage", "Memory by label",
        "Speed by stage and ranks", "Llama-2-7B: memory of one rank", "The lab's figures for Llama-2-7B"}) {
    INFO(title);
    CHECK(contains(said, title));
  }
  CHECK(contains(said, "the run 3-memory/stage2"));  // scaling on as many ranks is the same run
  CHECK_FALSE(contains(said, "did not run"));
  CHECK(lines_of(lab / "training.csv") == 3);
  CHECK(lines_of(lab / "memory_stages.csv") == 5);
  CHECK(lines_of(lab / "scaling.csv") == 3);
  CHECK(contains(read_text(lab / "memory_stages.csv"), "ZeRO-3 + both offloads,"));

  const std::string page = read_text(lab / "lab.html");
  CHECK(contains(page, "<svg "));
  CHECK(contains(page, "ZeRO-2 + offload"));
  for (const char* outside : {"<script", "src=", "@import", "url(", "<link", "https://"}) {
    INFO(outside);
    CHECK_FALSE(contains(page, outside));
  }
}

TEST_CASE("a run of the lab that fails stands in its page, and the lab goes on") {
  const TemporaryFolder folder;
  write_text(folder / "rows.jsonl", "not json\n");
  const fs::path lab = folder.path() / "lab";
  int code = -1;
  const std::string said =
      run_lab(lab, "LAB_PARTS=training LAB_RANKS=1 LAB_DATA='" + (folder.path() / "rows.jsonl").string() + "'", code);
  INFO(said);
  REQUIRE(code == 0);
  CHECK(contains(said, "2-training/zero2: did not run: "));
  CHECK(contains(read_text(lab / "training.csv"), "failed: "));
  CHECK(contains(read_text(lab / "lab.html"), "rows.jsonl"));
}

TEST_CASE("a large model with random weights is not asked, and terminal and page say why") {
  const TemporaryFolder folder;
  write_text(folder / "rows.jsonl", "not json\n");  // so that its runs end before they begin
  const fs::path lab = folder.path() / "lab";
  int code = -1;
  const std::string said = run_lab(lab,
                                   "LAB_MODEL=125m LAB_DEVICE=cpu LAB_PARTS=training LAB_RANKS=1 LAB_DATA='" +
                                       (folder.path() / "rows.jsonl").string() + "'",
                                   code);
  INFO(said);
  REQUIRE(code == 0);
  CHECK(contains(said, "125m starts from random weights here"));
  CHECK(contains(read_text(lab / "lab.html"), "125m starts from random weights here"));
  CHECK(contains(read_text(lab / "2-training/zero2/command.txt"), " --max-steps 6 "));
  CHECK(contains(read_text(lab / "2-training/zero2/command.txt"), " --no-export"));
  CHECK_FALSE(fs::exists(lab / "2-training/answers-before.json"));
}

TEST_CASE("a lab whose time is over leaves out the rest, says what, and has its page") {
  const TemporaryFolder folder;
  const fs::path lab = folder.path() / "lab";
  int code = -1;
  // Thirty-eight runs take more than two seconds.
  const std::string said =
      run_lab(lab, "LAB_BUDGET=2 LAB_PARTS='memory sweep' LAB_RANKS=1 LAB_STAGES='2' LAB_SEQUENCE=32", code);
  INFO(said);
  REQUIRE(code == 0);
  CHECK(contains(said, "runs: the 2 s of LAB_BUDGET were over"));
  CHECK(lines_of(lab / "sweep.csv") == 37);
  CHECK(contains(read_text(lab / "lab.html"), "of 36 runs left out: the 2 s of LAB_BUDGET were over: <code>"));
  CHECK_FALSE(contains(said, ": did not run: "));

  const std::string wrong = run_lab(lab, "LAB_BUDGET=soon", code);
  CHECK(code != 0);
  CHECK(contains(wrong, "LAB_BUDGET is a number of seconds, not \"soon\""));
}

TEST_CASE("lab-report refuses a folder without a lab") {
  const TemporaryFolder folder;
  const Outcome outcome = run_program({"lab-report", "--input", folder.path().string()});
  CHECK(outcome.exit_code == 1);
  REQUIRE(error_lines(outcome.err).size() == 1);
  CHECK(contains(outcome.err, "holds no part of the lab"));
}

}  // namespace llama_zero::test
