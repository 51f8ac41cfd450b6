// tests/data/contract_keys.txt: every key that DeepSpeed has, and what is owed to it. And the facts of reading a config
// that hold for all keys.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "core/files.h"
#include "launcher/schema.h"
#include "test_config_support.h"
#include "tests/support/source_folder.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

struct ContractKey {
  std::string path, type, action;
};

std::vector<ContractKey> contract_keys() {
  std::istringstream file(std::string(MappedFile(test::source_folder() / "tests/data/contract_keys.txt").text()));
  std::vector<ContractKey> keys;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    const std::size_t space = line.find(' ');
    REQUIRE(space != std::string::npos);
    const std::string name = line.substr(0, space);
    const std::size_t at = name.find('@');
    keys.push_back({name.substr(0, at), at == std::string::npos ? "" : name.substr(at + 1), line.substr(space + 1)});
  }
  return keys;
}

/// Keys whose meaning holds without anything being done.
bool holds_anyway(std::string_view path) {
  // A whole model is always saved.
  return path == "zero_optimization.stage3_gather_16bit_weights_on_model_save";
}

bool fits(const SchemaKey& key, std::string_view action) {
  const bool warns = key.status == KeyStatus::kNoEffect && !key.note.empty();
  const bool refused = key.status == KeyStatus::kRejected && !key.note.empty();
  const bool honoured = key.status == KeyStatus::kHonoured;
  if (action == "M") return honoured || warns || refused || holds_anyway(key.path);
  if (action == "P" || action == "N") return honoured || key.status == KeyStatus::kNoEffect;
  if (action == "W") return honoured || warns;
  if (action == "E") return honoured || refused;
  return action == "WE" && (honoured || warns || refused);
}

}  // namespace

TEST_CASE("every key of the DeepSpeed contract ends as its action says") {
  const std::vector<ContractKey> keys = contract_keys();
  CHECK(keys.size() > 250);
  std::map<std::string, int> statuses;
  for (const ContractKey& entry : keys) {
    INFO(entry.path, " ", entry.type, " ", entry.action);
    if (entry.path.ends_with(".*")) {
      const SchemaSection* section = find_schema_section(entry.path.substr(0, entry.path.size() - 2));
      REQUIRE(section != nullptr);
      CHECK(section->strictness == Strictness::kOpaque);
      CHECK(section->note.empty() == (entry.action == "N"));
      continue;
    }
    const SchemaKey* key = find_schema_key(entry.path, entry.type);
    REQUIRE(key != nullptr);
    CHECK(key->types.empty() == entry.type.empty());
    CHECK(fits(*key, entry.action));
    statuses[std::to_string(static_cast<int>(key->status))] += 1;
  }
  CHECK(statuses.size() == 3);
}

TEST_CASE("the table has no key that neither DeepSpeed nor the contract knows, but for our own") {
  std::set<std::string> known;
  for (const ContractKey& entry : contract_keys()) known.insert(entry.path);
  const std::set<std::string_view> ours = {"activation_checkpointing.mode",
                                           "optimizer.params.lr_decay",
                                           "optimizer.params.initial_accumulator_value",
                                           "amp.opt_level",
                                           "comet.project",
                                           "comet.workspace",
                                           "comet.api_key",
                                           "comet.experiment_name",
                                           "comet.experiment_key",
                                           "comet.online",
                                           "comet.mode"};
  for (const SchemaKey& key : schema_keys()) {
    // Those of optimizers that are refused by name are there for the proposals.
    const bool refused_optimizer =
        key.section() == "optimizer.params" && !key.types.empty() && key.status == KeyStatus::kRejected;
    const bool own = key.section() == "llama_zero" || ours.contains(key.path) || refused_optimizer ||
                     key.path.starts_with("autotuning.");
    INFO(key.path);
    CHECK((own || known.contains(std::string(key.path))));
  }
}

TEST_CASE("a key that warns does so once, and only where it asks for something") {
  for (const SchemaKey& key : schema_keys()) {
    if (key.status != KeyStatus::kNoEffect || key.note.empty() || key.type != ValueType::kBool) continue;
    const auto warnings_with = [&](std::string_view value) {
      std::string base = R"({"zero_optimization": {"stage": 3}})";
      if (key.section() == "optimizer.params") {
        base = fmt::format(R"({{"optimizer": {{"type": "{}"}}}})", split_list(key.types).front());
      }
      return resolve_text(base, 1, set_flags({fmt::format("{}={}", key.path, value)})).warnings;
    };
    INFO(key.path);
    const bool on_by_default = key.default_text == "true";
    if (key.default_text != "null") CHECK(warnings_with(on_by_default ? "true" : "false").empty());
    const std::vector<std::string> warnings = warnings_with(on_by_default ? "false" : "true");
    REQUIRE(warnings.size() == 1);
    CHECK(contains(warnings[0], key.note));
    CHECK(contains(warnings[0], key.path));
  }
}

TEST_CASE("a key that is refused says so with its note, and its accepted values pass") {
  for (const SchemaKey& key : schema_keys()) {
    if (key.status != KeyStatus::kRejected || key.type != ValueType::kBool || !key.types.empty()) continue;
    const bool on_by_default = key.default_text == "true";
    const std::string text = fmt::format("{}={}", key.path, on_by_default ? "false" : "true");
    const std::string message = message_of([&] { resolve_text("{}", 1, set_flags({text})); });
    INFO(text, " -> ", message);
    CHECK(contains(message, key.note));
  }
}
