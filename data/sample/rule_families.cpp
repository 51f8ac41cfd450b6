// Families whose answers follow from their operands. Key orderings are chosen so that a held-out key hides every
// arrangement of the same operands: 3 + 8 held out means that 8 + 3 is not in the training rows either.
#include <algorithm>
#include <array>
#include <string>

#include "data/sample/family.h"

namespace llama_zero::sample {
namespace {

constexpr std::array<std::string_view, 4> kCategories{"animal", "fruit", "color", "tool"};
constexpr std::array<std::string_view, 40> kWords{
    "cat",   "dog",   "cow",    "horse", "sheep", "mouse",  "lion",  "bear",   "fox",   "wolf",    //
    "apple", "pear",  "plum",   "peach", "lemon", "grape",  "mango", "cherry", "melon", "banana",  //
    "red",   "blue",  "green",  "black", "white", "yellow", "pink",  "brown",  "gray",  "purple",  //
    "saw",   "drill", "hammer", "axe",   "rake",  "shovel", "knife", "wrench", "brush", "ladder"};
constexpr std::array<std::string_view, 12> kPeople{"Tom", "Anna", "Sam", "Mia",  "Ben",  "Lucy",
                                                   "Max", "Eva",  "Leo", "Nina", "Paul", "Rosa"};
constexpr std::array<std::string_view, 8> kThings{"coins", "books", "cards", "stones", "eggs", "pens", "cups", "balls"};

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) {
      text += separator;
    }
    text += part;
  }
  return text;
}

template <typename Table>
std::string pick(const Table& table, Rng& rng) {
  return std::string(table[rng.below(table.size())]);
}

std::vector<std::string> draw_words(std::size_t count, Rng& rng) {
  std::vector<std::string> words;
  while (words.size() < count) {
    std::string word = pick(kWords, rng);
    if (std::find(words.begin(), words.end(), word) == words.end()) {
      words.push_back(std::move(word));
    }
  }
  return words;
}

// --- Arithmetic -------------------------------------------------------------

constexpr Phrasing kAdditionPhrasings[] = {
    {"What is {a} + {b}?"},
    {"Add {a} and {b}."},
    {"What is the sum of {a} and {b}?"},
    {"Calculate {a} plus {b}."},
    {"Compute the sum.", "{a} + {b}"},
    {"Add the numbers.", "{a} and {b}"},
    {"{c} has {a} {d} and gets {b} more. How many {d} does {c} have now?"},
    {"There are {a} {d} on the table. {c} adds {b}. How many {d} are there?"},
};
Instance draw_addition(Rng& rng) {
  const int a = rng.between(0, 20);
  const int b = rng.between(0, 20);
  return {std::to_string(std::min(a, b)) + ' ' + std::to_string(std::max(a, b)),
          {std::to_string(a), std::to_string(b), pick(kPeople, rng), pick(kThings, rng)},
          {std::to_string(a + b)}};
}

constexpr Phrasing kSubtractionPhrasings[] = {
    {"What is {a} - {b}?"},
    {"Take {a} and subtract {b}."},
    {"What is {a} minus {b}?"},
    {"Calculate {a} minus {b}."},
    {"Compute the difference.", "{a} - {b}"},
    {"{c} has {a} {d} and loses {b}. How many {d} are left?"},
    {"There are {a} {d} on the table. {c} takes {b}. How many {d} are left?"},
};
// Two digits minus one, without borrowing: every pair of digits is trained beside other tens, so that the rule and not
// the table of pairs answers the held-out ones.
Instance draw_subtraction(Rng& rng) {
  const int units = rng.between(1, 9);
  const int a = 10 * rng.between(1, 9) + units;
  const int b = rng.between(1, units);
  return {std::to_string(a) + ' ' + std::to_string(b),
          {std::to_string(a), std::to_string(b), pick(kPeople, rng), pick(kThings, rng)},
          {std::to_string(a - b)}};
}

constexpr Phrasing kNeighborPhrasings[] = {
    {"What number comes after {a}?", {}, 0},  {"What is the number after {a}?", {}, 0},
    {"Count one up from {a}.", {}, 0},        {"Give the next number.", "{a}", 0},
    {"What number comes before {a}?", {}, 1}, {"What is the number before {a}?", {}, 1},
    {"Count one down from {a}.", {}, 1},      {"Give the previous number.", "{a}", 1},
};
Instance draw_neighbor(Rng& rng) {
  const int a = rng.between(1, 300);
  return {std::to_string(a), {std::to_string(a)}, {std::to_string(a + 1), std::to_string(a - 1)}};
}

constexpr Phrasing kParityPhrasings[] = {
    {"Is {a} odd or even?"},
    {"Is the number {a} odd or even?"},
    {"Tell if {a} is odd or even."},
    {"Say if {a} is odd or even."},
    {"Is the number odd or even?", "{a}"},
    {"Classify the number as odd or even.", "{a}"},
};
Instance draw_parity(Rng& rng) {
  const int a = rng.between(0, 199);
  return {std::to_string(a), {std::to_string(a)}, {a % 2 == 0 ? "even" : "odd"}};
}

constexpr Phrasing kSequencePhrasings[] = {
    {"Continue the sequence.", "{a}, {b}, {c}"},
    {"What number comes next?", "{a}, {b}, {c}"},
    {"What comes next: {a}, {b}, {c}?"},
    {"Find the next number: {a}, {b}, {c}."},
};
Instance draw_sequence(Rng& rng) {
  constexpr std::array<int, 3> kSteps{1, 2, 10};
  const int step = kSteps[rng.below(kSteps.size())];
  const int a = rng.between(0, 99);
  return {std::to_string(a) + ' ' + std::to_string(step),
          {std::to_string(a), std::to_string(a + step), std::to_string(a + 2 * step)},
          {std::to_string(a + 3 * step)}};
}

// --- Comparing and ordering numbers -----------------------------------------

constexpr Phrasing kComparisonPhrasings[] = {
    {"Which number is larger, {a} or {b}?", {}, 0}, {"Which is larger: {a} or {b}?", {}, 0},
    {"Give the larger number.", "{a}, {b}", 0},     {"Which number is smaller, {a} or {b}?", {}, 1},
    {"Give the smaller number.", "{a}, {b}", 1},    {"Which is smaller: {a} or {b}?", {}, 1},
};
Instance draw_comparison(Rng& rng) {
  const int a = rng.between(0, 99);
  const int b = (a + rng.between(1, 99)) % 100;
  const int low = std::min(a, b);
  const int high = std::max(a, b);
  return {std::to_string(low) + ' ' + std::to_string(high),
          {std::to_string(a), std::to_string(b)},
          {std::to_string(high), std::to_string(low)}};
}

// Three different numbers in [1, 20].
struct Triple {
  std::array<int, 3> shown;
  std::array<int, 3> sorted;

  explicit Triple(Rng& rng) {
    shown[0] = rng.between(1, 20);
    do {
      shown[1] = rng.between(1, 20);
    } while (shown[1] == shown[0]);
    do {
      shown[2] = rng.between(1, 20);
    } while (shown[2] == shown[0] || shown[2] == shown[1]);
    sorted = shown;
    std::sort(sorted.begin(), sorted.end());
  }

  static std::string list(const std::array<int, 3>& n) {
    return std::to_string(n[0]) + ", " + std::to_string(n[1]) + ", " + std::to_string(n[2]);
  }
};

constexpr Phrasing kExtremePhrasings[] = {
    {"Find the largest number.", "{a}", 0},         {"What is the maximum of {a}?", {}, 0},
    {"Which of these is the largest: {a}?", {}, 0}, {"Find the smallest number.", "{a}", 1},
    {"What is the minimum of {a}?", {}, 1},         {"Which of these is the smallest: {a}?", {}, 1},
};
Instance draw_extreme(Rng& rng) {
  const Triple triple(rng);
  return {Triple::list(triple.sorted),
          {Triple::list(triple.shown)},
          {std::to_string(triple.sorted[2]), std::to_string(triple.sorted[0])}};
}

constexpr Phrasing kSortingPhrasings[] = {
    {"Sort the numbers from small to large.", "{a}"},
    {"Put the numbers in order.", "{a}"},
    {"Sort these numbers: {a}."},
    {"Order {a} from low to high."},
    {"Arrange the numbers in ascending order.", "{a}"},
};
Instance draw_sorting(Rng& rng) {
  const Triple triple(rng);
  return {Triple::list(triple.sorted), {Triple::list(triple.shown)}, {Triple::list(triple.sorted)}};
}

// --- Numbers in words -------------------------------------------------------

std::string number_in_words(int n) {
  constexpr std::array<std::string_view, 20> kSmall{
      "zero", "one",    "two",    "three",    "four",     "five",    "six",     "seven",     "eight",    "nine",
      "ten",  "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
  constexpr std::array<std::string_view, 10> kTens{"",      "",      "twenty",  "thirty", "forty",
                                                   "fifty", "sixty", "seventy", "eighty", "ninety"};
  if (n < 20) {
    return std::string(kSmall[static_cast<std::size_t>(n)]);
  }
  const std::string tens(kTens[static_cast<std::size_t>(n / 10)]);
  return n % 10 == 0 ? tens : tens + ' ' + std::string(kSmall[static_cast<std::size_t>(n % 10)]);
}

constexpr Phrasing kNumberWordsPhrasings[] = {
    {"Write {a} in words.", {}, 0},
    {"Spell out the number {a}.", {}, 0},
    {"How do you say {a} in words?", {}, 0},
    {"Write the number in words.", "{a}", 0},
    {"Write {b} in digits.", {}, 1},
    {"Which number is {b}?", {}, 1},
    {"Write the number in digits.", "{b}", 1},
    {"Turn {b} into digits.", {}, 1},
};
// From twenty on a number's words follow from its digits; below, they could only be remembered.
Instance draw_number_words(Rng& rng) {
  const int n = rng.between(20, 99);
  return {std::to_string(n), {std::to_string(n), number_in_words(n)}, {number_in_words(n), std::to_string(n)}};
}

// --- Lists of words ---------------------------------------------------------

constexpr Phrasing kReversalPhrasings[] = {
    {"Reverse the order of the words.", "{a}"}, {"Write the words backwards.", "{a}"},
    {"Turn the list around.", "{a}"},           {"Reverse this list: {a}."},
    {"Say these words in reverse order: {a}."},
};
Instance draw_reversal(Rng& rng) {
  std::vector<std::string> words = draw_words(3, rng);
  const std::string shown = join(words, " ");
  std::reverse(words.begin(), words.end());
  return {std::min(shown, join(words, " ")), {shown}, {join(words, " ")}};
}

constexpr Phrasing kPositionPhrasings[] = {
    {"What is the first word?", "{a}", 0},     {"Give the first word of: {a}.", {}, 0},
    {"Which word comes first in {a}?", {}, 0}, {"What is the second word?", "{a}", 1},
    {"Give the second word of: {a}.", {}, 1},  {"What is the last word?", "{a}", 2},
    {"Give the last word of: {a}.", {}, 2},    {"Which word comes last in {a}?", {}, 2},
};
Instance draw_position(Rng& rng) {
  const std::vector<std::string> words = draw_words(3 + rng.below(3), rng);
  const std::string shown = join(words, " ");
  return {shown, {shown}, {words[0], words[1], words.back()}};
}

constexpr Phrasing kRepetitionPhrasings[] = {
    {"Repeat the word {a} {b} times."},
    {"Write {a} {b} times."},
    {"Say {a} {b} times."},
    {"Repeat the word {b} times.", "{a}"},
};
Instance draw_repetition(Rng& rng) {
  const std::string word = pick(kWords, rng);
  const int times = rng.between(2, 5);
  const std::vector<std::string> words(static_cast<std::size_t>(times), word);
  return {word + ' ' + std::to_string(times), {word, number_in_words(times)}, {join(words, " ")}};
}

constexpr Phrasing kCountingPhrasings[] = {
    {"How many words are in the list?", "{a}"},
    {"Count the words.", "{a}"},
    {"How many words are here: {a}?"},
    {"Count these words: {a}."},
};
Instance draw_counting(Rng& rng) {
  const std::vector<std::string> words = draw_words(1 + rng.below(7), rng);
  const std::string shown = join(words, " ");
  return {shown, {shown}, {std::to_string(words.size())}};
}

constexpr Phrasing kGroupPhrasings[] = {
    {"What are these?", "{a}"},
    {"Which group do these words belong to?", "{a}"},
    {"Name the group: {a}."},
    {"What kind of words are these: {a}?"},
};
Instance draw_group(Rng& rng) {
  const std::size_t group = rng.below(kCategories.size());
  std::vector<std::string> words;
  for (std::size_t i = 0; i < kWordsPerCategory; ++i) {
    words.emplace_back(kWords[group * kWordsPerCategory + i]);
  }
  rng.shuffle(words);
  words.resize(3);
  const std::string shown = join(words, " ");
  std::sort(words.begin(), words.end());
  return {join(words, " "), {shown}, {std::string(kCategories[group]) + 's'}};
}

// --- Language ---------------------------------------------------------------

constexpr std::array<std::string_view, 12> kGood{"great",  "lovely",  "good",     "perfect",   "nice", "fine",
                                                 "superb", "amazing", "pleasant", "excellent", "fun",  "fresh"};
constexpr std::array<std::string_view, 12> kBad{"bad",  "awful",    "poor",  "terrible", "boring", "broken",
                                                "ugly", "horrible", "dirty", "nasty",    "rude",   "weak"};
constexpr std::array<std::string_view, 20> kReviewed{"movie", "book",   "soup", "hotel", "song",  "game",   "cake",
                                                     "room",  "coffee", "trip", "show",  "meal",  "phone",  "park",
                                                     "beach", "class",  "tea",  "shop",  "staff", "concert"};
constexpr Phrasing kSentimentPhrasings[] = {
    {"Is this review positive or negative?", "The {a} was {b}."},
    {"Classify the sentiment.", "The {a} was {b}."},
    {"What is the sentiment of this text?", "I think the {a} is {b}."},
    {"Classify as positive or negative: the {a} was {b}."},
    {"Is the sentence positive or negative?", "What {b} {a}!"},
};
Instance draw_sentiment(Rng& rng) {
  const bool good = rng.below(2) == 0;
  const std::string adjective = good ? pick(kGood, rng) : pick(kBad, rng);
  const std::string noun = pick(kReviewed, rng);
  return {noun + ' ' + adjective, {noun, adjective}, {good ? "positive" : "negative"}};
}

constexpr RuleFamily kRuleFamilies[] = {
    {"addition", 5500, 24, kAdditionPhrasings, draw_addition},
    {"subtraction", 4000, 24, kSubtractionPhrasings, draw_subtraction},
    {"neighbor", 3800, 24, kNeighborPhrasings, draw_neighbor},
    {"parity", 3000, 24, kParityPhrasings, draw_parity},
    {"sequence", 3200, 24, kSequencePhrasings, draw_sequence},
    {"comparison", 4300, 24, kComparisonPhrasings, draw_comparison},
    {"extreme", 2200, 24, kExtremePhrasings, draw_extreme},
    {"sorting", 2500, 24, kSortingPhrasings, draw_sorting},
    {"number_words", 1300, 12, kNumberWordsPhrasings, draw_number_words},
    {"reversal", 1600, 24, kReversalPhrasings, draw_reversal},
    {"position", 1500, 24, kPositionPhrasings, draw_position},
    {"repetition", 1000, 24, kRepetitionPhrasings, draw_repetition},
    {"counting", 1000, 24, kCountingPhrasings, draw_counting},
    {"group", 1000, 24, kGroupPhrasings, draw_group},
    {"sentiment", 1000, 24, kSentimentPhrasings, draw_sentiment},
};

}  // namespace

std::span<const RuleFamily> rule_families() { return kRuleFamilies; }
std::span<const std::string_view> list_words() { return kWords; }
std::span<const std::string_view> list_categories() { return kCategories; }

}  // namespace llama_zero::sample
