#include "data/token_cache.h"

#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "data/alpaca.h"
#include "data/encode.h"
#include "data/prompt_template.h"
#include "data/token_file_writer.h"

namespace llama_zero {
namespace {

constexpr const char* kReadFrom = "read from";
constexpr std::size_t kBlockRows = 1024;
constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 20U;

struct Request {
  const MappedFile& source;
  const Tokenizer& tokenizer;
  TokenFileKey key;
  const BuildProgressCallback& progress;
};

/// A place where the token file may lie.
struct Place {
  fs::path path;
  bool cache_folder = false;
};

TokenFileKey make_key(const MappedFile& source, const Tokenizer& tokenizer, std::int64_t max_tokens) {
  require(max_tokens >= 2 && max_tokens <= INT32_MAX, "the sequence length must be 2 to {}, not {}", INT32_MAX,
          max_tokens);
  return {hash_bytes(source.bytes()), tokenizer.fingerprint(), template_fingerprint(),
          static_cast<std::uint64_t>(max_tokens)};
}

/// Names the settings, not the source: an edited source replaces its own token file instead of leaving a second one.
std::uint64_t settings_hash(const TokenFileKey& key, std::uint64_t seed) {
  return hash_text(fmt::format("{:x} {:x} {}", key.tokenizer_hash, key.template_hash, key.max_tokens), seed);
}

std::optional<fs::path> cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return fs::path(cache) / "llama_zero";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return fs::path(home) / ".cache" / "llama_zero";
  return std::nullopt;
}

std::vector<Place> places(const Request& request) {
  const std::string name = request.source.path().filename().string();
  const auto low_half = [](std::uint64_t hash) { return static_cast<std::uint32_t>(hash); };
  std::vector<Place> found;
  const fs::path beside = request.source.path().parent_path();
  found.push_back({beside / fmt::format("{}.{:08x}.lztok", name, low_half(settings_hash(request.key, 0))), false});
  if (const auto folder = cache_folder()) {
    const std::uint64_t source_seed = hash_text(fs::absolute(request.source.path()).string());
    found.push_back({*folder / fmt::format("{}.{:016x}.lztok", name, settings_hash(request.key, source_seed)), true});
  }
  return found;
}

enum class State { kMissing, kOtherInputs, kDamaged, kGood };

struct Found {
  State state = State::kMissing;
  TokenFile file;
  std::string fault;
};

Found look(const fs::path& path, const TokenFileKey& key) {
  Found found;
  std::error_code error;
  if (!fs::exists(path, error)) return found;
  try {
    found.file = TokenFile(path);
    found.state = found.file.key() == key ? State::kGood : State::kOtherInputs;
  } catch (const Error& fault) {
    found.state = State::kDamaged;
    found.fault = fault.what();
  }
  return found;
}

/// Fills `rows` with the next rows, enough to keep several threads busy; false when none is left.
bool read_block(AlpacaReader& reader, std::vector<AlpacaRow>& rows) {
  const std::uint64_t begin = reader.position();
  std::size_t count = 0;
  rows.resize(kBlockRows);
  while (count < kBlockRows && reader.position() - begin < kBlockBytes && reader.next(rows[count])) ++count;
  rows.resize(count);
  return count > 0;
}

void build(const Request& request, const fs::path& destination) {
  AlpacaReader reader(request.source.path().string(), request.source.text());
  TokenFileWriter writer(destination, request.key, request.tokenizer.vocab_size());
  std::vector<AlpacaRow> rows;
  std::vector<EncodedRow> encoded;
  std::int64_t count = 0;
  while (read_block(reader, rows)) {
    encode_rows(request.tokenizer, rows, static_cast<std::int64_t>(request.key.max_tokens), encoded);
    for (const EncodedRow& row : encoded) writer.add(row);
    count += static_cast<std::int64_t>(rows.size());
    if (request.progress) request.progress({reader.position(), reader.size(), count});
  }
  writer.finish();
}

/// Removes the lock file when the lock goes. A program that still waits on the removed file is granted it next, then
/// finds the token file good; at worst two programs build the same bytes under different temporary names.
class ScopedLock {
 public:
  explicit ScopedLock(const fs::path& token_file) : path_(token_file.string() + ".lock"), lock_(path_) {}
  ~ScopedLock() { ::unlink(path_.c_str()); }
  ScopedLock(const ScopedLock&) = delete;
  ScopedLock& operator=(const ScopedLock&) = delete;

 private:
  fs::path path_;
  FileLock lock_;
};

std::string reason_to_build(const Found& found) {
  switch (found.state) {
    case State::kOtherInputs:
      return " because the data changed";
    case State::kDamaged:
      return " because the one there was damaged";
    default:
      return "";
  }
}

OpenedTokenFile opened(TokenFile file, const Place& place, bool built, const std::string& verb) {
  std::string statement = fmt::format("{}; {} {}{}", file.summary(), verb, place.path.string(),
                                      place.cache_folder ? " (the data's folder cannot be written)" : "");
  return {std::move(file), built, std::move(statement)};
}

OpenedTokenFile build_locked(const Request& request, const Place& place) {
  Found found = look(place.path, request.key);  // another program may have built it while this one waited
  if (found.state == State::kGood) return opened(std::move(found.file), place, false, kReadFrom);
  if (found.state == State::kDamaged) log::warning("{} (rebuilding it now)", found.fault);
  build(request, place.path);
  return opened(TokenFile(place.path), place, true, fmt::format("tokenized{} to", reason_to_build(found)));
}

/// nullptr, and `obstacle` says why, when nothing can be written there.
std::unique_ptr<ScopedLock> try_lock(const Place& place, std::string& obstacle) {
  try {
    if (place.cache_folder) create_folder(place.path.parent_path());
    return std::make_unique<ScopedLock>(place.path);
  } catch (const Error& error) {
    obstacle = error.what();
    return nullptr;
  }
}

}  // namespace

OpenedTokenFile open_or_build_token_file(const fs::path& source, const Tokenizer& tokenizer, std::int64_t max_tokens,
                                         const BuildProgressCallback& progress) {
  const MappedFile data(source);
  const Request request{data, tokenizer, make_key(data, tokenizer, max_tokens), progress};
  const std::vector<Place> candidates = places(request);
  for (const Place& place : candidates) {
    Found found = look(place.path, request.key);
    if (found.state == State::kGood) return opened(std::move(found.file), place, false, kReadFrom);
  }
  std::string obstacle;
  for (const Place& place : candidates) {
    if (const auto lock = try_lock(place, obstacle)) return build_locked(request, place);
  }
  fail("no folder for the token file of {}: {}; set XDG_CACHE_HOME to a folder that can be written", source.string(),
       obstacle);
}

void build_token_file(const fs::path& source, const Tokenizer& tokenizer, std::int64_t max_tokens,
                      const fs::path& destination, const BuildProgressCallback& progress) {
  const MappedFile data(source);
  build({data, tokenizer, make_key(data, tokenizer, max_tokens), progress}, destination);
}

}  // namespace llama_zero
