#include "launcher/score.h"

#include <algorithm>

#include "core/error.h"

namespace llama_zero {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool exact_match(std::string_view answer, std::string_view expected) { return trimmed(answer) == trimmed(expected); }

void Score::add(const std::string& family, bool exact) {
  FamilyScore& score = families_[family];
  score.rows += 1;
  score.exact += exact ? 1 : 0;
}

FamilyScore Score::total() const {
  FamilyScore sum;
  for (const auto& [family, score] : families_) {
    sum.rows += score.rows;
    sum.exact += score.exact;
  }
  return sum;
}

double Score::mean_of_families() const {
  if (families_.empty()) return 0.0;
  double sum = 0.0;
  for (const auto& [family, score] : families_) sum += score.percent();
  return sum / static_cast<double>(families_.size());
}

std::pair<std::string, double> Score::weakest() const {
  require(!families_.empty(), "no family was scored");
  const auto least = std::ranges::min_element(families_, {}, [](const auto& entry) { return entry.second.percent(); });
  return {least->first, least->second.percent()};
}

std::vector<double> Score::counts() const {
  std::vector<double> counts;
  for (const auto& [family, score] : families_) {
    counts.push_back(static_cast<double>(score.rows));
    counts.push_back(static_cast<double>(score.exact));
  }
  return counts;
}

void Score::set_counts(const std::vector<double>& counts) {
  require(counts.size() == 2 * families_.size(), "{} counts for {} families", counts.size(), families_.size());
  std::size_t at = 0;
  for (auto& [family, score] : families_) {
    score.rows = static_cast<std::int64_t>(counts[at++]);
    score.exact = static_cast<std::int64_t>(counts[at++]);
  }
}

}  // namespace llama_zero
