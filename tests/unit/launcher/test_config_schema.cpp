#include <algorithm>
#include <filesystem>
#include <set>

#include "core/files.h"
#include "launcher/defaults_profile.h"
#include "launcher/schema.h"
#include "launcher/schema_coerce.h"
#include "test_config_support.h"
#include "tests/support/source_folder.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

TEST_CASE("the config table is consistent") {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const SchemaKey& key : schema_keys()) {
    INFO(key.path);
    CHECK(find_schema_section(key.section()) != nullptr);
    CHECK(find_schema_section(key.path) == nullptr);
    CHECK_FALSE(key.meaning.empty());
    const bool by_type = key.section() == "optimizer.params" || key.section() == "scheduler.params";
    CHECK(key.types.empty() != by_type);
    for (const std::string_view type : split_list(key.types)) {
      CHECK(seen.emplace(key.path, type).second);
      CHECK(list_contains(key.section() == "optimizer.params" ? optimizer_types() : scheduler_types(), type));
    }
    if (key.types.empty()) CHECK(seen.emplace(key.path, "").second);
    if (key.status == KeyStatus::kRejected) CHECK_FALSE(key.note.empty());
    if (key.status == KeyStatus::kHonoured) CHECK_FALSE(key.test.empty());
    if (key.default_text.starts_with('(') || key.default_text == "null" || key.default_text == "\"auto\"") continue;
    const Strictness strictness = find_schema_section(key.section())->strictness;
    CHECK(message_of([&] { coerce_value(key, default_value(key), strictness, "default"); }) == "");
  }
}

TEST_CASE("names and aliases do not collide") {
  std::set<std::string> seen;
  for (const SchemaKey& key : schema_keys()) {
    seen.insert(std::string(key.path));
  }
  for (const SchemaSection& section : schema_sections()) CHECK(seen.insert(std::string(section.path)).second);
  for (const SchemaKey& key : schema_keys()) {
    for (std::string_view alias : split_list(key.aliases)) {
      if (alias.starts_with('-')) alias.remove_prefix(1);
      CHECK(seen.insert(fmt::format("{}.{}", key.section(), alias)).second);
    }
  }
}

TEST_CASE("every honoured key names a test of its behaviour, which exists") {
  std::string sources;
  for (const auto& entry : fs::recursive_directory_iterator(test::source_folder() / "tests")) {
    if (entry.path().extension() == ".cpp" && entry.file_size() > 0) sources += MappedFile(entry.path()).text();
  }
  for (const SchemaKey& key : schema_keys()) {
    if (key.status != KeyStatus::kHonoured) continue;
    INFO(key.path, " (", key.types, "): ", key.test);
    CHECK(key.test != kResolveTest);  // that one sees no run
    CHECK(contains(sources, fmt::format("TEST_CASE(\"{}\")", key.test)));
  }
}

TEST_CASE("a slip of the pen finds the key that was meant") {
  const std::vector<std::string_view> names = {"stage", "overlap_comm", "reduce_bucket_size", "allgather_bucket_size"};
  CHECK(closest_name("stag", names) == "stage");
  CHECK(closest_name("Stage", names) == "stage");
  CHECK(closest_name("overlap_com", names) == "overlap_comm");
  CHECK(closest_name("reduce_buckets_size", names) == "reduce_bucket_size");
  CHECK(closest_name("something_else", names) == "");
  CHECK(closest_name("xy", names) == "");
}

TEST_CASE("help of a key, a section and of nothing come from the table") {
  const std::string key = help_config("zero_optimization.stage3_prefetch_bucket_size");
  CHECK(contains(key, "default: 50000000"));
  CHECK(contains(key, "also written: prefetch_bucket_size"));
  CHECK(contains(key, "\"auto\": floor(0.9 x hidden size squared)"));
  CHECK(contains(help_config("warmup_max_lr"), "of: WarmupDecayLR"));
  CHECK(contains(help_config("fp16"), "loss_scale = 0: 0: dynamic"));
  CHECK(contains(help_config("fp16"), "an unknown key is an error"));
  CHECK(contains(help_config(""), "train_batch_size"));
  CHECK(contains(help_config(""), "llama_zero: what DeepSpeed has no key for"));
  CHECK(contains(help_config("amp.enabled"), "rejected unless false: Apex is not supported"));
  CHECK(message_of([] { help_config("train_batchsize"); }) ==
        "no config key \"train_batchsize\"; did you mean \"train_batch_size\"?");
}

TEST_CASE("the page of Markdown has a row for every key") {
  const std::string whole = schema_markdown();
  const std::string page = whole.substr(whole.find("\n## Top level\n"));
  std::size_t rows = 0;
  for (std::size_t at = page.find("\n| `"); at != std::string::npos; at = page.find("\n| `", at + 1)) ++rows;
  CHECK(rows == schema_keys().size());
  for (const SchemaSection& section : schema_sections()) CHECK(contains(page, section.path));
  for (const ChangedDefault& changed : changed_defaults()) {
    CHECK(contains(whole, fmt::format("| `{}`", changed.key)));
    CHECK(find_schema_key(changed.key, changed.needs) != nullptr);
  }
}

TEST_CASE("docs/config.md is the page of the table") {
  const std::string page(MappedFile(test::source_folder() / "docs/config.md").text());
  const std::string table = schema_markdown();
  const auto differs = std::mismatch(page.begin(), page.end(), table.begin(), table.end());
  const auto line = 1 + std::count(page.begin(), differs.first, '\n');
  INFO("line ", line, " differs; write it anew: llama_zero --help-config --markdown > docs/config.md");
  CHECK(page == table);
}
