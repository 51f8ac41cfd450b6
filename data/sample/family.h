// What a family of the sample is: how its questions are worded, and where its questions and answers come from.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/sample/rng.h"

namespace llama_zero::sample {

// One wording. {a} is the instance's first slot, {b} its second, and so on. `answer` picks which of the instance's
// answers this wording asks for ("the larger of", "the smaller of").
struct Phrasing {
  std::string_view instruction;
  std::string_view input = {};
  std::size_t answer = 0;
};

// One question without its wording. Equal keys mean the same operands, whatever their order on the page.
struct Instance {
  std::string key;
  std::vector<std::string> slots;
  std::vector<std::string> answers;
};

// The answer follows from the operands by a rule, so the held-out part is operands: `held_out_keys` of them, drawn
// first, which no training row uses.
struct RuleFamily {
  std::string_view name;
  std::size_t train_rows;
  std::size_t held_out_keys;
  std::span<const Phrasing> phrasings;
  Instance (*draw)(Rng& rng);
};

// The answer can only be remembered, so the held-out part is pairs of a fact and a wording.
// Every other pair is a training row under every frame.
struct FactFamily {
  std::string_view name;
  std::span<const Phrasing> phrasings;
  std::vector<Instance> facts;
};

std::span<const RuleFamily> rule_families();
const std::vector<FactFamily>& fact_families();

// The words that lists are made of, ten to a category; categories[i] names words [10 i, 10 i + 10).
inline constexpr std::size_t kWordsPerCategory = 10;
std::span<const std::string_view> list_words();
std::span<const std::string_view> list_categories();

}  // namespace llama_zero::sample
