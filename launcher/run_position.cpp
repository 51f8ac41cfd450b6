#include "launcher/run_position.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace llama_zero {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

class Fields {
 public:
  Fields(const Json& json, const std::string& origin) : json_(json), origin_(origin) {}

  std::int64_t count(const char* key) const {
    const Json& value = at(key);
    const bool fits = value.is_number_unsigned() && value.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMost);
    if (!fits) fail("{}: run.{} is no count", origin_, key);
    return value.get<std::int64_t>();
  }
  double number(const char* key) const {
    const Json& value = at(key);
    if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
    require(value.is_number(), "{}: run.{} is no number", origin_, key);
    return value.get<double>();
  }
  std::uint64_t word(const char* key) const {
    const Json& value = at(key);
    require(value.is_number_unsigned(), "{}: run.{} is no unsigned number", origin_, key);
    return value.get<std::uint64_t>();
  }
  /// Absent: empty.
  std::string text(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) return "";
    require(found->is_string(), "{}: run.{} is no string", origin_, key);
    return found->get<std::string>();
  }

 private:
  const Json& at(const char* key) const {
    const auto found = json_.find(key);
    require(found != json_.end(), "{}: run.{} is missing", origin_, key);
    return *found;
  }

  const Json& json_;
  const std::string& origin_;
};

}  // namespace

std::string format_run_position(const RunPosition& position) {
  const Json json = {{"steps", position.steps},
                     {"skipped", position.skipped},
                     {"samples", position.samples},
                     {"tokens", position.tokens},
                     {"padded_tokens", position.padded_tokens},
                     {"first_loss", position.first_loss},
                     {"epoch", position.epoch},
                     {"row_in_epoch", position.row_in_epoch},
                     {"data_hash", position.data_hash},
                     {"tokenizer_hash", position.tokenizer_hash},
                     {"seed", position.seed},
                     {"model_folder", position.model_folder}};
  // A path need not be UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

RunPosition parse_run_position(std::string_view text, const std::string& origin) {
  const Json json = Json::parse(text, nullptr, false);
  require(json.is_object(), "{}: run is no JSON object", origin);
  const Fields fields(json, origin);
  RunPosition position;
  position.steps = fields.count("steps");
  position.skipped = fields.count("skipped");
  position.samples = fields.count("samples");
  position.tokens = fields.count("tokens");
  position.padded_tokens = fields.count("padded_tokens");
  position.first_loss = fields.number("first_loss");
  position.epoch = fields.count("epoch");
  position.row_in_epoch = fields.count("row_in_epoch");
  position.data_hash = fields.word("data_hash");
  position.tokenizer_hash = fields.word("tokenizer_hash");
  position.seed = fields.word("seed");
  position.model_folder = fields.text("model_folder");
  return position;
}

}  // namespace llama_zero
