// The bundled sample: small questions in Alpaca's format that a tiny model can learn from scratch in minutes.
// Every row is made here, from the tables and rules of rule_families.cpp and fact_families.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace llama_zero::sample {

inline constexpr std::uint64_t kDefaultSeed = 20230313;

// `input` may be empty, as in Alpaca. `family` is the group that the evaluation reports by.
struct Row {
  std::string instruction;
  std::string input;
  std::string output;
  std::string family;
};

struct Sample {
  std::vector<Row> train;     // shuffled
  std::vector<Row> held_out;  // grouped by family
};

// The same rows for the same seed on every platform. No prompt (instruction, input) occurs twice in the whole sample.
// Rule families hold out operands: no wording of them is in `train`. Fact families hold out pairs of a fact and a
// wording: the fact is in `train` under other wordings, the wording with other facts.
Sample generate(std::uint64_t seed = kDefaultSeed);

// One JSON object a line, with the keys instruction, input, output, family in that order.
std::string to_json_lines(std::span<const Row> rows);

}  // namespace llama_zero::sample
