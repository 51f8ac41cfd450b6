#include <optional>

#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

/// The triad as JSON text; "" leaves a key out.
std::string triad_text(std::string_view batch, std::string_view micro, std::string_view accumulation) {
  std::string text = "{";
  if (!batch.empty()) text += fmt::format("\"train_batch_size\": {},", batch);
  if (!micro.empty()) text += fmt::format("\"train_micro_batch_size_per_gpu\": {},", micro);
  if (!accumulation.empty()) text += fmt::format("\"gradient_accumulation_steps\": {},", accumulation);
  return text + "}";
}

}  // namespace

TEST_CASE("the batch triad is derived as DeepSpeed and Hugging Face derive it") {
  struct Case {
    const char *batch, *micro, *accumulation;
    int ranks;
    std::int64_t want_batch, want_micro, want_accumulation;
  };
  const char* a = "\"auto\"";
  const Case cases[] = {
      {"32", "1", "32", 1, 32, 1, 32},  // all three
      {"32", "1", "8", 4, 32, 1, 8},
      {"32", "2", "", 4, 32, 2, 4},  // A = (32 / 2) / 4
      {"32", "", "4", 2, 32, 4, 4},  // m = (32 / 2) / 4
      {"", "3", "5", 2, 30, 3, 5},   // B = 3 * 5 * 2
      {"32", "", "", 4, 32, 8, 1},   // A = 1, m = 32 / 4
      {"24", "", "", 2, 24, 12, 1},  // one micro-step, whatever its size
      {"", "3", "", 4, 12, 3, 1},    // A = 1, B = 3 * 4
      {"", "", "", 2, 16, 8, 1},     // nothing: 8 and 1
      {a, a, a, 8, 64, 8, 1},        // Hugging Face's values
      {a, a, "4", 2, 64, 8, 4},
      {a, "2", a, 2, 4, 2, 1},
      {"64", a, a, 2, 64, 8, 4},   // 8 rows divide what a rank has
      {"20", a, a, 2, 20, 10, 1},  // they do not: one micro-step
      {"64", "4", a, 2, 64, 4, 8},
      {"64", a, "8", 2, 64, 4, 8},
      {"null", "2", "null", 3, 6, 2, 1},
      {"32.0", "1.0", "3.2e1", 1, 32, 1, 32},  // integral floats
      {a, "", "3", 1, 24, 8, 3},
  };
  for (const Case& c : cases) {
    const std::string text = triad_text(c.batch, c.micro, c.accumulation);
    INFO(text, " on ", c.ranks);
    const BatchConfig batch = resolve_text(text, c.ranks).batch;
    CHECK(batch.train_batch_size == c.want_batch);
    CHECK(batch.micro_batch_size == c.want_micro);
    CHECK(batch.accumulation_steps == c.want_accumulation);
  }
}

TEST_CASE("a triad that does not hold names ranks and the value that fixes it") {
  struct Case {
    const char *batch, *micro, *accumulation;
    int ranks;
    const char* message;
  };
  const Case cases[] = {
      {"32", "1", "32", 4,
       "train_batch_size 32 != 1 micro x 32 accumulation x 4 ranks; use gradient_accumulation_steps 8; as it stands it "
       "is for 1 rank"},
      {"32", "4", "4", 4,
       "train_batch_size 32 != 4 micro x 4 accumulation x 4 ranks; use gradient_accumulation_steps 2; as it stands it "
       "is for 2 ranks"},
      {"32", "16", "1", 4,
       "train_batch_size 32 != 16 micro x 1 accumulation x 4 ranks; use train_micro_batch_size_per_gpu 8; as it stands "
       "it is for 2 ranks"},
      {"32", "1", "8", 1,
       "train_batch_size 32 != 1 micro x 8 accumulation x 1 rank; use gradient_accumulation_steps 32; as it stands it "
       "is for 4 ranks"},
      {"30", "1", "32", 4,
       "train_batch_size 30 != 1 micro x 32 accumulation x 4 ranks; use train_batch_size 32 and "
       "gradient_accumulation_steps 8"},
      {"30", "4", "", 2, "train_batch_size 30 != 4 micro x 3 accumulation x 2 ranks; use train_batch_size 32"},
      {"6", "", "", 4, "train_batch_size 6 != 1 micro x 1 accumulation x 4 ranks; use train_batch_size 8"},
      {"2", "", "", 4, "train_batch_size 2 != 0 micro x 1 accumulation x 4 ranks; use train_batch_size 4"},
      {"2", "1", "", 4, "train_batch_size 2 != 1 micro x 0 accumulation x 4 ranks; use train_batch_size 4"},
      {"10", "", "4", 1, "train_batch_size 10 != 2 micro x 4 accumulation x 1 rank; use train_batch_size 12"},
      {"33", "\"auto\"", "\"auto\"", 2,
       "train_batch_size 33 != 8 micro x 2 accumulation x 2 ranks; use train_batch_size 34"},
  };
  for (const Case& c : cases) CHECK(resolve_error(triad_text(c.batch, c.micro, c.accumulation), c.ranks) == c.message);
}

TEST_CASE("the value that a triad message proposes works") {
  CHECK(resolve_text(triad_text("32", "1", "8"), 4).batch.train_batch_size == 32);
  CHECK(resolve_text(triad_text("32", "8", "1"), 4).batch.train_batch_size == 32);
  CHECK(resolve_text(triad_text("32", "1", "8"), 4).batch.train_batch_size == 32);
  CHECK(resolve_text(triad_text("12", "", "4"), 1).batch.micro_batch_size == 3);
  CHECK(resolve_text(triad_text("34", "\"auto\"", "\"auto\""), 2).batch.micro_batch_size == 17);
}

TEST_CASE("accumulation alone and values that are no counts are errors") {
  CHECK(resolve_error(triad_text("", "", "4")) ==
        "ds.json:1: gradient_accumulation_steps alone does not say the batch; give train_batch_size or "
        "train_micro_batch_size_per_gpu too");
  CHECK(contains(resolve_error(triad_text("0", "", "")), "ds.json:1: train_batch_size must be > 0, not 0"));
  CHECK(contains(resolve_error(triad_text("-4", "", "")), "must be > 0, not -4"));
  CHECK(contains(resolve_error(triad_text("2.5", "", "")), "train_batch_size must be an integer, not 2.5"));
  CHECK(contains(resolve_error(triad_text("\"32\"", "", "")), "an integer, not \"32\"; leave the quotes out"));
  CHECK(contains(resolve_error(triad_text("true", "", "")), "must be an integer, not true"));
  CHECK(contains(resolve_error(triad_text("", "1e15", "1e15")), "is too large"));
}

TEST_CASE("the run's steps follow from rows, epochs and max_steps") {
  struct Case {
    const char* run;
    std::int64_t steps;
  };
  // 600 rows in batches of 64: 10 steps an epoch, the last one partial.
  const Case cases[] = {{R"({"epochs": 1})", 10},
                        {R"({"epochs": 3})", 30},
                        {R"({"epochs": 0.25})", 3},
                        {R"({"epochs": 3, "max_steps": 7})", 7},
                        {R"({"epochs": 3, "max_steps": 50})", 50},
                        {R"({"epochs": 2, "max_steps": -1})", 20},
                        {R"({"epochs": 1e-9})", 1},
                        {R"({"epochs": 0})", 0},
                        {R"({"epochs": 0, "max_steps": 7})", 7}};
  for (const Case& c : cases) {
    CHECK(resolve_text(fmt::format(R"({{"train_batch_size": 64, "llama_zero": {}}})", c.run)).total_steps == c.steps);
  }
  CHECK(contains(resolve_error(R"({"llama_zero": {"epochs": 1e300}})"), "too large"));
}

TEST_CASE("a file without batch sizes says what it got") {
  const TrainConfig config = resolve_text("{}", 2);
  CHECK(any_contains(config.notes, "no batch size in the config: micro batch 8, accumulation 1"));
  CHECK(origin_of(config, "train_batch_size").origin == "derived: micro batch x accumulation x ranks");
}
