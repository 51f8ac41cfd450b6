// Exact match, by family.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace llama_zero {

/// `text` without white space at its ends.
std::string_view trimmed(std::string_view text);
/// Equal up to white space at the ends.
bool exact_match(std::string_view answer, std::string_view expected);

/// How many answers of a group were right.
struct FamilyScore {
  std::int64_t rows = 0;
  std::int64_t exact = 0;
  double percent() const { return rows == 0 ? 0.0 : 100.0 * static_cast<double>(exact) / static_cast<double>(rows); }
};

/// Answers counted by the family of their row ("" for rows without one).
class Score {
 public:
  /// A family without answers yet, so that all ranks have the same list.
  void declare(const std::string& family) { families_[family]; }
  void add(const std::string& family, bool exact);

  const std::map<std::string, FamilyScore>& families() const { return families_; }
  FamilyScore total() const;
  /// Mean of the families' percentages, each family counting alike.
  double mean_of_families() const;
  /// Family and percentage of the weakest.
  std::pair<std::string, double> weakest() const;

  /// Counts as numbers, rows and exact of each family in order of name, to be added over ranks.
  std::vector<double> counts() const;
  void set_counts(const std::vector<double>& counts);

 private:
  std::map<std::string, FamilyScore> families_;
};

}  // namespace llama_zero
