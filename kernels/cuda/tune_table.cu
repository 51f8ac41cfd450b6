// The tune table as JSON.
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "kernels/cuda/tune.h"

namespace llama_zero {
namespace {

constexpr const char* kFormat = "llama_zero tune table 1";

using Json = nlohmann::ordered_json;

const std::string& text_of(const Json& object, const char* name) {
  return object.at(name).get_ref<const std::string&>();
}

std::uint64_t word_of(const std::string& hexadecimal) {
  std::uint64_t word = 0;
  const char* end = hexadecimal.data() + hexadecimal.size();
  const auto [stop, error] = std::from_chars(hexadecimal.data(), end, word, 16);
  // What is wrong is not quoted: a file of anything must give one short line.
  require(error == std::errc{} && stop == end && hexadecimal.size() == 16,
          "one of its words is not 16 hexadecimal digits");
  return word;
}

TuneTable table_of(const Json& json) {
  require(text_of(json, "format") == kFormat, "its format is not \"{}\"", kFormat);
  TuneTable table{text_of(json, "gpu"), text_of(json, "libraries"), text_of(json, "attention"), {}};
  for (const auto& [key, words] : json.at("gemm").items()) {
    auto& algorithm = table.gemm_algorithms[key];
    require(words.is_array() && words.size() == algorithm.size(), "a product must have {} words", algorithm.size());
    for (std::size_t i = 0; i < algorithm.size(); ++i) algorithm[i] = word_of(words[i].get_ref<const std::string&>());
  }
  return table;
}

}  // namespace

std::string TuneTable::text() const {
  Json json = {{"format", kFormat}, {"gpu", gpu}, {"libraries", libraries}, {"attention", attention}};
  Json& products = json["gemm"] = Json::object();
  for (const auto& [key, words] : gemm_algorithms) {
    Json& list = products[key] = Json::array();
    for (const std::uint64_t word : words) list.push_back(fmt::format("{:016x}", word));
  }
  return json.dump(2) + "\n";
}

TuneTable TuneTable::parse(const std::string& text, const std::string& source) {
  try {
    return table_of(Json::parse(text));
  } catch (const nlohmann::json::exception&) {
    fail("{}: not a tune table; remove it to tune anew", source);
  } catch (const Error& error) {
    fail("{}: not a tune table: {}; remove it to tune anew", source, error.what());
  }
}

}  // namespace llama_zero
