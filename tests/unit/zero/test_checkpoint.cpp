#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/zero/checkpoint_support.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void flip_byte(const fs::path& path, std::int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const int byte = file.get();
  file.seekp(offset);
  file.put(static_cast<char>(byte ^ 1));
}

void replace_text(const fs::path& path, const std::string& from, const std::string& to) {
  std::string text(MappedFile(path).text());
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

TEST_CASE("a checkpoint of any rank count gives any other rank count its exact values") {
  const TemporaryFolder folder;
  for (const int ranks : {1, 2, 3, 4, 7}) {
    const CheckpointRoot root(folder / std::to_string(ranks));
    save_made_up(root, 10, ranks);
    for (const int readers : {1, 2, 3, 4, 5}) {
      CheckpointReader reader(root.folder(10));
      CHECK(holds_made_up_values(reader, readers));
    }
  }
}

TEST_CASE("a shard map gives every value of every rank one place, without gaps") {
  for (const int ranks : {1, 2, 3, 8}) {
    const ShardMap map(kUnitNumels, 3, ranks);
    std::int64_t total = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      std::int64_t next = 0;
      for (int unit = 0; unit < map.unit_count(); ++unit) {
        for (int state = 0; state < 3; ++state) {
          CHECK(map.offset(unit, state, rank) == next);
          next += map.partition(unit).valid(rank);
        }
      }
      CHECK(map.elements(rank) == next);
      total += next;
    }
    CHECK(total == 3 * (700 + 64 + 1 + 129 + 3000));
  }
}

TEST_CASE("a manifest comes back as it was written") {
  CheckpointManifest manifest = made_up_manifest(12);
  manifest.shards = {{100, 0xfedcba9876543210U}, {7, 1}};
  manifest.files = {{"config.json", 3, 42}};
  manifest.step_state.loss_scale = 0x1.000002p-3F;
  const CheckpointManifest read = parse_manifest(manifest_text(manifest), "m");
  CHECK(read.step == 12);
  CHECK(read.stage == 2);
  CHECK(read.optimizer == "AdamW");
  CHECK(read.states == manifest.states);
  CHECK(read.units == manifest.units);
  CHECK(read.run == manifest.run);
  CHECK(read.shards[0].seal == 0xfedcba9876543210U);
  CHECK(read.shards[1].bytes == 7);
  CHECK(read.files[0].name == "config.json");
  CHECK(read.files[0].hash == 42);
  CHECK(read.step_state.loss_scale == 0x1.000002p-3F);
  CHECK(read.step_state.hysteresis_left == 2);
  CHECK(read.step_state.iteration == 12);
  CHECK(read.step_state.applied_steps == 11);
  CHECK(read.step_state.skipped_steps == 1);
  CHECK(read.step_state.last_overflow == 0);
}

TEST_CASE("further files of a checkpoint are found by name and checked") {
  const TemporaryFolder folder;
  const CheckpointRoot root(folder / "c");
  save_made_up(root, 3, 2);
  const CheckpointReader reader(root.folder(3));
  CHECK(reader.file("config.json") == "{\"stage\": 2}\n");
  CHECK_FALSE(reader.has_file("tune.json"));
  CHECK(message_of([&] { reader.file("tune.json"); }).find("has no file tune.json") != std::string::npos);
  flip_byte(root.folder(3) / "config.json", 4);
  CHECK(message_of([&] { reader.file("config.json"); }).find("config.json is damaged") != std::string::npos);
}

TEST_CASE("damage to a checkpoint is found and named") {
  const TemporaryFolder folder;
  const CheckpointRoot root(folder / "c");
  save_made_up(root, 5, 2);
  const fs::path shard = root.folder(5) / shard_file_name(1, 2);
  const fs::path manifest = root.folder(5) / "manifest.json";
  const auto reading = [&] {
    CheckpointReader reader(root.folder(5));
    reader.verify_all();
  };
  REQUIRE(message_of(reading).empty());
  const auto size = static_cast<std::int64_t>(fs::file_size(shard));

  SUBCASE("a byte of the values") {
    flip_byte(shard, 100);
    CHECK(message_of(reading).find(shard.string() + " is damaged: bytes 64 to ") == 0);
  }
  SUBCASE("a byte of the header") {
    flip_byte(shard, 9);
    CHECK(message_of(reading).find("its header differs") != std::string::npos);
  }
  SUBCASE("a byte of the checksums") {
    flip_byte(shard, size - 9);
    CHECK(message_of(reading).find("checksum of its checksums") != std::string::npos);
  }
  SUBCASE("a byte of the seal") {
    flip_byte(shard, size - 1);
    CHECK(message_of(reading).find("checksum of its checksums") != std::string::npos);
  }
  SUBCASE("a shard cut short") {
    fs::resize_file(shard, static_cast<std::uintmax_t>(size - 1));
    CHECK(message_of(reading).find("cut short") != std::string::npos);
  }
  SUBCASE("a shard too long") {
    fs::resize_file(shard, static_cast<std::uintmax_t>(size + 8));
    CHECK(message_of(reading).find("of another checkpoint") != std::string::npos);
  }
  SUBCASE("a shard gone") {
    fs::remove(shard);
    CHECK(message_of(reading).find("is missing: the checkpoint is not whole") != std::string::npos);
  }
  SUBCASE("two shards swapped") {
    const CheckpointRoot other(folder / "other");
    save_made_up(other, 5, 2);
    fs::rename(other.folder(5) / shard_file_name(0, 2), shard);
    CHECK_FALSE(message_of(reading).empty());
  }
  SUBCASE("a shard of another step") {
    save_made_up(root, 6, 2);
    fs::rename(root.folder(6) / shard_file_name(1, 2), shard);
    CHECK(message_of(reading).find("checksum of its checksums") != std::string::npos);
  }
  SUBCASE("a number of the manifest") {
    replace_text(manifest, "\"step\": 5", "\"step\": 6");
    CHECK(message_of(reading).find("manifest.json is damaged: its checksum") != std::string::npos);
  }
  SUBCASE("a manifest cut short") {
    fs::resize_file(manifest, 100);
    CHECK(message_of(reading).find("not a JSON object") != std::string::npos);
  }
  SUBCASE("a manifest of a later format") {
    replace_text(manifest, "\"version\": 1", "\"version\": 2");
    CHECK(message_of(reading).find("use the program that wrote it") != std::string::npos);
  }
}

TEST_CASE("latest names the newest checkpoint, and the oldest go when more are there than are kept") {
  const TemporaryFolder folder;
  const CheckpointRoot root(folder / "c");
  CHECK_FALSE(root.latest().has_value());
  for (const std::int64_t step : {10, 20, 30, 40}) save_made_up(root, step, 2, 2);
  CHECK(root.steps() == std::vector<std::int64_t>{30, 40});
  CHECK(*root.latest() == root.folder(40));
  CHECK(find_checkpoint(root.path()) == root.folder(40));
  CHECK(find_checkpoint(root.folder(30)) == root.folder(30));

  SUBCASE("a run started over keeps what it has just written") {
    save_made_up(root, 5, 2, 1);
    CHECK(root.steps() == std::vector<std::int64_t>{5});
    CHECK(*root.latest() == root.folder(5));
  }
  SUBCASE("without the file, or with one that names nothing, the newest complete one counts") {
    fs::remove_all(root.folder(40));
    CHECK(*root.latest() == root.folder(30));
    fs::remove(root.path() / "latest");
    CHECK(*root.latest() == root.folder(30));
  }
  SUBCASE("the same step again replaces the old one") {
    save_made_up(root, 40, 3, 2);
    CheckpointReader reader(root.folder(40));
    CHECK(reader.manifest().ranks() == 3);
    CHECK(root.steps() == std::vector<std::int64_t>{30, 40});
  }
  SUBCASE("a partial one is never read and soon removed") {
    root.begin(50);
    write_made_up_shard(root.partial(50), 50, 0, 2);
    CHECK(*root.latest() == root.folder(40));
    save_made_up(root, 60, 2, 2);
    CHECK_FALSE(fs::exists(root.partial(50)));
    CHECK(root.steps() == std::vector<std::int64_t>{40, 60});
  }
}

TEST_CASE("a place without a checkpoint is refused by name") {
  const TemporaryFolder folder;
  CHECK(message_of([&] { find_checkpoint(folder / "none"); }).find("there is no such folder") != std::string::npos);
  CHECK(message_of([&] { find_checkpoint(folder / ""); }).find("no complete checkpoint") != std::string::npos);
}

TEST_CASE("a hostile manifest gets one line that names what is wrong") {
  CheckpointManifest manifest = made_up_manifest(1);
  manifest.shards = {{100, 1}};
  manifest.files = {{"config.json", 3, 42}};
  const std::string good = manifest_text(manifest);
  const auto refuse = [&](const std::string& from, const std::string& to, const std::string& expected) {
    std::string text = good;
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    const std::string message = message_of([&] { parse_manifest(text, "m.json"); });
    CAPTURE(to);
    CAPTURE(message);
    CHECK(message.find(expected) != std::string::npos);
    CHECK(message.find("m.json") == 0);
  };
  refuse("llama_zero checkpoint", "other", "no manifest of a llama_zero checkpoint");
  refuse("\"step\": 1", "\"step\": -1", "\"step\" is no integer from 0");
  refuse("\"step\": 1", "\"step\": 1.5", "\"step\" is no integer");
  refuse("\"step\": 1", "\"step\": 99999999999999999999", "\"step\" is no integer");
  refuse("\"step\": 1", "\"step\": 18446744073709551615", "\"step\" is no integer");
  refuse("\"step\": 1", "\"stop\": 1", "\"step\" is missing");
  refuse("\"stage\": 2", "\"stage\": 4", "\"stage\" is no integer from 0 to 3");
  refuse("\"AdamW\"", "7", "\"optimizer\" is no string");
  refuse("\"numel\": 700", "\"numel\": 0", "unit 0, \"numel\" is no integer from 1");
  refuse("\"numel\": 700", "\"numel\": 1152921504606846976", "unit 0, \"numel\" is no integer");
  refuse("\"numel\": 700", "\"numel\": 35184372088832", "units have more than");
  refuse("\"master\"", "\"m\"", "first state is not");
  refuse("\"config.json\"", "\"../config.json\"", "is no file name");
  refuse("\"config.json\"", "\"..\"", "is no file name");
  refuse("\"0000000000000001\"", "\"000000000000000g\"", "16 hexadecimal digits");
  refuse("\"bytes\": 100", "\"bytes\": -3", "shard 0, \"bytes\" is no integer");
  refuse("\"loss_scale\": 4096.0", "\"loss_scale\": \"x\"", "\"loss_scale\" is no number");
  refuse("\"hysteresis_left\": 2", "\"hysteresis_left\": 4294967296", "\"hysteresis_left\" is no integer");
  refuse("\"iteration\": 1", "\"iteration\": 2", "its checksum does not match");
  CHECK(message_of([&] { parse_manifest("", "m.json"); }).find("not a JSON object") != std::string::npos);
  CHECK(message_of([&] { parse_manifest(std::string(100000, '['), "m.json"); }).find("not a JSON object") !=
        std::string::npos);
}
