// "elasticity" against what DeepSpeed's own code answers (scripts/trace_elasticity.py), and its rules.
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "launcher/schema.h"
#include "test_config_support.h"
#include "tests/support/source_folder.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

std::string elastic(std::string_view section, std::string_view rest = "") {
  return fmt::format(R"({{"elasticity": {{"enabled": true, {}}}{}}})", section, rest);
}

constexpr const char* kSizes = R"("max_train_batch_size": 2000, "micro_batch_sizes": [2, 4, 6])";

BatchConfig batch_of(std::string_view more, int ranks) {
  return resolve_text(elastic(fmt::format("{}{}", kSizes, more)), ranks).batch;
}

}  // namespace

TEST_CASE("elastic batches are those of DeepSpeed's own code") {
  const MappedFile file(test::source_folder() / "tests/data/traces/elasticity.json");
  const auto data = nlohmann::json::parse(file.text());
  REQUIRE(data.at("cases").size() > 200);
  for (const auto& entry : data.at("cases")) {
    const int ranks = entry.at(1);
    const std::string text = nlohmann::json{{"elasticity", entry.at(0)}}.dump();
    INFO(text, " on ", ranks, " ranks, DeepSpeed: ", entry.at(2).dump());
    if (entry.at(2) == "TypeError") continue;  // a fault of DeepSpeed's where no rank count fits
    if (entry.at(2).is_string()) {
      CHECK(contains(resolve_error(text, ranks), "ds.json:1: "));
      continue;
    }
    BatchConfig batch;
    CHECK(message_of([&] { batch = resolve_text(text, ranks).batch; }) == "");
    CHECK(batch.train_batch_size == entry.at(2).at(0));
    CHECK(batch.micro_batch_size == entry.at(2).at(1));
    CHECK(batch.train_batch_size == batch.micro_batch_size * batch.accumulation_steps * ranks);
  }
}

TEST_CASE("an elastic run takes the batch that DeepSpeed derives") {
  CHECK(resolve_text("{}", 1).batch.train_batch_size == 8);  // off: Hugging Face's
  CHECK(batch_of("", 1).train_batch_size == 1680);           // 2 x 840
  CHECK(batch_of(R"(, "version": 0.2)", 96).train_batch_size == 1920);
  CHECK(contains(resolve_error(elastic(fmt::format("{}, \"version\": 0.1", kSizes)), 96), "96 ranks cannot share"));
  CHECK(
      resolve_text(elastic(R"("max_train_batch_size": 100, "micro_batch_sizes": [2, 4, 6])")).batch.train_batch_size ==
      96);
  CHECK(
      resolve_text(elastic(R"("max_train_batch_size": 2000, "micro_batch_sizes": [1, 3, 5])")).batch.micro_batch_size ==
      5);
  CHECK(batch_of(R"(, "min_gpus": 4)", 1).train_batch_size == 2000);  // 1 is none of the counts: 4 x 500
  CHECK(batch_of(R"(, "max_gpus": 16)", 20).train_batch_size != batch_of("", 20).train_batch_size);
  CHECK(batch_of(R"(, "num_gpus_per_node": 8)", 4).train_batch_size == 2000);
  CHECK(batch_of(R"(, "prefer_larger_batch": false)", 16).train_batch_size == 1920);
  CHECK(batch_of("", 16).train_batch_size == 1984);
  const std::string both = elastic(kSizes, R"(, "train_batch_size": 8)");
  CHECK(contains(resolve_error(both), "train_batch_size is given, but elasticity decides it; leave it out"));
  const std::string ignored =
      elastic(fmt::format("{}, \"ignore_non_elastic_batch_info\": true", kSizes), R"(, "train_batch_size": 8)");
  CHECK(resolve_text(ignored).batch.train_batch_size == 1680);
}

TEST_CASE("an elasticity section that cannot be is refused by the key at fault") {
  struct Case {
    const char *section, *message;
  };
  const Case cases[] = {
      {R"("micro_batch_sizes": [2])", "elasticity needs elasticity.max_train_batch_size"},
      {R"("max_train_batch_size": 8)", "elasticity needs elasticity.micro_batch_sizes"},
      {R"("max_train_batch_size": 8, "micro_batch_sizes": [])", "micro_batch_sizes is empty"},
      {R"("max_train_batch_size": 8, "micro_batch_sizes": [0])", "must hold integers > 0, not 0"},
      {R"("max_train_batch_size": 8, "micro_batch_sizes": [1.5])", "must hold integers > 0, not 1.5"},
      {R"("max_train_batch_size": 8, "micro_batch_sizes": [16])",
       "micro batch size 16 is above max_train_batch_size 8"},
      {R"("max_train_batch_size": 8, "micro_batch_sizes": [2], "version": 0.3)", "must be 0.1 or 0.2, not 0.3"},
      {R"("max_train_batch_size": 8, "micro_batch_sizes": [2], "model_parallel_size": 2)", "use 1"},
      {R"("max_train_batch_size": 999983, "micro_batch_sizes": [999979, 999983])",
       "least common multiple is too large"},
  };
  for (const Case& c : cases) {
    const std::string message = resolve_error(elastic(c.section));
    INFO(c.section, " -> ", message);
    CHECK(contains(message, c.message));
  }
}

TEST_CASE("the resolved config of an elastic run loads again and gives the same batch") {
  const TrainConfig first = resolve_text(elastic(kSizes), 3);
  CHECK(any_contains(first.notes, "elasticity: batch 1680 for 1, 2, 3, 4"));
  const TrainConfig again = resolve_text(resolved_json(first), 3);
  CHECK(fingerprint(first) == fingerprint(again));
}
