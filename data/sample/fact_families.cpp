// Families whose answers can only be remembered: tables of facts and the wordings that ask for them.
#include <array>
#include <initializer_list>
#include <string>

#include "data/sample/family.h"

namespace llama_zero::sample {
namespace {

// A row of a table: what fills the slots, and the answers. `answer_2` serves the wordings that ask the other way.
struct Entry {
  std::string_view a;
  std::string_view answer;
  std::string_view answer_2 = {};
};

constexpr Entry kCapitals[] = {
    {"France", "Paris"},       {"Spain", "Madrid"},      {"Italy", "Rome"},       {"Germany", "Berlin"},
    {"Austria", "Vienna"},     {"Poland", "Warsaw"},     {"Greece", "Athens"},    {"Portugal", "Lisbon"},
    {"Ireland", "Dublin"},     {"England", "London"},    {"Norway", "Oslo"},      {"Sweden", "Stockholm"},
    {"Denmark", "Copenhagen"}, {"Finland", "Helsinki"},  {"Hungary", "Budapest"}, {"Russia", "Moscow"},
    {"Turkey", "Ankara"},      {"Egypt", "Cairo"},       {"Kenya", "Nairobi"},    {"Japan", "Tokyo"},
    {"China", "Beijing"},      {"India", "New Delhi"},   {"Thailand", "Bangkok"}, {"Canada", "Ottawa"},
    {"Cuba", "Havana"},        {"Peru", "Lima"},         {"Chile", "Santiago"},   {"Belgium", "Brussels"},
    {"Cyprus", "Nicosia"},     {"Iceland", "Reykjavik"},
};
constexpr Phrasing kCapitalPhrasings[] = {
    {"What is the capital of {a}?"},
    {"Name the capital of {a}."},
    {"Which city is the capital of {a}?"},
    {"Give the capital city of {a}."},
    {"What is the capital of this country?", "{a}"},
    {"Name the capital.", "{a}"},
    {"{a} has which capital?"},
    {"Tell me the capital of {a}."},
};

constexpr Entry kContinents[] = {
    {"France", "Europe"},        {"Spain", "Europe"},       {"Italy", "Europe"},         {"Germany", "Europe"},
    {"Poland", "Europe"},        {"Greece", "Europe"},      {"Norway", "Europe"},        {"Sweden", "Europe"},
    {"Egypt", "Africa"},         {"Kenya", "Africa"},       {"Ghana", "Africa"},         {"Nigeria", "Africa"},
    {"Morocco", "Africa"},       {"Japan", "Asia"},         {"China", "Asia"},           {"India", "Asia"},
    {"Thailand", "Asia"},        {"Vietnam", "Asia"},       {"Canada", "North America"}, {"Cuba", "North America"},
    {"Mexico", "North America"}, {"Peru", "South America"}, {"Chile", "South America"},  {"Brazil", "South America"},
};
constexpr Phrasing kContinentPhrasings[] = {
    {"Which continent is {a} in?"},
    {"On which continent is {a}?"},
    {"Name the continent of {a}."},
    {"What continent does {a} belong to?"},
    {"Which continent is this country in?", "{a}"},
    {"Name the continent.", "{a}"},
    {"{a} is part of which continent?"},
};

constexpr Entry kOpposites[] = {
    {"hot", "cold"},   {"big", "small"},    {"tall", "short"},     {"fast", "slow"},   {"up", "down"},
    {"left", "right"}, {"open", "closed"},  {"full", "empty"},     {"light", "dark"},  {"happy", "sad"},
    {"young", "old"},  {"rich", "poor"},    {"hard", "soft"},      {"wet", "dry"},     {"early", "late"},
    {"near", "far"},   {"day", "night"},    {"clean", "dirty"},    {"strong", "weak"}, {"high", "low"},
    {"loud", "quiet"}, {"true", "false"},   {"first", "last"},     {"win", "lose"},    {"buy", "sell"},
    {"start", "stop"}, {"push", "pull"},    {"inside", "outside"}, {"thick", "thin"},  {"wide", "narrow"},
    {"sweet", "sour"}, {"always", "never"},
};
constexpr Phrasing kOppositePhrasings[] = {
    {"What is the opposite of {a}?"},
    {"Give the opposite of {a}."},
    {"Name an antonym of {a}."},
    {"Which word means the opposite of {a}?"},
    {"What is the opposite of this word?", "{a}"},
    {"Give the opposite.", "{a}"},
    {"Find an antonym.", "{a}"},
    {"{a} is the opposite of what?"},
};

constexpr Entry kPlurals[] = {
    {"mouse", "mice"},  {"child", "children"}, {"foot", "feet"},     {"tooth", "teeth"}, {"man", "men"},
    {"woman", "women"}, {"goose", "geese"},    {"person", "people"}, {"sheep", "sheep"}, {"fish", "fish"},
    {"leaf", "leaves"}, {"knife", "knives"},   {"wolf", "wolves"},   {"wife", "wives"},  {"city", "cities"},
    {"baby", "babies"}, {"lady", "ladies"},    {"story", "stories"}, {"box", "boxes"},   {"bus", "buses"},
    {"dish", "dishes"}, {"fox", "foxes"},      {"cat", "cats"},      {"dog", "dogs"},    {"book", "books"},
    {"tree", "trees"},  {"car", "cars"},       {"cow", "cows"},      {"ox", "oxen"},     {"potato", "potatoes"},
    {"toy", "toys"},    {"shelf", "shelves"},
};
constexpr Phrasing kPluralPhrasings[] = {
    {"What is the plural of {a}?"},
    {"Give the plural of {a}."},
    {"Write the plural form of {a}."},
    {"One {a}, two what?"},
    {"Write the plural.", "{a}"},
    {"Make this noun plural.", "{a}"},
    {"What is the plural of this noun?", "{a}"},
    {"Turn {a} into the plural."},
};

constexpr Entry kPastTenses[] = {
    {"go", "went"},      {"see", "saw"},     {"eat", "ate"},     {"run", "ran"},     {"take", "took"},
    {"give", "gave"},    {"come", "came"},   {"write", "wrote"}, {"sing", "sang"},   {"swim", "swam"},
    {"fly", "flew"},     {"drink", "drank"}, {"drive", "drove"}, {"buy", "bought"},  {"think", "thought"},
    {"teach", "taught"}, {"make", "made"},   {"find", "found"},  {"know", "knew"},   {"sleep", "slept"},
    {"tell", "told"},    {"break", "broke"}, {"speak", "spoke"}, {"win", "won"},     {"walk", "walked"},
    {"play", "played"},  {"cook", "cooked"}, {"jump", "jumped"}, {"help", "helped"}, {"stop", "stopped"},
};
constexpr Phrasing kPastTensePhrasings[] = {
    {"What is the past tense of {a}?"}, {"Give the past tense of {a}."},
    {"Write the past tense of {a}."},   {"Today I {a}. What did I do yesterday?"},
    {"Write the past tense.", "{a}"},   {"Put this verb into the past tense.", "{a}"},
    {"Turn {a} into the past tense."},
};

constexpr Entry kColors[] = {
    {"the sky", "blue"},    {"the sea", "blue"},     {"grass", "green"},      {"a frog", "green"},
    {"a banana", "yellow"}, {"the sun", "yellow"},   {"a lemon", "yellow"},   {"blood", "red"},
    {"a tomato", "red"},    {"a cherry", "red"},     {"snow", "white"},       {"milk", "white"},
    {"salt", "white"},      {"coal", "black"},       {"a raven", "black"},    {"tar", "black"},
    {"a carrot", "orange"}, {"a pumpkin", "orange"}, {"chocolate", "brown"},  {"mud", "brown"},
    {"a flamingo", "pink"}, {"a pig", "pink"},       {"an elephant", "gray"}, {"ash", "gray"},
};
constexpr Phrasing kColorPhrasings[] = {
    {"What color is {a}?"},        {"Which color does {a} have?"}, {"Name the color of {a}."},
    {"Tell me the color of {a}."}, {"What color is this?", "{a}"}, {"Name the usual color.", "{a}"},
    {"Give the color of {a}."},
};

constexpr Entry kYoungAnimals[] = {
    {"dog", "puppy"},     {"cat", "kitten"},   {"cow", "calf"},  {"horse", "foal"},    {"sheep", "lamb"},
    {"goat", "kid"},      {"pig", "piglet"},   {"lion", "cub"},  {"duck", "duckling"}, {"hen", "chick"},
    {"goose", "gosling"}, {"frog", "tadpole"}, {"deer", "fawn"}, {"swan", "cygnet"},
};
constexpr Phrasing kYoungAnimalPhrasings[] = {
    {"What is a young {a} called?"},  {"What do you call a baby {a}?"},
    {"Name the young of a {a}."},     {"Give the word for a young {a}."},
    {"A baby {a} is called what?"},   {"What is the young of this animal called?", "{a}"},
    {"Name the baby animal.", "{a}"},
};

constexpr Entry kTranslations[] = {
    {"dog", "perro"},   {"cat", "gato"},       {"house", "casa"},  {"water", "agua"},   {"bread", "pan"},
    {"milk", "leche"},  {"sun", "sol"},        {"moon", "luna"},   {"friend", "amigo"}, {"book", "libro"},
    {"red", "rojo"},    {"blue", "azul"},      {"green", "verde"}, {"white", "blanco"}, {"black", "negro"},
    {"one", "uno"},     {"two", "dos"},        {"three", "tres"},  {"four", "cuatro"},  {"hand", "mano"},
    {"night", "noche"}, {"sea", "mar"},        {"good", "bueno"},  {"city", "ciudad"},  {"flower", "flor"},
    {"fire", "fuego"},  {"school", "escuela"}, {"hello", "hola"},
};
constexpr Phrasing kTranslationPhrasings[] = {
    {"Translate {a} into Spanish."},
    {"What is {a} in Spanish?"},
    {"How do you say {a} in Spanish?"},
    {"Give the Spanish word for {a}."},
    {"Translate the word into Spanish.", "{a}"},
    {"Write this word in Spanish.", "{a}"},
    {"What is the Spanish word for {a}?"},
};

// Answers: what comes after, what comes before.
constexpr Entry kCalendar[] = {
    {"Monday", "Tuesday", "Sunday"},
    {"Tuesday", "Wednesday", "Monday"},
    {"Wednesday", "Thursday", "Tuesday"},
    {"Thursday", "Friday", "Wednesday"},
    {"Friday", "Saturday", "Thursday"},
    {"Saturday", "Sunday", "Friday"},
    {"Sunday", "Monday", "Saturday"},
    {"January", "February", "December"},
    {"February", "March", "January"},
    {"March", "April", "February"},
    {"April", "May", "March"},
    {"May", "June", "April"},
    {"June", "July", "May"},
    {"July", "August", "June"},
    {"August", "September", "July"},
    {"September", "October", "August"},
    {"October", "November", "September"},
    {"November", "December", "October"},
    {"December", "January", "November"},
};
constexpr Phrasing kCalendarPhrasings[] = {
    {"What comes after {a}?", {}, 0},
    {"What comes right after {a}?", {}, 0},
    {"Name what comes after {a}.", {}, 0},
    {"In the calendar, what comes after {a}?", {}, 0},
    {"Tell me what comes after {a}.", {}, 0},
    {"What comes after this?", "{a}", 0},
    {"Name what comes after.", "{a}", 0},
    {"What comes before {a}?", {}, 1},
    {"What comes right before {a}?", {}, 1},
    {"Name what comes before {a}.", {}, 1},
    {"In the calendar, what comes before {a}?", {}, 1},
    {"Tell me what comes before {a}.", {}, 1},
    {"What comes before this?", "{a}", 1},
    {"Name what comes before.", "{a}", 1},
};

constexpr Phrasing kAlphabetPhrasings[] = {
    {"What letter comes after {a}?", {}, 0},
    {"Which letter comes right after {a}?", {}, 0},
    {"Name the letter after {a}.", {}, 0},
    {"What is the letter after {a}?", {}, 0},
    {"In the alphabet, what comes after {a}?", {}, 0},
    {"Name the letter after this.", "{a}", 0},
    {"What letter comes after this?", "{a}", 0},
    {"What letter comes before {a}?", {}, 1},
    {"Which letter comes right before {a}?", {}, 1},
    {"Name the letter before {a}.", {}, 1},
    {"What is the letter before {a}?", {}, 1},
    {"In the alphabet, what comes before {a}?", {}, 1},
    {"Name the letter before this.", "{a}", 1},
    {"What letter comes before this?", "{a}", 1},
};

constexpr Phrasing kCategoryPhrasings[] = {
    {"Is {a} an animal, a fruit, a color or a tool?"},
    {"What kind of thing is {a}?"},
    {"Which category does {a} belong to?"},
    {"Classify the word {a}."},
    {"Classify the word.", "{a}"},
    {"Which category is this?", "{a}"},
    {"Name the category of {a}."},
};

std::vector<Instance> from_table(std::span<const Entry> table) {
  std::vector<Instance> facts;
  for (const Entry& entry : table) {
    facts.push_back(
        {std::string(entry.a), {std::string(entry.a)}, {std::string(entry.answer), std::string(entry.answer_2)}});
  }
  return facts;
}

std::vector<Instance> alphabet_facts() {
  std::vector<Instance> facts;
  for (char letter = 'b'; letter <= 'y'; ++letter) {
    const std::string shown(1, letter);
    facts.push_back({shown,
                     {shown},
                     {std::string(1, static_cast<char>(letter + 1)), std::string(1, static_cast<char>(letter - 1))}});
  }
  return facts;
}

std::vector<Instance> category_facts() {
  std::vector<Instance> facts;
  const auto words = list_words();
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string word(words[i]);
    facts.push_back({word, {word}, {std::string(list_categories()[i / kWordsPerCategory])}});
  }
  return facts;
}

}  // namespace

const std::vector<FactFamily>& fact_families() {
  static const std::vector<FactFamily> families{
      {"capital", kCapitalPhrasings, from_table(kCapitals)},
      {"continent", kContinentPhrasings, from_table(kContinents)},
      {"opposite", kOppositePhrasings, from_table(kOpposites)},
      {"plural", kPluralPhrasings, from_table(kPlurals)},
      {"past_tense", kPastTensePhrasings, from_table(kPastTenses)},
      {"color", kColorPhrasings, from_table(kColors)},
      {"young_animal", kYoungAnimalPhrasings, from_table(kYoungAnimals)},
      {"translation", kTranslationPhrasings, from_table(kTranslations)},
      {"calendar", kCalendarPhrasings, from_table(kCalendar)},
      {"alphabet", kAlphabetPhrasings, alphabet_facts()},
      {"category", kCategoryPhrasings, category_facts()},
  };
  return families;
}

}  // namespace llama_zero::sample
