#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "model/hf_folder.h"
#include "tests/support/model_fixture.h"
#include "tests/support/temporary_folder.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

std::vector<float> unit_values(const ParamTable& table, int unit, DType rounded_to = DType::kF32) {
  std::vector<float> values(static_cast<std::size_t>(table.units()[static_cast<std::size_t>(unit)].numel));
  strong_weights(table, 1, rounded_to)(unit, 0, values);
  return values;
}

void write_model(const fs::path& folder, const ParamTable& table, DType dtype = DType::kF32,
                 const fs::path& tokenizer = {}) {
  HfModelInfo info;
  info.torch_dtype = dtype;
  write_hf_folder(folder, table, info, tokenizer,
                  [&](int unit, std::vector<float>& out) { out = unit_values(table, unit); });
}

void write_text(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

/// Tensors of one file, each filled with one value.
void write_tensors(const fs::path& path, const std::vector<TensorSpec>& tensors, float value = 0.5F) {
  SafetensorsWriter writer(path, tensors, DType::kF32);
  for (const TensorSpec& tensor : tensors) {
    writer.append(std::vector<float>(static_cast<std::size_t>(tensor.numel()), value));
  }
  writer.finish();
}

std::vector<TensorSpec> specs_of(const ParamTable& table) {
  std::vector<TensorSpec> specs;
  for (const Param& param : table.params()) {
    for (const HfSlice& slice : param.hf) specs.push_back({slice.name, param.hf_shape(slice)});
  }
  return specs;
}

void refused(const fs::path& folder, const std::string& words) {
  CHECK_THROWS_WITH_AS(HfFolder{folder}, doctest::Contains(words.c_str()), Error);
}

}  // namespace

TEST_CASE("a written model is read back bit for bit, whole and by ranges") {
  for (const bool tied : {false, true}) {
    const TemporaryFolder folder;
    const ParamTable table(small_config(2, tied));
    write_model(folder.path(), table);
    const HfFolder model(folder.path());
    CHECK(model.config().model == table.config());
    for (int unit = 0; unit < table.unit_count(); ++unit) {
      const std::vector<float> expected = unit_values(table, unit);
      std::vector<float> whole(expected.size());
      model.read(unit, 0, whole);
      CHECK(std::memcmp(whole.data(), expected.data(), expected.size() * sizeof(float)) == 0);
      // Ranges as shards of three ranks: they start and end inside tensors.
      const std::size_t third = expected.size() / 3 + 1;
      for (std::size_t begin = 0; begin < expected.size(); begin += third) {
        std::vector<float> part(std::min(third, expected.size() - begin));
        model.read(unit, static_cast<std::int64_t>(begin), part);
        CHECK(std::memcmp(part.data(), expected.data() + begin, part.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("16-bit folders hold the rounded weights and say so") {
  const ParamTable table(small_config());
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const TemporaryFolder folder;
    write_model(folder.path(), table, dtype);
    const HfFolder model(folder.path());
    CHECK(model.config().info.torch_dtype == dtype);
    std::vector<float> values(static_cast<std::size_t>(table.units()[1].numel));
    model.read(1, 0, values);
    CHECK(values == unit_values(table, 1, dtype));
  }
}

TEST_CASE("tensors have Hugging Face's names and shapes") {
  const TemporaryFolder folder;
  write_model(folder.path(), ParamTable(small_config(2)));
  const SafetensorsFile file(folder.path() / "model.safetensors");
  CHECK(file.tensors().size() == 21);
  CHECK(file.find("model.layers.1.self_attn.k_proj.weight").shape == std::vector<std::int64_t>{16, 32});
  CHECK(file.find("model.layers.0.mlp.up_proj.weight").shape == std::vector<std::int64_t>{48, 32});
  CHECK(file.find("model.norm.weight").shape == std::vector<std::int64_t>{32});
  CHECK(file.find("lm_head.weight").shape == std::vector<std::int64_t>{509, 32});
}

TEST_CASE("a matrix with one row stays a matrix in the file") {
  LlamaConfig config = small_config();
  config.vocab_size = 1;
  const ParamTable table(config);
  const TemporaryFolder folder;
  write_model(folder.path(), table);
  CHECK(SafetensorsFile(folder.path() / "model.safetensors").find("lm_head.weight").shape ==
        std::vector<std::int64_t>{1, 32});
  CHECK_NOTHROW(HfFolder{folder.path()});
}

TEST_CASE("the tokenizer goes along when there is one") {
  const TemporaryFolder folder;
  const ParamTable table(small_config());
  write_text(folder.path() / "given.model", "tokenizer bytes");
  write_model(folder.path() / "out", table, DType::kF32, folder.path() / "given.model");
  CHECK(MappedFile(folder.path() / "out" / "tokenizer.model").text() == "tokenizer bytes");
  CHECK(fs::exists(folder.path() / "out" / "tokenizer_config.json"));
  CHECK(fs::exists(folder.path() / "out" / "generation_config.json"));
  write_model(folder.path() / "bare", table);
  CHECK_FALSE(fs::exists(folder.path() / "bare" / "tokenizer.model"));
}

TEST_CASE("a folder in several files with an index is read") {
  const TemporaryFolder folder;
  const ParamTable table(small_config());
  const std::vector<TensorSpec> specs = specs_of(table);
  write_text(folder.path() / "config.json", format_config_json({table.config(), {}}));
  const auto middle = specs.begin() + 7;
  write_tensors(folder.path() / "model-1.safetensors", {specs.begin(), middle}, 0.25F);
  write_tensors(folder.path() / "model-2.safetensors", {middle, specs.end()}, 0.75F);
  nlohmann::json index;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    index["weight_map"][specs[i].name] = i < 7 ? "model-1.safetensors" : "model-2.safetensors";
  }
  const fs::path index_path = folder.path() / "model.safetensors.index.json";
  write_text(index_path, index.dump());
  const HfFolder model(folder.path());
  std::vector<float> value(1);
  model.read(0, 5, value);
  CHECK(value[0] == 0.25F);
  model.read(table.head_unit(), 5, value);
  CHECK(value[0] == 0.75F);

  index["weight_map"][specs[0].name] = "model-2.safetensors";
  write_text(index_path, index.dump());
  refused(folder.path(), "tensor 'model.embed_tokens.weight' is not in file model-2.safetensors");
  index["weight_map"][specs[0].name] = "../model-1.safetensors";
  write_text(index_path, index.dump());
  refused(folder.path(), "is no file name");
  index["weight_map"][specs[0].name] = "model-3.safetensors";
  write_text(index_path, index.dump());
  refused(folder.path(), "model-3.safetensors");
  write_text(index_path, "{}");
  refused(folder.path(), "no object 'weight_map'");
}

TEST_CASE("weights beyond the shard size go into several files with an index, and read back bit for bit") {
  const TemporaryFolder folder;
  const ParamTable table(small_config());
  HfExportOptions options;
  options.max_shard_bytes = 20000;
  const auto gather = [&](int unit, std::vector<float>& out) { out = unit_values(table, unit); };
  write_model(folder.path(), table);  // one file, which the second export removes
  write_hf_folder(folder.path(), table, {}, {}, gather, options);
  CHECK_FALSE(fs::exists(folder.path() / "model.safetensors"));
  const auto index = nlohmann::json::parse(MappedFile(folder.path() / "model.safetensors.index.json").text());
  CHECK(index["metadata"]["total_size"] == table.total_numel() * 4);
  std::set<std::string> names;
  for (const auto& [tensor, file] : index["weight_map"].items()) names.insert(file);
  CHECK(names.size() > 3);
  for (const std::string& name : names) {
    const SafetensorsFile file(folder.path() / name);
    std::int64_t bytes = 0;
    for (const auto& [tensor, content] : file.tensors()) bytes += static_cast<std::int64_t>(content.bytes.size());
    CHECK((bytes <= options.max_shard_bytes || file.tensors().size() == 1));
  }
  const HfFolder model(folder.path());
  for (int unit = 0; unit < table.unit_count(); ++unit) {
    std::vector<float> values(static_cast<std::size_t>(table.units()[static_cast<std::size_t>(unit)].numel));
    model.read(unit, 0, values);
    CHECK(values == unit_values(table, unit));
  }
  write_model(folder.path(), table);  // and back: index and parts are gone
  CHECK_FALSE(fs::exists(folder.path() / "model.safetensors.index.json"));
  CHECK_FALSE(fs::exists(folder.path() / *names.begin()));
  CHECK_NOTHROW(HfFolder{folder.path()});
}

TEST_CASE("an imported folder exported again has the same bytes in every tensor, in every dtype") {
  const ParamTable table(small_config(2));
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const TemporaryFolder folder;
    write_model(folder.path() / "in", table, dtype);
    const HfFolder in(folder.path() / "in");
    HfExportOptions options;
    options.max_shard_bytes = 15000;
    write_hf_folder(
        folder.path() / "out", in.table(), in.config().info, {},
        [&](int unit, std::vector<float>& out) {
          out.resize(static_cast<std::size_t>(in.table().units()[static_cast<std::size_t>(unit)].numel));
          in.read(unit, 0, out);
        },
        options);
    const SafetensorsFile before(folder.path() / "in" / "model.safetensors");
    std::size_t seen = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder.path() / "out")) {
      if (entry.path().extension() != ".safetensors") continue;
      const SafetensorsFile part(entry.path());
      for (const auto& [name, tensor] : part.tensors()) {
        const SafetensorsFile::Tensor& original = before.find(name);
        CHECK(tensor.dtype == original.dtype);
        CHECK(tensor.shape == original.shape);
        CHECK(std::ranges::equal(tensor.bytes, original.bytes));
        ++seen;
      }
    }
    CHECK(seen == before.tensors().size());
  }
}

TEST_CASE("the files of an imported model's tokenizer go along with the tokenizer, and only with it") {
  const TemporaryFolder folder;
  const ParamTable table(small_config());
  const fs::path source = folder.path() / "source";
  create_folder(source);
  for (const char* name : {"tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"}) {
    write_text(source / name, std::string("the source's ") + name);
  }
  write_text(source / "generation_config.json", "{\"temperature\": 0.6}");
  write_text(folder.path() / "other.model", "another tokenizer");
  const auto gather = [&](int unit, std::vector<float>& out) { out = unit_values(table, unit); };
  HfExportOptions options;
  options.source = source;
  write_hf_folder(folder.path() / "same", table, {}, source / "tokenizer.model", gather, options);
  CHECK(MappedFile(folder.path() / "same/tokenizer.json").text() == "the source's tokenizer.json");
  CHECK(MappedFile(folder.path() / "same/tokenizer_config.json").text() == "the source's tokenizer_config.json");
  CHECK(MappedFile(folder.path() / "same/generation_config.json").text() == "{\"temperature\": 0.6}");
  write_hf_folder(folder.path() / "other", table, {}, folder.path() / "other.model", gather, options);
  CHECK_FALSE(fs::exists(folder.path() / "other/tokenizer.json"));
  CHECK(MappedFile(folder.path() / "other/tokenizer_config.json").text() != "the source's tokenizer_config.json");
}

TEST_CASE("missing, surplus and misshapen tensors are named") {
  const TemporaryFolder folder;
  const ParamTable table(small_config());
  const fs::path weights = folder.path() / "model.safetensors";
  write_text(folder.path() / "config.json", format_config_json({table.config(), {}}));
  std::vector<TensorSpec> specs = specs_of(table);
  specs.pop_back();
  write_tensors(weights, specs);
  refused(folder.path(), "tensor 'lm_head.weight' is missing");
  specs = specs_of(table);
  specs.push_back({"model.extra.weight", {3}});
  write_tensors(weights, specs);
  refused(folder.path(), "tensor 'model.extra.weight' does not belong to the model");
  specs = specs_of(table);
  specs[2].shape = {31, 32};
  write_tensors(weights, specs);
  refused(folder.path(),
          "tensor 'model.layers.0.self_attn.q_proj.weight' has shape [31, 32], config.json makes it [32, 32]");
  specs = specs_of(table);
  specs.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {4}});
  write_tensors(weights, specs);
  CHECK_NOTHROW(HfFolder{folder.path()});  // frequencies of old exports are no weights
}

TEST_CASE("a tied model may store its head when it is the embedding, and only then") {
  const TemporaryFolder folder;
  const ParamTable table(small_config(4, true));
  const fs::path weights = folder.path() / "model.safetensors";
  write_text(folder.path() / "config.json", format_config_json({table.config(), {}}));
  std::vector<TensorSpec> specs = specs_of(table);
  specs.push_back({"lm_head.weight", {509, 32}});
  write_tensors(weights, specs);
  CHECK_NOTHROW(HfFolder{folder.path()});
  SafetensorsWriter writer(weights, specs, DType::kF32);
  for (const TensorSpec& spec : specs) {
    writer.append(
        std::vector<float>(static_cast<std::size_t>(spec.numel()), spec.name == "lm_head.weight" ? 1.0F : 2.0F));
  }
  writer.finish();
  refused(folder.path(), "'lm_head.weight' differs from 'model.embed_tokens.weight'");
}

TEST_CASE("folders that hold no readable model say what is missing") {
  const TemporaryFolder folder;
  refused(folder.path(), "config.json");
  write_text(folder.path() / "config.json", format_config_json({small_config(), {}}));
  refused(folder.path(), "has neither model.safetensors nor model.safetensors.index.json");
  write_text(folder.path() / "pytorch_model.bin", "pickle");
  refused(folder.path(), "safe_serialization=True");
}

TEST_CASE("ranges outside a unit are refused") {
  const TemporaryFolder folder;
  const ParamTable table(small_config());
  write_model(folder.path(), table);
  const HfFolder model(folder.path());
  std::vector<float> values(2);
  CHECK_THROWS_AS(model.read(0, table.units()[0].numel - 1, values), Error);
  CHECK_THROWS_AS(model.read(0, -1, values), Error);
  CHECK_THROWS_AS(model.read(99, 0, values), Error);
}

TEST_CASE("a gatherer that gives another size than the unit's is refused and leaves no file") {
  const TemporaryFolder folder;
  const ParamTable table(small_config());
  const auto gather = [](int, std::vector<float>& out) { out.assign(3, 0.0F); };
  CHECK_THROWS_WITH_AS(write_hf_folder(folder.path(), table, {}, {}, gather), doctest::Contains("3 were gathered"),
                       Error);
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("a model read from a folder computes what the written one did") {
  const TemporaryFolder folder;
  ModelFixture model(small_config(2));
  write_model(folder.path(), model.table);
  const Pass pass = make_pass({{6, 5}, 0, 1, 1}, 509);
  const double loss = model.forward_loss(pass);
  const HfFolder saved(folder.path());
  ModelFixture loaded(small_config(2), DType::kF32, 99);
  CHECK(loaded.forward_loss(pass) != loss);
  loaded.params.load([&](int unit, std::int64_t begin, std::span<float> out) { saved.read(unit, begin, out); },
                     *loaded.ops, *loaded.stream);
  CHECK(loaded.forward_loss(pass) == loss);
}
