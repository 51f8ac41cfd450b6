// Reads Alpaca files (Taori et al., "Stanford Alpaca: An Instruction-following LLaMA model", 2023): a JSON array of
// rows, or JSON lines (one row a line). Which of the two is seen from the first character; a UTF-8 byte order mark is
// skipped.
//
// The file is mapped and one row is parsed at a time, so memory stays at the size of the longest row.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"

namespace llama_zero {

/// One example. `input` is "" when the key is missing or null. `family`, where a row has that string, names the group
/// that an evaluation reports by. Other keys are ignored; of a key given twice the last counts.
struct AlpacaRow {
  std::string instruction;
  std::string input;
  std::string output;
  std::string family;
  std::int64_t number = 0;  ///< 1-based place in the file
  std::uint64_t byte = 0;   ///< offset of the row's first byte in the file
};

/// A row may not be larger than this: a lost closing quote must not make a huge file one row.
inline constexpr std::uint64_t kMaxAlpacaRowBytes = std::uint64_t{64} << 20U;

/// Rows in file order. Every failure throws Error "FILE: row 17 (byte 20431): what is wrong", where the byte is the
/// offset of that row's first byte (of what stands in its place, when it does not start like a row).
class AlpacaReader {
 public:
  /// Throws Error when the file cannot be read, holds no row, or starts like neither form.
  explicit AlpacaReader(const fs::path& path);
  /// The same for text in memory, which must outlive the reader; `name` stands in messages for the file.
  AlpacaReader(std::string name, std::string_view text);
  ~AlpacaReader();
  AlpacaReader(const AlpacaReader&) = delete;
  AlpacaReader& operator=(const AlpacaReader&) = delete;

  /// Overwrites `row` with the next row; false at the end of the file.
  bool next(AlpacaRow& row);

  std::uint64_t position() const { return position_; }  ///< bytes read so far
  std::uint64_t size() const { return text_.size(); }   ///< bytes of the file
  std::string_view text() const { return text_; }       ///< the whole file

 private:
  class RowParser;

  void start();
  bool find_array_row();
  bool find_line_row();
  void end_array();
  std::uint64_t array_row_end() const;
  std::uint64_t line_row_end() const;
  void skip_space();
  bool at_end() const { return position_ >= text_.size(); }
  [[noreturn]] void fail_row(std::uint64_t byte, const std::string& what) const;

  std::string name_;
  MappedFile file_;
  std::string_view text_;
  std::uint64_t position_ = 0;
  std::int64_t rows_ = 0;  ///< rows begun
  bool array_ = false;
  bool ended_ = false;
  std::unique_ptr<RowParser> parser_;
};

/// All rows of a file that fits in memory, e.g. held-out prompts.
std::vector<AlpacaRow> read_alpaca(const fs::path& path);

}  // namespace llama_zero
