// Any bytes as a token file. Its sums are put right where they can be, so that what they protect is reached too.
#include <cstring>
#include <vector>

#include "data/token_file.h"
#include "data/token_file_format.h"
#include "tests/fuzz/scratch_file.h"

using namespace llama_zero;

namespace {

void read_all(const std::vector<std::uint8_t>& bytes) {
  fuzz::expect_error_or_success([&] {
    const TokenFile file(fuzz::scratch_file(bytes.data(), bytes.size()));
    std::vector<std::int32_t> row;
    for (std::int64_t i = 0; i < file.rows(); ++i) {
      row.resize(static_cast<std::size_t>(file.row_tokens(i)));
      file.copy_row(i, row);
    }
  });
}

void correct_sums(std::vector<std::uint8_t>& bytes) {
  TokenFileHeader header;
  if (bytes.size() < sizeof(header)) return;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.file_bytes = bytes.size();
  for (std::size_t section = 0; section < kTokenFileSections; ++section) {
    const std::uint64_t begin = header.section_begin[section];
    const std::uint64_t end = section + 1 < kTokenFileSections ? header.section_begin[section + 1] : bytes.size();
    if (begin > end || end > bytes.size()) continue;
    header.section_hash[section] = hash_bytes(std::as_bytes(std::span(bytes)).subspan(begin, end - begin));
  }
  header.header_hash = header.compute_hash();
  std::memcpy(bytes.data(), &header, sizeof(header));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> bytes(data, data + size);
  read_all(bytes);
  correct_sums(bytes);
  read_all(bytes);
  return 0;
}
