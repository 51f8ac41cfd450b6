#include "launcher/lab/lab_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "launcher/lab/lab_table.h"

namespace llama_zero::lab {
namespace {

// Units of the SVG: about a pixel at the width that a figure has on a phone or in half a page.
constexpr double kWidth = 440.0, kHeight = 270.0;
constexpr double kLeft = 48.0, kRight = 14.0, kTop = 32.0, kBottom = 42.0;
constexpr double kBarHeight = 15.0, kBarLabel = 17.0, kBarGap = 9.0, kBarText = 112.0, kBarTop = 8.0;

struct Axis {
  double low, high, from, to;  ///< values, and where they lie
  double at(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

std::string tick_text(double value) {
  if (std::fabs(value) >= 1e6) return fmt::format("{:g}M", value / 1e6);
  if (std::fabs(value) >= 1e4) return fmt::format("{:g}k", value / 1e3);
  return fmt::format("{:g}", std::fabs(value) < 1e-12 ? 0.0 : value);
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor, escaped(text));
}

std::string legend(const std::vector<std::string>& names, const std::vector<LineStyle>& styles) {
  if (names.size() < 2) return "";
  std::string text = "<ul class=\"legend\">";
  for (std::size_t i = 0; i < names.size(); ++i) {
    const LineStyle style = i < styles.size() ? styles[i] : LineStyle::kSolid;
    const char* key = style == LineStyle::kSolid ? "key" : style == LineStyle::kDashed ? "key dashed" : "key dot";
    text += fmt::format("<li><span class=\"{} c{}\"></span>{}</li>", key, i, escaped(names[i]));
  }
  return text + "</ul>\n";
}

std::string figure(const Frame& frame, const std::string& key, double height, const std::string& inside) {
  return fmt::format(
      "<figure>\n<figcaption>{}</figcaption>\n{}<svg viewBox=\"0 0 {:g} {:g}\" role=\"img\" aria-label=\"{}\" "
      "xmlns=\"http://www.w3.org/2000/svg\">\n{}</svg>\n</figure>\n",
      escaped(frame.title), key, kWidth, height, escaped(frame.title), inside);
}

std::string y_axis(const Axis& y, const std::vector<double>& values, const std::string& name) {
  std::string text = "<g class=\"axis\">\n";
  for (const double value : values) {
    text += fmt::format("<line class=\"grid\" x1=\"{:g}\" x2=\"{:g}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n", kLeft,
                        kWidth - kRight, y.at(value), y.at(value));
    text += text_at(kLeft - 6.0, y.at(value) + 4.0, "end", tick_text(value));
  }
  // Upright above the axis: beside it, it would lie over wide tick labels where the page is narrow.
  return text + fmt::format("<text class=\"name\" x=\"0\" y=\"13\">{}</text>\n</g>\n", escaped(name));
}

std::string x_name(const std::string& name) {
  return fmt::format("<text class=\"name\" x=\"{:g}\" y=\"{:g}\" text-anchor=\"middle\">{}</text>\n",
                     (kLeft + kWidth - kRight) / 2.0, kHeight - 5.0, escaped(name));
}

std::string x_axis(const Axis& x, const std::vector<double>& values, const std::string& name) {
  std::string text = "<g class=\"axis\">\n";
  for (const double value : values) {
    text += text_at(x.at(value), kHeight - kBottom + 16.0, "middle", tick_text(value));
  }
  return text + x_name(name) + "</g>\n";
}

std::string draw(const Line& line, std::size_t index, const Axis& x, const Axis& y) {
  std::string text;
  if (line.style != LineStyle::kPoints) {
    text += fmt::format("<polyline class=\"line c{}{}\" points=\"", index,
                        line.style == LineStyle::kDashed ? " dashed" : "");
    for (const auto& [px, py] : line.points) text += fmt::format("{:.1f},{:.1f} ", x.at(px), y.at(py));
    text += "\"/>\n";
  }
  if (!line.marks && line.style != LineStyle::kPoints) return text;
  for (const auto& [px, py] : line.points) {
    text += fmt::format(
        "<circle class=\"mark c{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>{}: {:g}, {:.4g}</title></circle>\n",
        index, x.at(px), y.at(py), escaped(line.name), px, py);
  }
  return text;
}

double total_of(const Bar& bar) {
  double total = 0.0;
  for (const double part : bar.parts) total += part;
  return total;
}

// Adds the parts of a bar at height `y`; returns where it ends.
double draw_parts(std::string& inside, const Bar& bar, const std::vector<std::string>& names, const Axis& x, double y) {
  double before = 0.0;
  for (std::size_t i = 0; i < bar.parts.size(); ++i) {
    if (bar.parts[i] <= 0.0) continue;
    inside += fmt::format(
        "<rect class=\"bar c{}\" x=\"{:.2f}\" y=\"{:g}\" width=\"{:.2f}\" height=\"{:g}\"><title>{}: "
        "{:.4g}</title></rect>\n",
        i, x.at(before), y, x.at(before + bar.parts[i]) - x.at(before), kBarHeight, escaped(names[i]), bar.parts[i]);
    before += bar.parts[i];
  }
  return x.at(before);
}

}  // namespace

std::vector<double> ticks(double low, double high, int count) {
  if (!(high > low)) high = low + 1.0;
  const double rough = (high - low) / std::max(count, 1);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    step = factor * power;
    if (step >= rough * 0.999) break;
  }
  std::vector<double> values;
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; i += 1.0) values.push_back(i * step);
  return values;
}

std::string line_chart(const Frame& frame, const std::vector<Line>& lines, double y_from) {
  double x_low = 0.0, x_high = 1.0, y_high = y_from;
  bool first = true;
  std::vector<std::string> names;
  std::vector<LineStyle> styles;
  for (const Line& line : lines) {
    names.push_back(line.name);
    styles.push_back(line.style);
    for (const auto& [px, py] : line.points) {
      x_low = first ? px : std::min(x_low, px);
      x_high = first ? px : std::max(x_high, px);
      y_high = std::max(y_high, py);
      first = false;
    }
  }
  if (x_low > 0.0 && x_low < 0.05 * x_high) x_low = 0.0;
  const std::vector<double> y_ticks = ticks(y_from, y_high, 5);
  std::vector<double> x_ticks = ticks(x_low, x_high, 5);
  std::erase_if(x_ticks, [&](double value) { return value < x_low - 1e-9 || value > x_high + 1e-9; });
  const Axis x{x_low, std::max(x_high, x_low + 1e-9), kLeft + 4.0, kWidth - kRight - 4.0};
  const Axis y{y_ticks.front(), y_ticks.back(), kHeight - kBottom, kTop};
  std::string inside = y_axis(y, y_ticks, frame.y) + x_axis(x, x_ticks, frame.x);
  for (std::size_t i = 0; i < lines.size(); ++i) inside += draw(lines[i], i, x, y);
  return figure(frame, legend(names, styles), kHeight, inside);
}

std::string bar_chart(const Frame& frame, const std::vector<std::string>& part_names, const std::vector<Bar>& bars) {
  double most = 0.0;
  for (const Bar& bar : bars) most = std::max(most, total_of(bar));
  const std::vector<double> values = ticks(0.0, most, 4);
  const double bottom = kBarTop + static_cast<double>(bars.size()) * (kBarLabel + kBarHeight + kBarGap);
  const Axis x{0.0, values.back(), 4.0, kWidth - kBarText};
  std::string inside = "<g class=\"axis\">\n";
  for (const double value : values) {
    inside += fmt::format("<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:g}\" y2=\"{:g}\"/>\n", x.at(value),
                          x.at(value), kBarTop, bottom);
    inside += text_at(x.at(value), bottom + 15.0, value == 0.0 ? "start" : "middle", tick_text(value));
  }
  inside += fmt::format("<text class=\"name\" x=\"{:g}\" y=\"{:g}\" text-anchor=\"middle\">{}</text>\n</g>\n",
                        (x.from + x.to) / 2.0, bottom + 36.0, escaped(frame.x));
  double y = kBarTop;
  for (const Bar& bar : bars) {
    inside += "<g class=\"axis value\">" + text_at(x.from + 3.0, y + kBarLabel - 4.0, "start", bar.label) + "</g>";
    y += kBarLabel;
    const double end = draw_parts(inside, bar, part_names, x, y);
    inside += "<g class=\"axis value\">" + text_at(end + 5.0, y + kBarHeight / 2.0 + 4.0, "start", bar.text) + "</g>\n";
    y += kBarHeight + kBarGap;
  }
  return figure(frame, legend(part_names, {}), bottom + 44.0, inside);
}

std::string column_chart(const Frame& frame, const std::vector<std::string>& series, const std::vector<Group>& groups,
                         double y_to) {
  double most = y_to;
  for (const Group& group : groups) {
    for (const double value : group.values) most = std::max(most, value);
  }
  const std::vector<double> values = ticks(0.0, most, 5);
  const Axis y{0.0, values.back(), kHeight - kBottom, kTop};
  const double room = (kWidth - kRight - kLeft) / static_cast<double>(std::max<std::size_t>(groups.size(), 1));
  const double column = std::min(34.0, room * 0.8 / static_cast<double>(std::max<std::size_t>(series.size(), 1)));
  std::string inside = y_axis(y, values, frame.y);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Group& group = groups[g];
    const double middle = kLeft + (static_cast<double>(g) + 0.5) * room;
    double x = middle - column * static_cast<double>(group.values.size()) / 2.0;
    for (std::size_t i = 0; i < group.values.size(); ++i, x += column) {
      inside += fmt::format(
          "<rect class=\"bar c{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"><title>{}, {}: "
          "{:.4g}</title></rect>\n",
          i, x + 1.0, y.at(group.values[i]), column - 2.0, y.from - y.at(group.values[i]), escaped(group.label),
          escaped(series[i]), group.values[i]);
    }
    inside += "<g class=\"axis\">" + text_at(middle, kHeight - kBottom + 16.0, "middle", group.label) + "</g>\n";
  }
  inside += "<g class=\"axis\">" + x_name(frame.x) + "</g>\n";
  return figure(frame, legend(series, {}), kHeight, inside);
}

}  // namespace llama_zero::lab
