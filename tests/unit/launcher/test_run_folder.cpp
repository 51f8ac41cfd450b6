#include <doctest/doctest.h>

#include <fstream>
#include <string>

#include "core/error.h"
#include "launcher/run_folder.h"
#include "tests/support/temporary_folder.h"

namespace llama_zero {
namespace {

/// A working folder of its own, and back again.
class Elsewhere {
 public:
  Elsewhere() : before_(fs::current_path()) { fs::current_path(folder_.path()); }
  ~Elsewhere() { fs::current_path(before_); }
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;

 private:
  test::TemporaryFolder folder_;
  fs::path before_;
};

}  // namespace

TEST_CASE("a run without a name gets the next free number") {
  const Elsewhere elsewhere;
  CHECK(RunFolder::create("", "", "tiny-zero3").path() == fs::path("runs/tiny-zero3-1"));
  CHECK(RunFolder::create("", "", "tiny-zero3").path() == fs::path("runs/tiny-zero3-2"));
  CHECK(RunFolder::create("", "", "tiny-zero0").path() == fs::path("runs/tiny-zero0-1"));
}

TEST_CASE("the output folder is used as it is given, also when it exists") {
  const Elsewhere elsewhere;
  for (int i = 0; i < 2; ++i) CHECK(RunFolder::create("a/b", "ignored", "x").path() == fs::path("a/b"));
  CHECK(RunFolder::create("", "named", "x").path() == fs::path("runs/named"));
  CHECK(fs::is_empty("a/b"));
}

TEST_CASE("a folder below a file is an error that names it") {
  const Elsewhere elsewhere;
  std::ofstream("file") << "x";
  CHECK_THROWS_WITH_AS(RunFolder::create("file/run", "", "x"), doctest::Contains("file/run"), Error);
}

TEST_CASE("an earlier run in the folder is seen by its metrics") {
  const Elsewhere elsewhere;
  const RunFolder folder = RunFolder::create("a", "", "x");
  CHECK(!folder.used_before());
  std::ofstream(folder.metrics()) << "{}";
  CHECK(folder.used_before());
}

TEST_CASE("names of folders are made of harmless characters") {
  CHECK(folder_name("tiny") == "tiny");
  CHECK(folder_name("/models/Llama 2 7B/") == "Llama-2-7B");
  CHECK(folder_name("../") == "run");
  CHECK(folder_name("1.3b") == "1.3b");
}

}  // namespace llama_zero
