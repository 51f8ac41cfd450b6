#include "data/token_file_format.h"

namespace llama_zero {

TokenFileLayout token_file_layout(std::uint64_t rows, std::uint64_t tokens, std::uint64_t bytes_per_token) {
  TokenFileLayout layout;
  layout.bytes[kTokensSection] = tokens * bytes_per_token;
  layout.bytes[kOffsetsSection] = (rows + 1) * sizeof(std::uint64_t);
  layout.bytes[kPromptsSection] = rows * sizeof(std::uint32_t);
  std::uint64_t end = sizeof(TokenFileHeader);
  for (std::size_t section = 0; section < kTokenFileSections; ++section) {
    layout.begin[section] = end;
    end += (layout.bytes[section] + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
  }
  layout.file_bytes = end;
  return layout;
}

}  // namespace llama_zero
