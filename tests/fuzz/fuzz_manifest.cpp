// Any text as the manifest of a checkpoint. Its checksum is put right where it can be, so that what it protects is
// reached too; what is taken is written again and is the same.
#include <nlohmann/json.hpp>

#include "tests/fuzz/scratch_file.h"
#include "zero/checkpoint/manifest.h"

using namespace llama_zero;

namespace {

void read(std::string_view text) {
  fuzz::expect_error_or_success([&] {
    const CheckpointManifest manifest = parse_manifest(text, "manifest.json");
    if (manifest.shard_map().elements(manifest.ranks() - 1) < 0) std::abort();
    const std::string again = manifest_text(manifest);
    if (manifest_text(parse_manifest(again, "manifest.json")) != again) std::abort();
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read(text);
  auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!json.is_object()) return 0;
  json.erase("checksum");
  json["checksum"] = fmt::format("{:016x}", hash_text(json.dump()));
  read(json.dump());
  return 0;
}
