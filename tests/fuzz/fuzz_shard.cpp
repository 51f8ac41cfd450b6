// Any bytes as a rank's shard of a checkpoint. Header, checksums and seal are put right where they can be, so that what
// they protect is reached too.
#include <cstring>
#include <vector>

#include "tests/fuzz/scratch_file.h"
#include "zero/checkpoint/shard_file.h"

using namespace llama_zero;

namespace {

/// The values that a file of this size would hold, all in one chunk, or 0.
std::int64_t values_in(std::size_t size) {
  constexpr std::size_t kAround = kShardHeaderBytes + 2 * sizeof(std::uint64_t);
  return size <= kAround ? 0 : static_cast<std::int64_t>((size - kAround) / sizeof(float));
}

void read_all(const std::vector<std::uint8_t>& bytes, std::int64_t values, const ShardSummary& expected) {
  fuzz::expect_error_or_success([&] {
    ShardReader reader(fuzz::scratch_file(bytes.data(), bytes.size()), 1, 2, values, expected);
    std::vector<float> all(static_cast<std::size_t>(values));
    reader.read(0, all);
    reader.verify_all();
  });
}

std::uint64_t last_word(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t word = 0;
  if (bytes.size() >= sizeof(word)) std::memcpy(&word, bytes.data() + bytes.size() - sizeof(word), sizeof(word));
  return word;
}

/// A whole shard whose values are the input's bytes.
std::vector<std::uint8_t> whole_shard(const std::vector<std::uint8_t>& bytes, std::int64_t values) {
  const fs::path path = fs::temp_directory_path() / ("llama_zero_fuzz_shard_" + std::to_string(::getpid()));
  std::vector<float> floats(static_cast<std::size_t>(values));
  std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
  ShardWriter writer(path, 1, 2, values);
  writer.append(floats);
  writer.finish();
  const MappedFile file(path);
  const auto* begin = reinterpret_cast<const std::uint8_t*>(file.bytes().data());
  std::vector<std::uint8_t> shard(begin, begin + file.size());
  fs::remove(path);
  return shard;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> bytes(data, data + size);
  const std::int64_t values = values_in(size);
  read_all(bytes, values, {size, last_word(bytes)});
  if (values == 0) return 0;
  // One byte of a whole shard, chosen by the input, is another: the reader must see it.
  std::vector<std::uint8_t> shard = whole_shard(bytes, values);
  const ShardSummary expected{shard.size(), last_word(shard)};
  read_all(shard, values, expected);
  const std::size_t at = (data[0] + std::size_t{256} * data[1]) % shard.size();
  shard[at] ^= static_cast<std::uint8_t>(data[2] | 1U);
  bool refused = false;
  try {
    ShardReader reader(fuzz::scratch_file(shard.data(), shard.size()), 1, 2, values, expected);
    reader.verify_all();
  } catch (const Error&) {
    refused = true;
  }
  if (!refused) std::abort();
  return 0;
}
