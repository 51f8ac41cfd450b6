// One rank's file of a checkpoint: fp32 values, and a checksum for every chunk of them.
//
//   header   64 bytes: magic "LZSHARD1", u32 rank, u32 ranks, u64 values, u64 chunk bytes, zeros, XXH3-64 of these
//   values   fp32, little endian, in ShardMap's order
//   sums     XXH3-64 of every chunk of the values (4 MiB; the last may be shorter)
//   seal     XXH3-64 of header and sums: what the manifest names
// A reader verifies the chunks that it touches and no others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/files.h"

namespace llama_zero {

inline constexpr std::size_t kShardHeaderBytes = 64;
inline constexpr std::size_t kShardChunkBytes = std::size_t{4} << 20;

struct ShardSummary {
  std::uint64_t bytes = 0;  ///< of the file
  std::uint64_t seal = 0;
};

/// Writes a shard from front to back. Every failure throws Error naming the file.
class ShardWriter {
 public:
  ShardWriter(const fs::path& path, int rank, int ranks, std::int64_t values);
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  void append(std::span<const float> values);
  /// Throws Error unless exactly the announced number of values came; then the file is on the disk.
  ShardSummary finish();

 private:
  void close_chunk();

  struct Hash;
  DurableFile file_;
  std::int64_t left_;
  std::unique_ptr<Hash> hash_;
  std::size_t chunk_bytes_ = 0;
  std::vector<std::uint64_t> sums_;
  std::uint64_t header_hash_ = 0;
};

/// A mapped shard. Throws Error naming the file for anything that is not as the format says.
class ShardReader {
 public:
  /// `expected`: what the manifest says of it.
  ShardReader(const fs::path& path, int rank, int ranks, std::int64_t values, const ShardSummary& expected);

  /// Values [begin, begin + out.size()), after their chunks' checksums were compared. Not for several threads at once.
  void read(std::int64_t begin, std::span<float> out);
  /// Compares every checksum.
  void verify_all();

 private:
  void verify_chunk(std::size_t chunk);

  MappedFile file_;
  std::int64_t values_;
  std::vector<bool> verified_;
};

}  // namespace llama_zero
