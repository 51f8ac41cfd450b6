#include "data/token_file_writer.h"

#include <algorithm>

#include "core/error.h"

namespace llama_zero {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20U;

}  // namespace

TokenFileWriter::TokenFileWriter(const fs::path& destination, const TokenFileKey& key, std::int32_t vocab_size)
    : file_(destination) {
  header_.key = key;
  header_.vocab_size = static_cast<std::uint64_t>(vocab_size);
  header_.bytes_per_token = token_bytes(header_.vocab_size);
  file_.write(std::as_bytes(std::span(&header_, 1)));  // its place; written again by finish()
}

void TokenFileWriter::add(const EncodedRow& row) {
  const auto [lowest, highest] = std::minmax_element(row.tokens.begin(), row.tokens.end());
  require(*lowest >= 0 && static_cast<std::uint64_t>(*highest) < header_.vocab_size,
          "a row has ids {} to {}, outside the vocabulary of {}", *lowest, *highest, header_.vocab_size);
  if (header_.bytes_per_token == sizeof(std::uint16_t)) {
    const std::vector<std::uint16_t> narrow(row.tokens.begin(), row.tokens.end());
    append(std::span<const std::uint16_t>(narrow));
  } else {
    append(std::span<const std::int32_t>(row.tokens));
  }
  lengths_.push_back(static_cast<std::uint32_t>(row.tokens.size()));
  prompts_.push_back(static_cast<std::uint32_t>(row.prompt_tokens));
  header_.tokens += row.tokens.size();
  if (row.truncated) ++header_.truncated_rows;
  if (row.prompt_tokens == static_cast<std::int64_t>(row.tokens.size())) ++header_.prompt_only_rows;
}

void TokenFileWriter::finish() {
  header_.rows = lengths_.size();
  const TokenFileLayout layout = token_file_layout(header_.rows, header_.tokens, header_.bytes_per_token);
  end_section(kTokensSection);
  write_offsets();
  end_section(kOffsetsSection);
  append(std::span<const std::uint32_t>(prompts_));
  end_section(kPromptsSection);
  header_.section_begin = layout.begin;
  header_.file_bytes = layout.file_bytes;
  header_.header_hash = header_.compute_hash();
  file_.write_at(0, std::as_bytes(std::span(&header_, 1)));
  file_.commit();
}

void TokenFileWriter::write_offsets() {
  std::uint64_t offset = 0;
  append(std::span<const std::uint64_t>(&offset, 1));
  for (const std::uint32_t length : lengths_) {
    offset += length;
    append(std::span<const std::uint64_t>(&offset, 1));
  }
}

template <typename T>
void TokenFileWriter::append(std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  if (buffer_.size() >= kBufferBytes) flush();
}

void TokenFileWriter::flush() {
  hash_.update(buffer_);
  file_.write(buffer_);
  buffer_.clear();
}

void TokenFileWriter::end_section(std::size_t section) {
  while ((file_.size() + buffer_.size()) % kSectionAlignment != 0) buffer_.push_back(std::byte{0});
  flush();
  header_.section_hash[section] = hash_.finish();
}

}  // namespace llama_zero
