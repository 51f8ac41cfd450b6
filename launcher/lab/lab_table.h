// A table once, written three ways: for the terminal, as CSV, as HTML.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llama_zero::lab {

struct Column {
  std::string name;  ///< with its unit: "step (ms)"
  bool number = true;
};

struct Table {
  std::string title;
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  ///< a cell a column
};

/// `text` with what is special in HTML and XML written as entities; control characters, which XML has none of, as '?'.
std::string escaped(std::string_view text);

/// Title, then aligned columns, indented by two.
std::string as_text(const Table& table);
/// RFC 4180, header first; cells with commas, quotes or line ends are quoted.
std::string as_csv(const Table& table);
/// A <table> under its title, in a frame that scrolls sideways where it is too wide.
std::string as_html(const Table& table);

}  // namespace llama_zero::lab
