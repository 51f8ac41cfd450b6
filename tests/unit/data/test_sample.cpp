// The promises of the bundled sample: size, no duplicates, what is held out, and a tokenizer that covers any text.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/files.h"
#include "data/sample/family.h"
#include "data/sample/generator.h"
#include "data/tokenizer.h"
#include "tests/support/source_folder.h"

using namespace llama_zero;

namespace {

const sample::Sample& bundled() {
  static const sample::Sample rows = sample::generate();
  return rows;
}

std::uint64_t prompt_hash(const sample::Row& row) { return hash_text(row.instruction + '\x1f' + row.input); }

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      words.back() += c;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

/// The numbers of a prompt, in any order: what an arithmetic family's operands are, whatever the wording.
std::multiset<std::string> numbers_of(const sample::Row& row) {
  std::multiset<std::string> numbers;
  for (const std::string& word : words_of(row.instruction + " " + row.input)) {
    if (std::isdigit(static_cast<unsigned char>(word.front())) != 0) numbers.insert(word);
  }
  return numbers;
}

std::map<std::string, std::vector<sample::Row>> by_family(const std::vector<sample::Row>& rows) {
  std::map<std::string, std::vector<sample::Row>> families;
  for (const sample::Row& row : rows) families[row.family].push_back(row);
  return families;
}

}  // namespace

TEST_CASE("the sample has at least 40,000 training rows, a dozen families and 20 held-out prompts of each") {
  CHECK(bundled().train.size() >= 40000);
  CHECK(bundled().held_out.size() >= 300);
  const auto train = by_family(bundled().train);
  const auto held_out = by_family(bundled().held_out);
  CHECK(train.size() >= 12);
  CHECK(held_out.size() == train.size());
  for (const auto& [family, rows] : held_out) {
    INFO(family);
    CHECK(rows.size() >= 20);
    CHECK(train.count(family) == 1);
  }
}

TEST_CASE("no prompt of the sample occurs twice, within or between its parts") {
  std::set<std::uint64_t> seen;
  for (const auto* rows : {&bundled().train, &bundled().held_out}) {
    for (const sample::Row& row : *rows) {
      INFO(row.instruction << " | " << row.input);
      REQUIRE(seen.insert(prompt_hash(row)).second);
    }
  }
}

TEST_CASE("arithmetic families hold out operands: no training row has a held-out prompt's numbers") {
  const auto train = by_family(bundled().train);
  const auto held_out = by_family(bundled().held_out);
  for (const char* family : {"addition", "subtraction", "parity", "sequence", "comparison", "extreme", "sorting"}) {
    std::set<std::multiset<std::string>> trained;
    for (const sample::Row& row : train.at(family)) trained.insert(numbers_of(row));
    for (const sample::Row& row : held_out.at(family)) {
      INFO(family << ": " << row.instruction << " | " << row.input);
      CHECK(trained.count(numbers_of(row)) == 0);
    }
  }
}

TEST_CASE("fact families hold out wordings: every held-out answer is in the training rows of its family") {
  const auto train = by_family(bundled().train);
  const auto held_out = by_family(bundled().held_out);
  for (const sample::FactFamily& family : sample::fact_families()) {
    std::set<std::string> answers;
    for (const sample::Row& row : train.at(std::string(family.name))) answers.insert(row.output);
    for (const sample::Row& row : held_out.at(std::string(family.name))) {
      INFO(family.name << ": " << row.instruction << " | " << row.input);
      CHECK(answers.count(row.output) == 1);
    }
  }
}

TEST_CASE("sums of the sample are right") {
  int checked = 0;
  for (const sample::Row& row : bundled().held_out) {
    if (row.family != "addition") continue;
    const auto numbers = numbers_of(row);
    REQUIRE(numbers.size() == 2);
    CHECK(std::stoi(*numbers.begin()) + std::stoi(*numbers.rbegin()) == std::stoi(row.output));
    checked += 1;
  }
  CHECK(checked >= 20);
}

TEST_CASE("the sample is the same on every call, and another seed gives another") {
  const std::string again = sample::to_json_lines(sample::generate().train);
  CHECK(hash_text(again) == hash_text(sample::to_json_lines(bundled().train)));
  CHECK(hash_text(again) != hash_text(sample::to_json_lines(sample::generate(1).train)));
}

TEST_CASE("the bundled tokenizer splits digits and covers any text by bytes") {
  const Tokenizer tokenizer(test::source_folder() / "data/sample/tokenizer.model");
  for (const char* text :
       {"12345", "na\xc3\xafve \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x99\x82", "tab\tand\nline  two spaces"}) {
    const auto ids = tokenizer.encode(text);
    CHECK(std::count(ids.begin(), ids.end(), 0) == 0);  // 0 is <unk>
    CHECK(tokenizer.decode(ids) == text);
  }
  CHECK(tokenizer.encode("12345").size() >= 5);
}
