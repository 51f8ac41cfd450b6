#include "launcher/lab/lab_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "launcher/lab/page_template.h"
#include "launcher/version.h"

namespace llama_zero::lab {
namespace {

// Every second piece between backquotes is code.
std::string with_code(std::string_view text) {
  std::string html;
  bool code = false;
  while (true) {
    const std::size_t end = text.find('`');
    const std::string piece = escaped(text.substr(0, end));
    html += code ? "<code>" + piece + "</code>" : piece;
    if (end == std::string_view::npos) return html;
    text.remove_prefix(end + 1);
    code = !code;
  }
}

// A command in pieces between which a line may be broken: before flags, not after their hyphens.
std::string pieces_of(std::string_view command) {
  std::string html;
  while (!command.empty()) {
    std::size_t end = command.find(' ');
    if (command.starts_with("--") && end != std::string_view::npos && command.substr(end + 1, 2) != "--") {
      end = command.find(' ', end + 1);
    }
    const std::string_view piece = command.substr(0, end);
    if (!piece.empty()) html += "<span>" + escaped(piece) + "</span> ";
    command.remove_prefix(std::min(end, command.size() - 1) + 1);
  }
  return html;
}

void fill(std::string& text, std::string_view place, const std::string& value) {
  const std::size_t at = text.find(place);
  text.replace(at, place.size(), value);
}

std::string tiles(const std::vector<Section>& sections) {
  std::string html;
  for (const Section& section : sections) {
    for (const Headline& line : section.headlines()) {
      html += fmt::format("<li><a href=\"#{}\"><strong>{}</strong> <span>{}</span></a></li>\n", section.id(),
                          escaped(line.value), escaped(line.meaning));
    }
  }
  return html.empty() ? "" : "<ul class=\"tiles\">\n" + html + "</ul>\n";
}

}  // namespace

void Section::heading(std::string_view text) { html_ += "<h3>" + escaped(text) + "</h3>\n"; }

void Section::paragraph(std::string_view text) { html_ += "<p>" + with_code(text) + "</p>\n"; }

void Section::table(const std::string& file, Table table, bool folded) {
  const std::string link = fmt::format("<p class=\"file\"><a href=\"{0}.csv\">{0}.csv</a></p>\n", escaped(file));
  if (folded) {
    html_ += fmt::format("<details>\n<summary>{} ({} rows)</summary>\n{}{}</details>\n", escaped(table.title),
                         table.rows.size(), as_html(table), link);
  } else {
    html_ += as_html(table) + link;
  }
  tables_.emplace_back(file, std::move(table));
}

void Section::charts(const std::vector<std::string>& figures) {
  html_ += "<div class=\"charts\">\n";
  for (const std::string& figure : figures) html_ += figure;
  html_ += "</div>\n";
}

void Section::terminal(std::string_view title, std::string_view text) {
  html_ += "<details>\n<summary>" + escaped(title) + "</summary>\n<pre tabindex=\"0\">" + escaped(text) +
           "</pre>\n</details>\n";
}

void Section::command(std::string_view text) { html_ += "<pre class=\"command\">" + pieces_of(text) + "</pre>\n"; }

void Section::headline(std::string value, std::string meaning) {
  headlines_.push_back({std::move(value), std::move(meaning)});
}

std::string page(const PageFacts& facts, const std::vector<Section>& sections) {
  std::string links, bodies;
  for (const Section& section : sections) {
    links += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", section.id(), escaped(section.title()));
    bodies += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n", section.id(), escaped(section.title()),
                          section.html());
  }
  std::string html(kPageTemplate);
  fill(html, "@STYLE@", std::string(kPageStyle));
  fill(html, "@MODEL@", escaped(facts.model));
  fill(html, "@DEVICE@", escaped(facts.device));
  fill(html, "@RANKS@", escaped(facts.ranks));
  fill(html, "@LINKS@", links);
  fill(html, "@TILES@", tiles(sections));
  fill(html, "@VERSION@", kVersion);
  fill(html, "@SECTIONS@", bodies);
  return html;
}

std::string megabytes(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.2f}", bytes / 1e6) : fmt::format("{:.0f}", bytes / 1e6);
}

std::string percent_more(double value, double than) {
  if (than == 0.0) return "-";
  const double percent = 100.0 * (value - than) / than;
  return std::fabs(percent) < 0.005 ? std::string("0.00 %") : fmt::format("{:+.2f} %", percent);
}

}  // namespace llama_zero::lab
