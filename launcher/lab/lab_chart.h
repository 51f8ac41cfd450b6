// Charts as SVG that stands inside an HTML page: no script, no network, colours from the page's style sheet.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace llama_zero::lab {

/// What stands around a chart. Axis names carry their unit.
struct Frame {
  std::string title, x, y;
};

enum class LineStyle { kSolid, kDashed, kPoints };

/// Line `i` of a chart has colour class c<i>.
struct Line {
  std::string name;
  std::vector<std::pair<double, double>> points;  ///< (x, y), x ascending
  LineStyle style = LineStyle::kSolid;
  bool marks = false;  ///< a dot at every point
};

/// A <figure>: title, legend, lines over a common grid that starts at `y_from`, and axes.
std::string line_chart(const Frame& frame, const std::vector<Line>& lines, double y_from = 0.0);

struct Bar {
  std::string label;
  std::vector<double> parts;  ///< one of each part; 0: none
  std::string text;           ///< at the bar's end
};

/// A <figure>: horizontal bars, each made of the parts that `part_names` names, one above the other. frame.y is not
/// shown.
std::string bar_chart(const Frame& frame, const std::vector<std::string>& part_names, const std::vector<Bar>& bars);

struct Group {
  std::string label;
  std::vector<double> values;  ///< one of each series
};

/// A <figure>: columns side by side, a group a label. `y_to` sets the top of the axis, 0: the highest column.
std::string column_chart(const Frame& frame, const std::vector<std::string>& series, const std::vector<Group>& groups,
                         double y_to = 0.0);

/// Round numbers from at most `low` to at least `high`, about `count` of them, ascending, evenly spaced.
std::vector<double> ticks(double low, double high, int count);

}  // namespace llama_zero::lab
