// Which tune table a run takes.
#include <doctest/doctest.h>

#include "launcher/tune_choice.h"
#include "tests/support/temporary_folder.h"

namespace llama_zero::test {
namespace {

std::string fits(const std::string&) { return ""; }
std::string unfit(const std::string&) { return "it was made on another GPU"; }

}  // namespace

TEST_CASE("a named tune file decides, and a checkpoint's other table is mentioned") {
  const TemporaryFolder folder;
  const fs::path path = folder / "tune.json";
  AtomicFile file(path);
  file.write("named");
  file.commit();
  for (const auto& [stored, noted] : {std::pair{"", false}, {"named", false}, {"other", true}}) {
    CAPTURE(stored);
    const TuneChoice choice = choose_tune_table(path, stored, fits);
    CHECK(choice.source == TuneSource::kNamed);
    CHECK(choice.text == "named");
    CHECK((choice.note.find("is not the table of the checkpoint") != std::string::npos) == noted);
  }
}

TEST_CASE("a checkpoint's tune table goes on where it fits, and is ignored with its reason where it does not") {
  const TemporaryFolder folder;
  const fs::path missing = folder / "tune.json";
  for (const fs::path& path : {fs::path(), missing}) {
    CAPTURE(path.string());
    const TuneChoice taken = choose_tune_table(path, "table", fits);
    CHECK(taken.source == TuneSource::kCheckpoint);
    CHECK(taken.text == "table");
    CHECK(taken.note == "the checkpoint's table is taken up");
    const TuneChoice ignored = choose_tune_table(path, "table", unfit);
    CHECK(ignored.source == (path.empty() ? TuneSource::kNone : TuneSource::kTimed));
    CHECK(ignored.text.empty());
    CHECK(ignored.note == "the checkpoint's table is ignored: it was made on another GPU");
  }
}

TEST_CASE("without a checkpoint's table a tune file is made where one is named") {
  const TemporaryFolder folder;
  CHECK(choose_tune_table("", "", unfit).source == TuneSource::kNone);
  const TuneChoice choice = choose_tune_table(folder / "tune.json", "", unfit);
  CHECK(choice.source == TuneSource::kTimed);
  CHECK(choice.note.empty());
}

}  // namespace llama_zero::test
