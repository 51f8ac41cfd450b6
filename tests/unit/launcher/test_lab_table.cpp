#include <doctest/doctest.h>

#include <string>

#include "launcher/lab/lab_table.h"
#include "tests/unit/launcher/xml_check.h"

namespace llama_zero::lab {
namespace {

using test::XmlCheck;

Table sample() { return {"Speed & size", {{"run", false}, {"step (ms)"}}, {{"a, \"b\" <c>", "1.5"}, {"é", "120.25"}}}; }

}  // namespace

TEST_CASE("the check of well-formedness finds what is not") {
  CHECK(XmlCheck::problem("<!DOCTYPE html>\n<a b=\"1\"><c d=\"x &amp; y\" />text</a>\n").empty());
  for (const char* bad : {"<a>", "<a></b>", "<a><b></a></b>", "<a b=\"1\" b=\"2\"></a>", "<a>x & y</a>", "<a b=1></a>",
                          "<a></a><a></a>", "text", "<a b=\"<\"></a>", "<a>\x01</a>"}) {
    INFO(bad);
    CHECK_FALSE(XmlCheck::problem(bad).empty());
  }
}

TEST_CASE("a table as text has numbers to the right, and counts letters, not bytes") {
  CHECK(as_text(sample()) ==
        "Speed & size\n"
        "  run         step (ms)\n"
        "  a, \"b\" <c>        1.5\n"
        "  é              120.25\n");
}

TEST_CASE("a table as CSV quotes what would break a cell") {
  CHECK(as_csv(sample()) == "run,step (ms)\n\"a, \"\"b\"\" <c>\",1.5\né,120.25\n");
  const Table lines{"", {{"x", false}}, {{"two\nlines"}}};
  CHECK(as_csv(lines) == "x\n\"two\nlines\"\n");
}

TEST_CASE("a table as HTML is well-formed, whatever stands in its cells") {
  Table table = sample();
  table.rows.push_back({"\x1b[31m</td>&'", "\"\""});
  const std::string html = as_html(table);
  CHECK(XmlCheck::problem(html) == "");
  CHECK(html.find("a, &quot;b&quot; &lt;c&gt;") != std::string::npos);
  CHECK(html.find("?[31m&lt;/td&gt;&amp;'") != std::string::npos);
  CHECK(html.find("<p class=\"title\">Speed &amp; size</p>") != std::string::npos);
}

}  // namespace llama_zero::lab
