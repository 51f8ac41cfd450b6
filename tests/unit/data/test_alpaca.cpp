#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "data/alpaca.h"
#include "data_fixtures.h"

namespace llama_zero {
namespace {

using test::contains;
using test::message_of;

std::vector<AlpacaRow> read_text(const std::string& text) {
  AlpacaReader reader("rows.json", text);
  std::vector<AlpacaRow> rows;
  AlpacaRow row;
  while (reader.next(row)) rows.push_back(row);
  CHECK_FALSE(reader.next(row));
  CHECK(reader.position() == text.size());
  return rows;
}

std::string fault_of(const std::string& text) {
  return message_of([&] {
    AlpacaReader reader("rows.json", text);
    AlpacaRow row;
    while (reader.next(row)) {
    }
  });
}

const std::string kGood = R"({"instruction": "i", "output": "o"})";

/// `bad` as the second row of an array and of JSON lines: both name row 2 and its byte.
void check_fault(const std::string& bad, const std::string& what) {
  CAPTURE(bad);
  const std::string array = "[\n" + kGood + ",\n" + bad + ",\n" + kGood + "\n]";
  CHECK(fault_of(array) == "rows.json: row 2 (byte " + std::to_string(4 + kGood.size()) + "): " + what);
  const std::string lines = kGood + "\n" + bad + "\n" + kGood + "\n";
  CHECK(fault_of(lines) == "rows.json: row 2 (byte " + std::to_string(1 + kGood.size()) + "): " + what);
}

}  // namespace

TEST_CASE("an array and JSON lines of the same rows read the same") {
  const std::string first = R"({"instruction": "Add.", "input": "1 2", "output": "3\n\u00e9", "family": "sums"})";
  const std::string second =
      R"({"output": "", "extra": {"a": [1, "]}"]}, "instruction": "Say nothing.", "input": null})";
  for (const std::string& text :
       {"[" + first + "," + second + "]", " [ \n" + first + " ,\r\n" + second + "\n ]\n", first + "\n" + second,
        "\n" + first + "\r\n\n" + second + "\r\n", "\xEF\xBB\xBF" + first + "\n" + second + "\n"}) {
    CAPTURE(text);
    const std::vector<AlpacaRow> rows = read_text(text);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].instruction == "Add.");
    CHECK(rows[0].input == "1 2");
    CHECK(rows[0].output == "3\n\u00e9");
    CHECK(rows[0].family == "sums");
    CHECK(rows[0].number == 1);
    CHECK(rows[0].byte == text.find(first));
    CHECK(rows[1].instruction == "Say nothing.");
    CHECK(rows[1].input.empty());
    CHECK(rows[1].output.empty());
    CHECK(rows[1].family.empty());
    CHECK(rows[1].number == 2);
    CHECK(rows[1].byte == text.find(second));
  }
}

TEST_CASE("a row carries nothing over from the row before") {
  const auto rows = read_text(R"([{"instruction":"a","input":"b","output":"c","family":"d"},
                                  {"instruction":"e","output":"f"}])");
  CHECK(rows[1].input.empty());
  CHECK(rows[1].family.empty());
}

TEST_CASE("of a key given twice the last counts") {
  CHECK(read_text(R"([{"instruction":"a","output":"b","output":"c"}])")[0].output == "c");
}

TEST_CASE("a malformed row is named by number and byte") {
  check_fault(R"({"instruction": 5, "output": "o"})", R"("instruction" is a number, expected a string)");
  check_fault(R"({"instruction": "i", "output": null})", R"("output" is null, expected a string)");
  check_fault(R"({"instruction": "i", "output": ["o"]})", R"("output" is an array, expected a string)");
  check_fault(R"({"instruction": "i", "input": {}, "output": "o"})", R"("input" is an object, expected a string)");
  check_fault(R"({"instruction": "i", "input": true, "output": "o"})", R"("input" is a boolean, expected a string)");
  check_fault(R"({"output": "o"})", R"(no "instruction")");
  check_fault(R"({"instruction": "i", "response": "o"})", R"(no "output")");
  check_fault(R"("instruction")", "expected a row {...}, found '\"'");
  check_fault("\xFF", "expected a row {...}, found byte 0xFF");
}

TEST_CASE("invalid JSON in a row is named by number and byte") {
  const std::string bad = R"({"instruction": "i" "output": "o"})";
  CHECK(contains(fault_of("[" + kGood + "," + bad + "]"),
                 "rows.json: row 2 (byte " + std::to_string(2 + kGood.size()) + "): invalid JSON: "));
  CHECK(contains(fault_of(kGood + "\n" + bad), "rows.json: row 2 (byte 36): invalid JSON: "));
  CHECK(contains(fault_of(R"([{"instruction": "\ud800", "output": "o"}])"), "row 1 (byte 1): invalid JSON: "));
}

TEST_CASE("invalid UTF-8 is named by row and by its own byte") {
  const std::string bad = "{\"instruction\": \"i\xC3(\", \"output\": \"o\"}";
  CHECK(fault_of("[" + kGood + "," + bad + "]") ==
        "rows.json: row 2 (byte 37): invalid UTF-8 at byte 55; save the file as UTF-8");
  CHECK(fault_of(bad) == "rows.json: row 1 (byte 0): invalid UTF-8 at byte 18; save the file as UTF-8");
}

TEST_CASE("a lost quote is found at the line break, not at the end of the file") {
  const std::string text = "[\n{\"instruction\": \"i,\n\"output\": \"o\"},\n" + kGood + "]";
  CHECK(fault_of(text) ==
        "rows.json: row 1 (byte 2): invalid JSON: raw control character in a string at byte 21; is a "
        "quote missing?");
}

TEST_CASE("a file that is cut off is said to be") {
  const std::string array = "[" + kGood + "," + kGood + "]";
  const std::string in_row = "rows.json: row 2 (byte 37): the file ends inside this row; is it cut off?";
  CHECK(fault_of(array.substr(0, 50)) == in_row);
  CHECK(fault_of(array.substr(0, array.size() - 2)) == in_row);
  CHECK(fault_of(array.substr(0, array.size() - 1)) ==
        "rows.json: row 3 (byte 72): the file ends here, before the closing ]; is it cut off?");
  CHECK(fault_of(array.substr(0, 37)) ==
        "rows.json: row 2 (byte 37): the file ends here, before the closing ]; is it cut off?");
  CHECK(fault_of("[") == "rows.json: row 1 (byte 1): the file ends here, before the closing ]; is it cut off?");
  CHECK(fault_of(kGood + "\n" + kGood.substr(0, 20)) ==
        "rows.json: row 2 (byte 36): the file ends inside this row; is it cut off?");
}

TEST_CASE("what stands between rows is checked") {
  CHECK(fault_of("[" + kGood + kGood + "]") ==
        "rows.json: row 2 (byte 36): expected a comma before the row or the closing ], found '{'");
  CHECK(fault_of("[" + kGood + ",]") == "rows.json: row 2 (byte 37): expected a row {...}, found ']'");
  CHECK(fault_of("[" + kGood + "] x") == "rows.json: text after the closing ] at byte 38");
  CHECK(fault_of(kGood + " x\n") == "rows.json: row 1 (byte 0): text after the row's closing brace at byte 36");
  CHECK(
      fault_of("{\"instruction\": \"i\",\n \"output\": \"o\"}") ==
      "rows.json: row 1 (byte 0): the row does not end on its line (without [ at the file's start, a row is one line)");
}

TEST_CASE("a file without rows says what was expected") {
  CHECK(contains(fault_of(""), "rows.json: no rows: the file is empty; expected a JSON array of {\"instruction\""));
  CHECK(contains(fault_of(" \n\t"), "rows.json: no rows: the file is empty"));
  CHECK(contains(fault_of(" [ ]"), "rows.json: no rows: the array is empty"));
  CHECK(contains(fault_of("instruction,output"), "rows.json: starts with 'i' at byte 0; expected a JSON array"));
}

TEST_CASE("a row beyond the size limit is refused without reading on") {
  const std::string huge = "[{\"instruction\": \"" + std::string(kMaxAlpacaRowBytes, 'x') + "\", \"output\": \"o\"}]";
  CHECK(fault_of(huge) ==
        "rows.json: row 1 (byte 1): the row is larger than 67108864 bytes; is a quote or brace missing?");
}

TEST_CASE("a file is read from its path, a missing one is named") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "rows.json", "[" + kGood + "]");
  CHECK(read_alpaca(folder / "rows.json").size() == 1);
  const std::string missing = message_of([&] { read_alpaca(folder / "none.json"); });
  CHECK(contains(missing, "none.json: No such file or directory"));
  CHECK(contains(message_of([&] { read_alpaca(folder.path()); }), "not a regular file"));
}

}  // namespace llama_zero
