#include "zero/checkpoint/shard_file.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"

namespace llama_zero {
namespace {

constexpr std::string_view kMagic = "LZSHARD1";
constexpr std::size_t kHashOffset = kShardHeaderBytes - sizeof(std::uint64_t);

using Header = std::array<std::byte, kShardHeaderBytes>;

template <typename T>
void put(Header& header, std::size_t offset, T value) {
  std::memcpy(header.data() + offset, &value, sizeof(value));
}

Header make_header(int rank, int ranks, std::int64_t values) {
  Header header{};
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  put(header, 8, static_cast<std::uint32_t>(rank));
  put(header, 12, static_cast<std::uint32_t>(ranks));
  put(header, 16, static_cast<std::uint64_t>(values));
  put(header, 24, static_cast<std::uint64_t>(kShardChunkBytes));
  put(header, kHashOffset, hash_bytes(std::span(header).first(kHashOffset)));
  return header;
}

std::size_t chunk_count(std::int64_t values) {
  const std::size_t bytes = static_cast<std::size_t>(values) * sizeof(float);
  return (bytes + kShardChunkBytes - 1) / kShardChunkBytes;
}

std::uint64_t seal_of(std::span<const std::byte> header, std::span<const std::byte> sums) {
  return hash_bytes(sums, hash_bytes(header));
}

template <typename T>
T load(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

}  // namespace

struct ShardWriter::Hash {
  XXH3_state_t state;
};

ShardWriter::ShardWriter(const fs::path& path, int rank, int ranks, std::int64_t values)
    : file_(path), left_(values), hash_(std::make_unique<Hash>()) {
  const Header header = make_header(rank, ranks, values);
  file_.write(header);
  header_hash_ = hash_bytes(header);
  XXH3_64bits_reset(&hash_->state);
  sums_.reserve(chunk_count(values));
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::close_chunk() {
  if (chunk_bytes_ == 0) return;
  sums_.push_back(XXH3_64bits_digest(&hash_->state));
  XXH3_64bits_reset(&hash_->state);
  chunk_bytes_ = 0;
}

void ShardWriter::append(std::span<const float> values) {
  require(static_cast<std::int64_t>(values.size()) <= left_, "{}: more values than the {} left of its shard",
          file_.path().string(), left_);
  left_ -= static_cast<std::int64_t>(values.size());
  std::span<const std::byte> bytes = std::as_bytes(values);
  while (!bytes.empty()) {
    const std::span<const std::byte> part = bytes.first(std::min(bytes.size(), kShardChunkBytes - chunk_bytes_));
    XXH3_64bits_update(&hash_->state, part.data(), part.size());
    file_.write(part);
    chunk_bytes_ += part.size();
    if (chunk_bytes_ == kShardChunkBytes) close_chunk();
    bytes = bytes.subspan(part.size());
  }
}

ShardSummary ShardWriter::finish() {
  require(left_ == 0, "{}: {} values of its shard are missing", file_.path().string(), left_);
  close_chunk();
  const auto sums = std::as_bytes(std::span(sums_));
  file_.write(sums);
  const std::uint64_t seal = hash_bytes(sums, header_hash_);
  file_.write(std::as_bytes(std::span(&seal, 1)));
  file_.close();
  return {file_.size(), seal};
}

ShardReader::ShardReader(const fs::path& path, int rank, int ranks, std::int64_t values, const ShardSummary& expected)
    : file_(path), values_(values), verified_(chunk_count(values)) {
  const std::string name = path.string();
  const std::size_t sums_bytes = verified_.size() * sizeof(std::uint64_t);
  const std::size_t size =
      kShardHeaderBytes + static_cast<std::size_t>(values) * sizeof(float) + sums_bytes + sizeof(std::uint64_t);
  require(file_.size() == size && expected.bytes == size,
          "{} has {} bytes, but its part of the checkpoint is {}: it is cut short or of another checkpoint", name,
          file_.size(), size);
  const auto bytes = file_.bytes();
  const Header header = make_header(rank, ranks, values);
  require(std::equal(header.begin(), header.end(), bytes.begin()),
          "{} is not rank {}'s shard of {} of this checkpoint: its header differs", name, rank, ranks);
  const auto sums = bytes.subspan(size - sizeof(std::uint64_t) - sums_bytes, sums_bytes);
  const std::uint64_t seal = seal_of(bytes.first(kShardHeaderBytes), sums);
  require(seal == expected.seal && seal == load<std::uint64_t>(bytes, size - sizeof(std::uint64_t)),
          "{} is damaged: the checksum of its checksums is not the manifest's", name);
}

void ShardReader::verify_chunk(std::size_t chunk) {
  if (verified_[chunk]) return;
  const auto bytes = file_.bytes();
  const std::size_t data_bytes = static_cast<std::size_t>(values_) * sizeof(float);
  const std::size_t begin = chunk * kShardChunkBytes;
  const auto data = bytes.subspan(kShardHeaderBytes + begin, std::min(kShardChunkBytes, data_bytes - begin));
  const auto sum = load<std::uint64_t>(bytes, kShardHeaderBytes + data_bytes + chunk * sizeof(std::uint64_t));
  require(hash_bytes(data) == sum, "{} is damaged: bytes {} to {} do not match their checksum", file_.path().string(),
          kShardHeaderBytes + begin, kShardHeaderBytes + begin + data.size() - 1);
  verified_[chunk] = true;
}

void ShardReader::read(std::int64_t begin, std::span<float> out) {
  require(begin >= 0 && begin + static_cast<std::int64_t>(out.size()) <= values_, "{}: values {} to {} of {}",
          file_.path().string(), begin, begin + static_cast<std::int64_t>(out.size()), values_);
  if (out.empty()) return;
  const std::size_t first = static_cast<std::size_t>(begin) * sizeof(float);
  for (std::size_t chunk = first / kShardChunkBytes; chunk * kShardChunkBytes < first + out.size_bytes(); ++chunk) {
    verify_chunk(chunk);
  }
  std::memcpy(out.data(), file_.bytes().data() + kShardHeaderBytes + first, out.size_bytes());
}

void ShardReader::verify_all() {
  for (std::size_t chunk = 0; chunk < verified_.size(); ++chunk) verify_chunk(chunk);
}

}  // namespace llama_zero
