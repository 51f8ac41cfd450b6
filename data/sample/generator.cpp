#include "data/sample/generator.h"

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "data/sample/family.h"
#include "data/sample/rng.h"

namespace llama_zero::sample {
namespace {

constexpr std::size_t kHeldOutPerFamily = 24;
// A fact that lost more wordings than this could hardly be learned from the ones that stay.
constexpr std::size_t kHeldOutWordingsPerFact = 2;
// Far more than any family needs; reaching it means that train_rows asks for more rows than exist.
constexpr std::size_t kMaxDraws = 400'000;

// Put around an instruction, these multiply the wordings without changing the question. Half of a rule family's rows
// get the first, the bare instruction.
struct Frame {
  std::string_view before;
  std::string_view after;
};
constexpr std::array<Frame, 4> kFrames{{
    {"", ""},
    {"", " Answer briefly."},
    {"", " Be short."},
    {"Task: ", ""},
}};

std::size_t draw_frame(Rng& rng) { return rng.below(2) == 0 ? 0 : 1 + rng.below(kFrames.size() - 1); }

std::string fill(std::string_view pattern, const Instance& instance) {
  std::string text;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '{') {
      text += instance.slots.at(static_cast<std::size_t>(pattern.at(i + 1) - 'a'));
      i += 2;
    } else {
      text += pattern[i];
    }
  }
  return text;
}

Row make_row(std::string_view family, const Phrasing& phrasing, const Frame& frame, const Instance& instance) {
  Row row;
  row.instruction = std::string(frame.before) + fill(phrasing.instruction, instance) + std::string(frame.after);
  row.input = fill(phrasing.input, instance);
  row.output = instance.answers.at(phrasing.answer);
  row.family = std::string(family);
  return row;
}

class Builder {
 public:
  explicit Builder(std::uint64_t seed) : seed_(seed) {}

  void add(const RuleFamily& family) {
    Rng rng(seed_, family.name);
    std::unordered_set<std::string> held_keys;
    std::vector<Instance> held;
    for (std::size_t draws = 0; held.size() < family.held_out_keys; ++draws) {
      check_draws(family.name, draws);
      Instance instance = family.draw(rng);
      if (held_keys.insert(instance.key).second) {
        held.push_back(std::move(instance));
      }
    }
    for (std::size_t draws = 0, rows = 0; rows < kHeldOutPerFamily; ++draws) {
      check_draws(family.name, draws);
      if (accept(draw_row(family, held[rows % held.size()], rng), sample_.held_out)) {
        ++rows;
      }
    }
    for (std::size_t draws = 0, rows = 0; rows < family.train_rows; ++draws) {
      check_draws(family.name, draws);
      const Instance instance = family.draw(rng);
      if (!held_keys.contains(instance.key) && accept(draw_row(family, instance, rng), sample_.train)) {
        ++rows;
      }
    }
  }

  void add(const FactFamily& family) {
    Rng rng(seed_, family.name);
    std::vector<std::pair<std::size_t, std::size_t>> pairs;
    for (std::size_t fact = 0; fact < family.facts.size(); ++fact) {
      for (std::size_t phrasing = 0; phrasing < family.phrasings.size(); ++phrasing) {
        pairs.emplace_back(fact, phrasing);
      }
    }
    rng.shuffle(pairs);

    std::map<std::pair<std::size_t, std::size_t>, std::size_t> held_wordings;
    std::size_t held = 0;
    for (const auto& [fact, phrasing_index] : pairs) {
      const Instance& instance = family.facts[fact];
      const Phrasing& phrasing = family.phrasings[phrasing_index];
      std::size_t& wordings = held_wordings[{fact, phrasing.answer}];
      if (held < kHeldOutPerFamily && wordings < kHeldOutWordingsPerFact) {
        ++wordings;
        ++held;
        accept(make_row(family.name, phrasing, kFrames[draw_frame(rng)], instance), sample_.held_out);
        continue;
      }
      for (const Frame& frame : kFrames) {
        accept(make_row(family.name, phrasing, frame, instance), sample_.train);
      }
    }
  }

  Sample finish() && {
    Rng(seed_, "order").shuffle(sample_.train);
    return std::move(sample_);
  }

 private:
  static Row draw_row(const RuleFamily& family, const Instance& instance, Rng& rng) {
    const Phrasing& phrasing = family.phrasings[rng.below(family.phrasings.size())];
    return make_row(family.name, phrasing, kFrames[draw_frame(rng)], instance);
  }

  static void check_draws(std::string_view family, std::size_t draws) {
    if (draws >= kMaxDraws) {
      throw std::logic_error("sample family '" + std::string(family) +
                             "' has fewer distinct rows than its table asks for");
    }
  }

  bool accept(Row row, std::vector<Row>& rows) {
    if (!prompts_.insert(row.instruction + '\n' + row.input).second) {
      return false;
    }
    rows.push_back(std::move(row));
    return true;
  }

  std::uint64_t seed_;
  Sample sample_;
  std::unordered_set<std::string> prompts_;
};

}  // namespace

Sample generate(std::uint64_t seed) {
  Builder builder(seed);
  for (const RuleFamily& family : rule_families()) {
    builder.add(family);
  }
  for (const FactFamily& family : fact_families()) {
    builder.add(family);
  }
  return std::move(builder).finish();
}

std::string to_json_lines(std::span<const Row> rows) {
  std::string text;
  for (const Row& row : rows) {
    nlohmann::ordered_json object;
    object["instruction"] = row.instruction;
    object["input"] = row.input;
    object["output"] = row.output;
    object["family"] = row.family;
    text += object.dump();
    text += '\n';
  }
  return text;
}

}  // namespace llama_zero::sample
