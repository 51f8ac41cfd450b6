// A part of the lab's page, put together from paragraphs, tables and charts; its tables also go to the terminal and
// into CSV files.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/lab/lab_table.h"

namespace llama_zero::lab {

/// A figure that stands at the top of the page.
struct Headline {
  std::string value, meaning;
};

class Section {
 public:
  Section(std::string id, std::string title) : id_(std::move(id)), title_(std::move(title)) {}

  void heading(std::string_view text);
  /// `text` is plain; words between backquotes are set as code.
  void paragraph(std::string_view text);
  /// `file`: the CSV's name without ".csv". A folded table is opened by the reader.
  void table(const std::string& file, Table table, bool folded = false);
  /// <figure>s (launcher/lab/lab_chart.h) side by side where there is room.
  void charts(const std::vector<std::string>& figures);
  /// A command line.
  void command(std::string_view text);
  /// Text of a terminal, folded under `title`.
  void terminal(std::string_view title, std::string_view text);
  void headline(std::string value, std::string meaning);

  const std::string& id() const { return id_; }
  const std::string& title() const { return title_; }
  const std::string& html() const { return html_; }
  const std::vector<std::pair<std::string, Table>>& tables() const { return tables_; }
  const std::vector<Headline>& headlines() const { return headlines_; }

 private:
  std::string id_, title_, html_;
  std::vector<std::pair<std::string, Table>> tables_;
  std::vector<Headline> headlines_;
};

/// What the page says of the whole lab.
struct PageFacts {
  std::string model, device, ranks;
};

/// The whole page: one HTML file that is well-formed XML too, without script and without anything from the network.
std::string page(const PageFacts& facts, const std::vector<Section>& sections);

/// Megabytes of 10^6 bytes without a unit; below a thousand with two decimals.
std::string megabytes(double bytes);
/// "+0.41 %": how much more `value` is than `than`, in percent.
std::string percent_more(double value, double than);

}  // namespace llama_zero::lab
