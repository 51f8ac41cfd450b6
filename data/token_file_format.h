// The bytes of a token file; data/token_file.h says what they mean.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "core/files.h"
#include "data/token_file.h"

namespace llama_zero {

inline constexpr std::array<char, 8> kTokenFileMagic = {'L', 'Z', 'T', 'O', 'K', 'E', 'N', 'S'};
inline constexpr std::uint32_t kTokenFileVersion = 1;
inline constexpr std::uint32_t kTokenFileByteOrder = 0x01020304;
inline constexpr std::uint64_t kSectionAlignment = 64;

enum TokenFileSection : std::size_t { kTokensSection, kOffsetsSection, kPromptsSection, kTokenFileSections };

struct TokenFileHeader {
  std::array<char, 8> magic = kTokenFileMagic;
  std::uint32_t byte_order = kTokenFileByteOrder;
  std::uint32_t version = kTokenFileVersion;
  TokenFileKey key;
  std::uint64_t rows = 0;
  std::uint64_t tokens = 0;
  std::uint64_t vocab_size = 0;
  std::uint64_t bytes_per_token = 0;  ///< 2 or 4
  std::uint64_t truncated_rows = 0;
  std::uint64_t prompt_only_rows = 0;
  std::uint64_t file_bytes = 0;
  std::array<std::uint64_t, kTokenFileSections> section_begin{};
  std::array<std::uint64_t, kTokenFileSections> section_hash{};  ///< of the section with its padding
  std::array<std::uint64_t, 12> reserved{};
  std::uint64_t header_hash = 0;  ///< of all header bytes before it

  std::span<const std::byte> hashed_bytes() const {
    return std::as_bytes(std::span(this, 1)).first(offsetof(TokenFileHeader, header_hash));
  }
  std::uint64_t compute_hash() const { return hash_bytes(hashed_bytes()); }
};
static_assert(sizeof(TokenFileHeader) == 256 && std::is_trivially_copyable_v<TokenFileHeader>);

/// Where the sections lie follows from three counts.
struct TokenFileLayout {
  std::array<std::uint64_t, kTokenFileSections> begin{};
  std::array<std::uint64_t, kTokenFileSections> bytes{};  ///< without padding
  std::uint64_t file_bytes = 0;

  std::uint64_t end(std::size_t section) const {
    return section + 1 < kTokenFileSections ? begin[section + 1] : file_bytes;
  }
};

/// rows and tokens must be below 2^56: nothing overflows then.
TokenFileLayout token_file_layout(std::uint64_t rows, std::uint64_t tokens, std::uint64_t bytes_per_token);

/// u16 ids when all fit.
inline std::uint64_t token_bytes(std::uint64_t vocab_size) { return vocab_size <= 65536 ? 2 : 4; }

}  // namespace llama_zero
