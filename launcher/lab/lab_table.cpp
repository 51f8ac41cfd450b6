#include "launcher/lab/lab_table.h"

#include <algorithm>

namespace llama_zero::lab {
namespace {

// Columns of a terminal: bytes that start a character of UTF-8.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U; }));
}

std::string padded(std::string_view text, std::size_t width, bool right) {
  const std::string space(width - std::min(width, width_of(text)), ' ');
  return right ? space + std::string(text) : std::string(text) + space;
}

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string cell = "\"";
  for (const char letter : text) cell += letter == '"' ? std::string("\"\"") : std::string(1, letter);
  return cell + "\"";
}

template <typename Cell>
std::string joined(const Table& table, std::string_view between, Cell&& cell) {
  std::string text;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (i > 0) text += between;
    text += cell(i);
  }
  return text;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (letter == '&') {
      out += "&amp;";
    } else if (letter == '<') {
      out += "&lt;";
    } else if (letter == '>') {
      out += "&gt;";
    } else if (letter == '"') {
      out += "&quot;";
    } else if (code < 0x20 && letter != '\n' && letter != '\t') {
      out += '?';
    } else {
      out += letter;
    }
  }
  return out;
}

std::string as_text(const Table& table) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = width_of(table.columns[i].name);
    for (const auto& row : table.rows) width = std::max(width, width_of(row[i]));
    widths.push_back(width);
  }
  std::string text = table.title + "\n";
  const auto add_row = [&](auto&& cell) {
    std::string line =
        "  " + joined(table, "  ", [&](std::size_t i) { return padded(cell(i), widths[i], table.columns[i].number); });
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_row([&](std::size_t i) { return table.columns[i].name; });
  for (const auto& row : table.rows) add_row([&](std::size_t i) { return row[i]; });
  return text;
}

std::string as_csv(const Table& table) {
  std::string text = joined(table, ",", [&](std::size_t i) { return csv_cell(table.columns[i].name); }) + "\n";
  for (const auto& row : table.rows) {
    text += joined(table, ",", [&](std::size_t i) { return csv_cell(row[i]); }) + "\n";
  }
  return text;
}

std::string as_html(const Table& table) {
  const auto kind = [&](std::size_t i) { return table.columns[i].number ? " class=\"number\"" : ""; };
  const std::string title = escaped(table.title);
  std::string text = "<div class=\"table\">\n<p class=\"title\">" + title +
                     "</p>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"" + title +
                     "\"><table aria-label=\"" + title + "\">\n<thead><tr>";
  text += joined(table, "", [&](std::size_t i) {
    return std::string("<th scope=\"col\"") + kind(i) + ">" + escaped(table.columns[i].name) + "</th>";
  });
  text += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>" +
            joined(table, "",
                   [&](std::size_t i) { return std::string("<td") + kind(i) + ">" + escaped(row[i]) + "</td>"; }) +
            "</tr>\n";
  }
  return text + "</tbody>\n</table></div>\n</div>\n";
}

}  // namespace llama_zero::lab
