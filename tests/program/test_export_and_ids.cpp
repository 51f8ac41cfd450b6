// The final model as a Hugging Face folder, and generate and eval on token ids.
#include <doctest/doctest.h>

#include <algorithm>

#include "model/hf_folder.h"
#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

std::vector<std::vector<float>> weights_of(const fs::path& folder) {
  const HfFolder model(folder);
  std::vector<std::vector<float>> units;
  for (int unit = 0; unit < model.table().unit_count(); ++unit) {
    const Unit& description = model.table().units()[static_cast<std::size_t>(unit)];
    units.emplace_back(static_cast<std::size_t>(description.numel));
    model.read(unit, 0, units.back());
  }
  return units;
}

void train(const TemporaryFolder& folder, const std::string& name, const std::vector<std::string>& more) {
  const Outcome outcome = run_program(tiny_run(folder, name, 1, more));
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
}

}  // namespace

TEST_CASE("the final model is written in export_dtype, in files of max_shard_size at most") {
  const TemporaryFolder folder;
  train(folder, "half", {"--precision", "fp16"});
  train(folder, "full", {"--precision", "fp16", "--export-dtype", "fp32", "--max-shard-size", "100KB"});
  CHECK(HfFolder(folder.path() / "half/final").config().info.torch_dtype == DType::kF16);
  CHECK(HfFolder(folder.path() / "full/final").config().info.torch_dtype == DType::kF32);
  CHECK(fs::exists(folder.path() / "half/final/model.safetensors"));
  CHECK_FALSE(fs::exists(folder.path() / "full/final/model.safetensors"));
  CHECK(fs::exists(folder.path() / "full/final/model.safetensors.index.json"));
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.path() / "full/final")) {
    if (entry.path().extension() != ".safetensors") continue;
    const SafetensorsFile file(entry.path());
    CHECK((file.tensors().size() == 1 || fs::file_size(entry.path()) < 100000 + 8192));
  }
  // The fp16 files are the masters, rounded.
  const auto half = weights_of(folder.path() / "half/final");
  const auto full = weights_of(folder.path() / "full/final");
  REQUIRE(half.size() == full.size());
  std::int64_t finer = 0;
  for (std::size_t unit = 0; unit < half.size(); ++unit) {
    std::int64_t different = 0;
    for (std::size_t i = 0; i < half[unit].size(); ++i) {
      different += static_cast<float>(Half(full[unit][i])) == half[unit][i] ? 0 : 1;
      finer += full[unit][i] == half[unit][i] ? 0 : 1;
    }
    CHECK(different == 0);
  }
  CHECK(finer > 0);
}

TEST_CASE("a run of no epochs takes no step and writes the files that it read, by one rank and sharded over three") {
  const TemporaryFolder folder;
  train(folder, "source", {"--precision", "bf16", "--max-shard-size", "60KB"});
  const fs::path source = folder.path() / "source/final";
  for (const int ranks : {1, 3}) {
    const std::string name = fmt::format("copy-{}", ranks);
    RunOptions options;
    options.ranks = ranks;
    const Outcome outcome = run_program(
        {"--model", source.string(), "--data", folder / "train.jsonl", "--output", folder / name, "--epochs", "0",
         "--precision", "bf16", "--max-shard-size", "60KB", "--set", fmt::format("zero_optimization.stage={}", ranks)},
        options);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.exit_code == 0);
    const auto summary = nlohmann::json::parse(read_text(folder.path() / name / "summary.json"));
    CHECK(summary.at("steps") == 0);
    CHECK(summary.at("last_loss").is_null());
    CHECK(summary.at("import").at("bytes") == summary.at("export").at("bytes"));
    int files = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(source)) {
      CAPTURE(entry.path().string());
      CHECK(read_text(entry.path()) == read_text(folder.path() / name / "final" / entry.path().filename()));
      files += entry.path().extension() == ".safetensors" ? 1 : 0;
    }
    CHECK(files > 2);
  }
}

TEST_CASE("a run without export has its figures but no final model") {
  const TemporaryFolder folder;
  train(folder, "with", {"--precision", "fp32"});
  train(folder, "without", {"--precision", "fp32", "--no-export"});
  CHECK(fs::exists(folder.path() / "with/final/model.safetensors"));
  CHECK_FALSE(fs::exists(folder.path() / "without/final"));
  const auto summary = nlohmann::json::parse(read_text(folder.path() / "without/summary.json"));
  CHECK(summary.at("export").is_null());
  CHECK(summary.at("last_loss") ==
        nlohmann::json::parse(read_text(folder.path() / "with/summary.json")).at("last_loss"));
}

TEST_CASE("a shard size that is none is refused with the key") {
  for (const char* size : {"big", "5XB", "0", "-1GB", ""}) {
    const Outcome outcome = run_program({"--model", "tiny", "--max-shard-size", size});
    CHECK(outcome.exit_code == 1);
    REQUIRE(error_lines(outcome.err).size() == 1);
    CHECK(error_lines(outcome.err)[0].find("max_shard_size") != std::string::npos);
  }
}

TEST_CASE("generate and eval work on token ids without a tokenizer, and agree with the text") {
  const TemporaryFolder folder;
  train(folder, "run", {"--precision", "fp32"});
  const std::string model = folder / "run/final";
  const std::vector<std::string> ids = {"generate",    "--model",          model, "--prompt-ids", "1,5,9,12",
                                        "--print-ids", "--max-new-tokens", "6"};
  const Outcome with = run_program(ids);
  INFO(with.out << with.err);
  REQUIRE(with.exit_code == 0);
  write_text(folder / "rows.jsonl", "[1, 5, 9, 12]\n\n{\"ids\": [1, 7, 7, 3, 2], \"prompt\": 3}\n");
  const std::vector<std::string> eval = {"eval", "--model", model, "--ids", folder / "rows.jsonl"};
  std::vector<std::string> eval_json = eval;
  eval_json.insert(eval_json.end(), {"--json", folder / "e.json"});
  REQUIRE(run_program(eval_json).exit_code == 0);
  const auto json = nlohmann::json::parse(read_text(folder / "e.json"));
  CHECK(json["rows"] == 2);
  CHECK(json["loss_tokens"] == 5);
  CHECK(json["loss"] > 3.0);

  fs::remove(folder.path() / "run/final/tokenizer.model");
  CHECK(run_program(ids).out == with.out);
  CHECK(run_program(eval).exit_code == 0);
  RunOptions two;
  two.ranks = 2;
  eval_json.back() = folder / "two.json";
  REQUIRE(run_program(eval_json, two).exit_code == 0);
  CHECK(nlohmann::json::parse(read_text(folder / "two.json"))["loss"].get<double>() ==
        doctest::Approx(json["loss"].get<double>()).epsilon(1e-6));

  // Text needs the tokenizer, and says so.
  std::vector<std::string> text = ids;
  text.erase(std::find(text.begin(), text.end(), "--print-ids"));
  const Outcome without = run_program(text);
  CHECK(without.exit_code == 1);
  CHECK(without.err.find("has no tokenizer.model") != std::string::npos);
  write_text(folder / "run/final/tokenizer.json", "{}");
  CHECK(run_program(text).err.find("has tokenizer.json but no tokenizer.model") != std::string::npos);
}

TEST_CASE("rows of ids that cannot be are refused with file and line") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& rows, const std::string& words) {
    write_text(folder / "rows.jsonl", rows);
    const Outcome outcome = run_program({"eval", "--model", "tiny", "--ids", folder / "rows.jsonl"});
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.err.find(words) != std::string::npos);
  };
  refused("[1, 2]\n[1, 99999]\n", "rows.jsonl:2: an id is no number below 1024");
  refused("[1, -2]\n", "rows.jsonl:1: an id is no number");
  refused("[1\n", "rows.jsonl:1: not JSON");
  refused("{\"tokens\": [1, 2]}\n", "rows.jsonl:1: there is no list \"ids\"");
  refused("{\"ids\": [1, 2], \"prompt\": 2}\n", "rows.jsonl:1: a prompt of 2 tokens leaves no loss among 2");
  refused("[1]\n", "rows.jsonl:1: 1 tokens, where 2 to");
  refused("\n\n", "there are no rows");
}

}  // namespace llama_zero::test
