#include "zero/checkpoint/folder.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/log.h"

namespace llama_zero {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kPartial = ".partial";
constexpr std::string_view kReplaced = ".replaced";
constexpr std::string_view kLatest = "latest";
constexpr std::size_t kMostManifestBytes = std::size_t{256} << 20;

std::string folder_name_of(std::int64_t step) { return fmt::format("{}{:08}", kPrefix, step); }

/// The step of "step-00000120", or nothing.
std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  std::int64_t step = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (code != std::errc() || end != name.data() + name.size() || step < 0) return std::nullopt;
  return step;
}

bool is_complete(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / CheckpointManifest::kFileName, error);
}

void remove_folder(const fs::path& folder) noexcept {
  std::error_code error;
  // Without its manifest a half-removed checkpoint is never taken for a complete one.
  fs::remove(folder / CheckpointManifest::kFileName, error);
  fs::remove_all(folder, error);
  if (error) log::warning("cannot remove {}: {}", folder.string(), error.message());
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

CheckpointManifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / CheckpointManifest::kFileName;
  const MappedFile file(path);
  require(file.size() <= kMostManifestBytes, "{} has {} bytes: that is no manifest", path.string(), file.size());
  return parse_manifest(file.text(), path);
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
  return std::string(text);
}

}  // namespace

fs::path CheckpointRoot::folder(std::int64_t step) const { return path_ / folder_name_of(step); }

fs::path CheckpointRoot::partial(std::int64_t step) const {
  return path_ / (folder_name_of(step) + std::string(kPartial));
}

void CheckpointRoot::begin(std::int64_t step) const {
  create_folder(path_);
  for (const std::string& name : names_in(path_)) {
    if (name.starts_with(std::string(kLatest) + ".")) {
      std::error_code ignored;
      fs::remove(path_ / name, ignored);  // `latest` before it had its name
      continue;
    }
    const bool left_over = name.starts_with(kPrefix) && (name.ends_with(kPartial) || name.ends_with(kReplaced));
    if (!left_over) continue;
    // A crash between the two renames of complete() has left the old checkpoint under its other name.
    const std::string original = name.substr(0, name.rfind('.'));
    const bool rescue = name.ends_with(kReplaced) && is_complete(path_ / name) && !fs::exists(path_ / original);
    if (rescue) {
      rename_durably(path_ / name, path_ / original);
    } else {
      remove_folder(path_ / name);
    }
  }
  create_folder(partial(step));
}

CheckpointManifest::FileEntry CheckpointRoot::add_file(std::int64_t step, const std::string& name,
                                                       std::string_view content) const {
  DurableFile file(partial(step) / name);
  file.write(std::as_bytes(std::span(content)));
  file.close();
  return {name, content.size(), hash_text(content)};
}

void CheckpointRoot::complete(const CheckpointManifest& manifest, std::int64_t keep) const {
  const fs::path from = partial(manifest.step);
  const fs::path to = folder(manifest.step);
  DurableFile file(from / CheckpointManifest::kFileName);
  const std::string text = manifest_text(manifest);
  file.write(std::as_bytes(std::span(text)));
  file.close();
  sync_folder(from);
  // A folder that is not empty cannot be renamed over: the old one steps aside first.
  const fs::path aside = path_ / (folder_name_of(manifest.step) + std::string(kReplaced));
  const bool replaces = fs::exists(to);
  if (replaces) rename_durably(to, aside);
  rename_durably(from, to);
  AtomicFile latest(path_ / kLatest);
  latest.write(folder_name_of(manifest.step) + "\n");
  latest.commit();
  if (replaces) remove_folder(aside);
  if (keep > 0) retain(keep, manifest.step);
}

void CheckpointRoot::discard(std::int64_t step) const noexcept { remove_folder(partial(step)); }

std::vector<std::int64_t> CheckpointRoot::steps() const {
  std::vector<std::int64_t> steps;
  for (const std::string& name : names_in(path_)) {
    const std::optional<std::int64_t> step = step_of(name);
    if (step && is_complete(path_ / name)) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

// The one just written stays even where a later one lies about, left by a run that was started over.
void CheckpointRoot::retain(std::int64_t keep, std::int64_t newest) const {
  std::vector<std::int64_t> old = steps();
  std::erase(old, newest);
  const auto surplus = static_cast<std::int64_t>(old.size()) - (keep - 1);
  for (std::int64_t i = 0; i < surplus; ++i) remove_folder(folder(old[static_cast<std::size_t>(i)]));
}

std::optional<fs::path> CheckpointRoot::latest() const {
  std::error_code error;
  if (fs::is_regular_file(path_ / kLatest, error)) {
    const std::string name = trimmed(MappedFile(path_ / kLatest).text());
    if (step_of(name) && is_complete(path_ / name)) return path_ / name;
    log::warning("{} names {}, which is no complete checkpoint", (path_ / kLatest).string(), name);
  }
  // A crash while a checkpoint of the same step was being replaced leaves it under its other name.
  for (const std::string& name : names_in(path_)) {
    const std::string original = name.substr(0, name.rfind('.'));
    if (name.ends_with(kReplaced) && is_complete(path_ / name) && !is_complete(path_ / original)) {
      return path_ / name;
    }
  }
  const std::vector<std::int64_t> complete = steps();
  if (complete.empty()) return std::nullopt;
  return folder(complete.back());
}

CheckpointReader::CheckpointReader(fs::path folder)
    : folder_(std::move(folder)),
      manifest_(read_manifest(folder_)),
      map_(manifest_.shard_map()),
      shards_(manifest_.shards.size()) {
  for (int rank = 0; rank < manifest_.ranks(); ++rank) {
    const fs::path path = folder_ / shard_file_name(rank, manifest_.ranks());
    std::error_code error;
    require(fs::is_regular_file(path, error), "{} is missing: the checkpoint is not whole", path.string());
  }
}

int CheckpointReader::state(std::string_view name) const {
  const auto found = std::find(manifest_.states.begin(), manifest_.states.end(), name);
  return found == manifest_.states.end() ? -1 : static_cast<int>(found - manifest_.states.begin());
}

ShardReader& CheckpointReader::shard(int rank) {
  auto& reader = shards_[static_cast<std::size_t>(rank)];
  if (!reader) {
    reader.emplace(folder_ / shard_file_name(rank, manifest_.ranks()), rank, manifest_.ranks(), map_.elements(rank),
                   manifest_.shards[static_cast<std::size_t>(rank)]);
  }
  return *reader;
}

void CheckpointReader::read(int unit, int state, std::int64_t begin, std::span<float> out) {
  if (out.empty()) return;  // e.g. the shard of a rank that is all padding
  require(unit >= 0 && unit < map_.unit_count() && state >= 0 && state < map_.state_count() && begin >= 0 &&
              begin + static_cast<std::int64_t>(out.size()) <= map_.unit_numel(unit),
          "{}: values {} to {} of state {} of unit {} are not in the checkpoint", folder_.string(), begin,
          begin + static_cast<std::int64_t>(out.size()), state, unit);
  const UnitPartition partition = map_.partition(unit);
  while (!out.empty()) {
    const int rank = static_cast<int>(begin / partition.shard);
    const std::int64_t inside = begin - partition.begin(rank);
    const auto count = std::min(static_cast<std::int64_t>(out.size()), partition.valid(rank) - inside);
    shard(rank).read(map_.offset(unit, state, rank) + inside, out.first(static_cast<std::size_t>(count)));
    out = out.subspan(static_cast<std::size_t>(count));
    begin += count;
  }
}

bool CheckpointReader::has_file(std::string_view name) const {
  return std::any_of(manifest_.files.begin(), manifest_.files.end(),
                     [&](const auto& file) { return file.name == name; });
}

std::string CheckpointReader::file(std::string_view name) const {
  for (const auto& entry : manifest_.files) {
    if (entry.name != name) continue;
    const MappedFile file(folder_ / entry.name);
    require(file.size() == entry.bytes && hash_bytes(file.bytes()) == entry.hash,
            "{} is damaged: it is not what the checkpoint's manifest describes", file.path().string());
    return std::string(file.text());
  }
  fail("{}: the checkpoint has no file {}", folder_.string(), name);
}

void CheckpointReader::verify_all() {
  for (int rank = 0; rank < manifest_.ranks(); ++rank) shard(rank).verify_all();
  for (const auto& entry : manifest_.files) file(entry.name);
}

fs::path find_checkpoint(const fs::path& path) {
  std::error_code error;
  require(fs::is_directory(path, error), "cannot resume from {}: there is no such folder", path.string());
  if (is_complete(path)) return path;
  for (const fs::path& root : {path, path / "checkpoints"}) {
    if (const std::optional<fs::path> latest = CheckpointRoot(root).latest()) return *latest;
  }
  fail("cannot resume from {}: it holds no complete checkpoint", path.string());
}

}  // namespace llama_zero
