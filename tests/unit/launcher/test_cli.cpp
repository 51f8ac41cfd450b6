#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "launcher/cli.h"
#include "launcher/schema.h"

namespace llama_zero {
namespace {

CommandLine parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "llama_zero");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

std::string error_of(std::vector<const char*> arguments) {
  try {
    parse(std::move(arguments));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::optional<ConfigOverride> find(const CommandLine& line, const std::string& key) {
  const auto& overrides = line.train.flags.overrides;
  const auto found = std::ranges::find(overrides, key, &ConfigOverride::key);
  return found == overrides.end() ? std::nullopt : std::optional(*found);
}

}  // namespace

TEST_CASE("no arguments mean training with the built-in config") {
  const CommandLine line = parse({});
  CHECK(line.command == Command::kTrain);
  CHECK(!line.train.config);
  CHECK(line.train.flags.overrides.empty());
  CHECK(!line.train.plan);
}

TEST_CASE("training options may stand with or without the word train") {
  for (const bool with_word : {false, true}) {
    std::vector<const char*> arguments = {"--config", "a.json", "--plan"};
    if (with_word) arguments.insert(arguments.begin(), "train");
    const CommandLine line = parse(arguments);
    CHECK(line.command == Command::kTrain);
    REQUIRE(line.train.config);
    CHECK(*line.train.config == "a.json");
    CHECK(line.train.plan);
  }
}

TEST_CASE("every key of the llama_zero section is a flag") {
  int keys = 0;
  for (const SchemaKey& key : schema_keys()) {
    if (!key.path.starts_with("llama_zero.")) continue;
    keys += 1;
    std::string flag = "--" + std::string(key.name());
    std::ranges::replace(flag, '_', '-');
    const bool is_bool = key.type == ValueType::kBool;
    const CommandLine line = is_bool ? parse({flag.c_str()}) : parse({flag.c_str(), "7"});
    const std::optional<ConfigOverride> override_ = find(line, std::string(key.path));
    INFO(flag);
    REQUIRE(override_.has_value());
    CHECK(override_->value == (is_bool ? "true" : "7"));
    CHECK(override_->flag == flag);
    CHECK(override_->verbatim == (key.type == ValueType::kString));
  }
  CHECK(keys >= 15);
}

TEST_CASE("bool flags can be turned off") {
  CHECK(find(parse({"--no-coalesce"}), "llama_zero.coalesce").value().value == "false");
  CHECK(find(parse({"--coalesce=false"}), "llama_zero.coalesce").value().value == "false");
}

TEST_CASE("--micro-batch replaces the micro batch of the config") {
  const std::optional<ConfigOverride> micro = find(parse({"--micro-batch", "4"}), "train_micro_batch_size_per_gpu");
  REQUIRE(micro.has_value());
  CHECK(micro->value == "4");
  CHECK(error_of({"--micro-batch", "0"}) != "");
}

TEST_CASE("--set gives any key, before the flags, which win") {
  const CommandLine line = parse({"--seed", "1", "--set", "zero_optimization.stage=2", "llama_zero.seed=5"});
  const auto& overrides = line.train.flags.overrides;
  REQUIRE(overrides.size() == 3);
  CHECK(overrides[0].key == "zero_optimization.stage");
  CHECK(overrides[1].key == "llama_zero.seed");
  CHECK(overrides[2].value == "1");
  CHECK(error_of({"--set", "stage"}) != "");
}

TEST_CASE("a wrong flag, value or combination is one line of error") {
  CHECK(error_of({"--no-such-flag"}).find("--no-such-flag") != std::string::npos);
  CHECK(error_of({"--config"}) != "");
  CHECK(error_of({"--precision", "fp8"}).find("fp8") != std::string::npos);
  CHECK(error_of({"dance"}).find("dance") != std::string::npos);
  CHECK(error_of({"eval"}).find("--model") != std::string::npos);
  CHECK(error_of({"--seed", "3", "sample", "--output", "x"}).find("--seed") != std::string::npos);
  CHECK(error_of({"generate", "--model", "m"}).find("--instruction") != std::string::npos);
  CHECK(error_of({"generate", "--model", "m", "--prompt", "p", "--instruction", "i"}) != "");
  CHECK(error_of({"eval", "--model"}).find('\n') == std::string::npos);
}

TEST_CASE("help and version are text, not errors") {
  const CommandLine help = parse({"--help"});
  CHECK(help.command == Command::kPrintText);
  CHECK(help.text.find("--sequence-length") != std::string::npos);
  CHECK(parse({"--version"}).text.find("llama_zero 0.") == 0);
  CHECK(parse({"eval", "--help"}).text.find("--min-family") != std::string::npos);
  CHECK(parse({"train", "--help"}).text.find("--sequence-length") != std::string::npos);
  CHECK(parse({"--help-config"}).text.find("zero_optimization") != std::string::npos);
  CHECK(parse({"--help-config", "fp16.loss_scale"}).text.find("loss_scale") != std::string::npos);
}

TEST_CASE("generate and eval take their options") {
  const CommandLine generate = parse({"generate", "--model", "m", "--instruction", "add", "--input", "1 2",
                                      "--temperature", "0.7", "--top-p", "0.9", "--max-new-tokens", "5"});
  CHECK(generate.command == Command::kGenerate);
  CHECK(generate.generate.instruction == "add");
  CHECK(generate.generate.temperature == 0.7);
  CHECK(generate.generate.max_new_tokens == 5);
  const CommandLine eval =
      parse({"eval", "--model", "tiny", "--min-exact-match", "85", "--show", "5", "--log-level", "error"});
  CHECK(eval.command == Command::kEval);
  CHECK(*eval.eval.min_exact_match == 85.0);
  CHECK(eval.eval.show == 5);
  CHECK(eval.log_level == log::Level::kError);
}

}  // namespace llama_zero
