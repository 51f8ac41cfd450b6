#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "launcher/lab/lab_chart.h"
#include "tests/unit/launcher/xml_check.h"

namespace llama_zero::lab {
namespace {

using test::XmlCheck;

/// The values of an attribute, in order.
std::vector<double> values_of(const std::string& text, const std::string& element, const std::string& attribute) {
  std::vector<double> values;
  for (std::size_t at = text.find(element); at != std::string::npos; at = text.find(element, at + 1)) {
    const std::size_t begin = text.find(" " + attribute + "=\"", at) + attribute.size() + 3;
    values.push_back(std::stod(text.substr(begin)));
  }
  return values;
}

}  // namespace

TEST_CASE("ticks are round, evenly spaced, and hold the range") {
  CHECK(ticks(0.0, 7.45, 4) == std::vector<double>{0.0, 2.0, 4.0, 6.0, 8.0});
  CHECK(ticks(0.0, 1.0, 5) == std::vector<double>{0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0});
  CHECK(ticks(3.0, 3.0, 5).size() >= 2);
  for (const double high : {1e-7, 0.3, 42.0, 99999.0, 1.1e11}) {
    const std::vector<double> values = ticks(0.0, high, 5);
    INFO(high);
    CHECK(values.front() <= 0.0);
    CHECK(values.back() >= high * (1.0 - 1e-9));
    CHECK(values.size() <= 7);
  }
}

TEST_CASE("charts are well-formed, whatever they are named, and when they are empty") {
  const Frame frame{"a < b & \"c\"", "x (ms)", "y (%)"};
  CHECK(XmlCheck::problem(line_chart(frame, {{"<1>", {{0, 1}, {1, 2}}}, {"&", {{0, 3}}, LineStyle::kPoints}})) == "");
  CHECK(XmlCheck::problem(bar_chart(frame, {"p<", "q&"}, {{"<bar>", {1.0, 0.0}, "1 < 2"}})) == "");
  CHECK(XmlCheck::problem(column_chart(frame, {"p<", "q&"}, {{"<g>", {1.0, 2.0}}})) == "");
  CHECK(XmlCheck::problem(line_chart(frame, {})) == "");
  CHECK(XmlCheck::problem(line_chart(frame, {{"one", {}}})) == "");
  CHECK(XmlCheck::problem(bar_chart(frame, {}, {})) == "");
  CHECK(XmlCheck::problem(column_chart(frame, {}, {})) == "");
}

TEST_CASE("axes are named with their units") {
  const std::string chart = line_chart({"title", "ranks", "tokens/s"}, {{"a", {{1, 1}, {2, 2}}}});
  CHECK(chart.find(">ranks</text>") != std::string::npos);
  CHECK(chart.find(">tokens/s</text>") != std::string::npos);
  CHECK(chart.find("<figcaption>title</figcaption>") != std::string::npos);
}

TEST_CASE("bars are as long and columns as high as their values") {
  const std::vector<double> wide = values_of(
      bar_chart({"", "MB", ""}, {"a", "b"}, {{"one", {2.0, 1.0}, ""}, {"two", {4.0, 0.0}, ""}}), "<rect", "width");
  REQUIRE(wide.size() == 3);  // a part of nothing has no bar
  CHECK(wide[0] == doctest::Approx(2.0 * wide[1]).epsilon(0.001));
  CHECK(wide[2] == doctest::Approx(4.0 * wide[1]).epsilon(0.001));
  const std::vector<double> high =
      values_of(column_chart({"", "", ""}, {"a"}, {{"one", {10.0}}, {"two", {30.0}}}), "<rect", "height");
  REQUIRE(high.size() == 2);
  CHECK(high[1] == doctest::Approx(3.0 * high[0]).epsilon(0.01));
}

TEST_CASE("columns of several charts share an axis when they are told its top") {
  const auto height = [](double y_to) {
    return values_of(column_chart({"", "", ""}, {"a"}, {{"one", {10.0}}}, y_to), "<rect", "height").front();
  };
  CHECK(height(20.0) == doctest::Approx(height(0.0) / 2.0).epsilon(0.01));
}

TEST_CASE("dots stand where their values are, larger values higher") {
  const std::string chart = line_chart({"", "", ""}, {{"a", {{1, 1}, {2, 3}, {3, 2}}, LineStyle::kSolid, true}});
  const std::vector<double> x = values_of(chart, "<circle", "cx"), y = values_of(chart, "<circle", "cy");
  REQUIRE(x.size() == 3);
  CHECK(x[1] - x[0] == doctest::Approx(x[2] - x[1]).epsilon(0.01));
  CHECK(y[0] - y[1] == doctest::Approx(2.0 * (y[0] - y[2])).epsilon(0.01));
  CHECK(y[1] < y[2]);
}

}  // namespace llama_zero::lab
