#include "data/token_file.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "data/token_file_format.h"

namespace llama_zero {
namespace {

constexpr const char* kSectionNames[kTokenFileSections] = {"tokens", "row offsets", "prompt lengths"};

template <typename... Args>
[[noreturn]] void fail_damaged(const fs::path& path, fmt::format_string<Args...> format, Args&&... args) {
  fail("{} is damaged: {}; delete it and it will be rebuilt", path.string(),
       fmt::format(format, std::forward<Args>(args)...));
}

template <typename T>
std::span<const T> section_of(const MappedFile& file, std::uint64_t begin, std::uint64_t count) {
  return {reinterpret_cast<const T*>(file.bytes().data() + begin), count};
}

/// The header when it is whole and of this version, byte order and file size.
TokenFileHeader load_header(const MappedFile& file) {
  const fs::path& path = file.path();
  TokenFileHeader header;
  if (file.size() < sizeof(header)) {
    fail_damaged(path, "it has {} bytes, fewer than the {} of its header", file.size(), sizeof(header));
  }
  std::memcpy(&header, file.bytes().data(), sizeof(header));
  if (header.magic != kTokenFileMagic) fail_damaged(path, "it does not start as a token file does");
  require(
      header.byte_order == kTokenFileByteOrder,
      "{} was written on a machine of another byte order, or its header is damaged; delete it and it will be rebuilt",
      path.string());
  require(header.version == kTokenFileVersion,
          "{} has version {} of the token file format, this program reads {}; delete it and it will be rebuilt",
          path.string(), header.version, kTokenFileVersion);
  if (header.header_hash != header.compute_hash()) fail_damaged(path, "the checksum of its header is wrong");
  if (header.file_bytes != file.size()) {
    fail_damaged(path, "it has {} bytes, its header says {}", file.size(), header.file_bytes);
  }
  return header;
}

/// A header with a right checksum may still be absurd: nothing is computed from counts that the file's size does not
/// bear.
TokenFileLayout checked_layout(const TokenFileHeader& header, const fs::path& path) {
  if (header.vocab_size == 0 || header.vocab_size > INT32_MAX ||
      header.bytes_per_token != token_bytes(header.vocab_size)) {
    fail_damaged(path, "a vocabulary of {} with {} bytes a token", header.vocab_size, header.bytes_per_token);
  }
  if (header.rows == 0 || header.rows > header.file_bytes || header.tokens > header.file_bytes) {
    fail_damaged(path, "{} rows and {} tokens do not fit its {} bytes", header.rows, header.tokens, header.file_bytes);
  }
  const TokenFileLayout layout = token_file_layout(header.rows, header.tokens, header.bytes_per_token);
  if (layout.file_bytes != header.file_bytes || layout.begin != header.section_begin) {
    fail_damaged(path, "{} rows and {} tokens do not fit its {} bytes", header.rows, header.tokens, header.file_bytes);
  }
  return layout;
}

void check_hashes(const MappedFile& file, const TokenFileHeader& header, const TokenFileLayout& layout) {
  for (std::size_t section = 0; section < kTokenFileSections; ++section) {
    const auto bytes = file.bytes().subspan(layout.begin[section], layout.end(section) - layout.begin[section]);
    if (hash_bytes(bytes) != header.section_hash[section]) {
      fail_damaged(file.path(), "the checksum of its {} is wrong", kSectionNames[section]);
    }
  }
}

/// Smallest and largest id in `tokens` lie in [0, vocab_size).
template <typename T>
bool ids_in_range(std::span<const T> tokens, std::int64_t vocab_size) {
  if (tokens.empty()) return true;
  const auto [lowest, highest] = std::minmax_element(tokens.begin(), tokens.end());
  return std::int64_t{*lowest} >= 0 && std::int64_t{*highest} < vocab_size;
}

}  // namespace

TokenFile::TokenFile(const fs::path& path) : file_(path) {
  const TokenFileHeader header = load_header(file_);
  const TokenFileLayout layout = checked_layout(header, path);
  check_hashes(file_, header, layout);
  key_ = header.key;
  tokens_count_ = static_cast<std::int64_t>(header.tokens);
  vocab_size_ = static_cast<std::int32_t>(header.vocab_size);
  truncated_rows_ = static_cast<std::int64_t>(header.truncated_rows);
  prompt_only_rows_ = static_cast<std::int64_t>(header.prompt_only_rows);
  if (header.bytes_per_token == sizeof(std::uint16_t)) {
    narrow_tokens_ = section_of<std::uint16_t>(file_, layout.begin[kTokensSection], header.tokens);
  } else {
    wide_tokens_ = section_of<std::int32_t>(file_, layout.begin[kTokensSection], header.tokens);
  }
  offsets_ = section_of<std::uint64_t>(file_, layout.begin[kOffsetsSection], header.rows + 1);
  prompts_ = section_of<std::uint32_t>(file_, layout.begin[kPromptsSection], header.rows);
  check_index();
}

void TokenFile::check_index() {
  const fs::path& path = file_.path();
  if (offsets_.front() != 0 || offsets_.back() != static_cast<std::uint64_t>(tokens_count_)) {
    fail_damaged(path, "its row offsets run from {} to {} over {} tokens", offsets_.front(), offsets_.back(),
                 tokens_count_);
  }
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto at = static_cast<std::size_t>(row);
    const std::uint64_t tokens = offsets_[at + 1] - offsets_[at];
    if (offsets_[at + 1] < offsets_[at] || tokens < 2 || tokens > key_.max_tokens || prompts_[at] < 1 ||
        prompts_[at] > tokens) {
      fail_damaged(path, "row {} has tokens {} to {}, {} of them prompt, where at most {} tokens can be", row + 1,
                   offsets_[at], offsets_[at + 1], prompts_[at], key_.max_tokens);
    }
    longest_row_ = std::max(longest_row_, row_tokens(row));
  }
  if (!ids_in_range(narrow_tokens_, vocab_size_) || !ids_in_range(wide_tokens_, vocab_size_)) {
    fail_damaged(path, "it has ids outside its vocabulary of {}", vocab_size_);
  }
}

void TokenFile::copy_row(std::int64_t row, std::span<std::int32_t> out) const {
  const auto begin = static_cast<std::size_t>(offsets_[static_cast<std::size_t>(row)]);
  const auto count = static_cast<std::size_t>(row_tokens(row));
  require(out.size() == count, "row {} has {} tokens, the destination {}", row, count, out.size());
  if (wide_tokens_.empty()) {
    std::copy_n(narrow_tokens_.begin() + static_cast<std::ptrdiff_t>(begin), count, out.begin());
  } else {
    std::copy_n(wide_tokens_.begin() + static_cast<std::ptrdiff_t>(begin), count, out.begin());
  }
}

std::string TokenFile::summary() const {
  std::string text = fmt::format("{} rows, {} tokens (mean {:.1f}, longest {})", rows(), tokens_count_,
                                 static_cast<double>(tokens_count_) / static_cast<double>(rows()), longest_row_);
  if (truncated_rows_ > 0) {
    text += fmt::format("; {} longer than {} tokens were truncated", truncated_rows_, key_.max_tokens);
  }
  if (prompt_only_rows_ > 0) text += fmt::format(", {} of them inside the prompt", prompt_only_rows_);
  return text;
}

}  // namespace llama_zero
