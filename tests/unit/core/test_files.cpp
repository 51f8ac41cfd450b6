#include <doctest/doctest.h>

#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/temporary_folder.h"

using namespace llama_zero;
using llama_zero::test::TemporaryFolder;

TEST_CASE("an atomic file appears whole on commit and not before") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.txt";
  {
    AtomicFile file(path);
    file.write("hello world");
    file.write_at(0, std::as_bytes(std::span(std::string_view("HELLO"))));
    file.write("!");
    CHECK_FALSE(fs::exists(path));
    file.commit();
  }
  CHECK(MappedFile(path).text() == "HELLO world!");
}

TEST_CASE("an atomic file that is not committed leaves the old content and no temporary file") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.txt";
  {
    AtomicFile file(path);
    file.write("old");
    file.commit();
  }
  {
    AtomicFile file(path);
    file.write("new");
  }
  CHECK(MappedFile(path).text() == "old");
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("a file in a missing folder is an error that names it") {
  CHECK_THROWS_WITH_AS(
      [] {
        const TemporaryFolder folder;
        AtomicFile file(folder / "no_such_folder" / "a.txt");
      }(),
      doctest::Contains("no_such_folder"), Error);
}

TEST_CASE("mapping a missing file or a folder names the path") {
  CHECK_THROWS_WITH_AS(MappedFile("/no/such/file"), doctest::Contains("/no/such/file"), Error);
  CHECK_THROWS_WITH_AS(MappedFile("/tmp"), doctest::Contains("not a regular file"), Error);
}

TEST_CASE("an empty file maps to no bytes") {
  const TemporaryFolder folder;
  AtomicFile file(folder / "empty");
  file.commit();
  CHECK(MappedFile(folder / "empty").size() == 0);
}
