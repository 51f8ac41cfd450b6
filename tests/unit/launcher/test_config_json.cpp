#include <nlohmann/json.hpp>

#include "launcher/json_document.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

TEST_CASE("comments and trailing commas are blanked in place") {
  struct Case {
    std::string_view text, blanked;
  };
  const Case cases[] = {
      {"{\"a\":1,}", "{\"a\":1 }"},
      {"{\"a\":[1,2, ],\n}", "{\"a\":[1,2  ] \n}"},
      {"{#x\n\"a\":1}", "{  \n\"a\":1}"},
      {"{//x, \"b\"\n\"a\":1}", "{        \n\"a\":1}"},
      {"{/* x\ny */\"a\":1}", "{    \n    \"a\":1}"},
      {"{\"a\":1, /* last */ }", "{\"a\":1             }"},
      {"{\"a\":1, // last\n}", "{\"a\":1         \n}"},
      {"{\"a\":\"# // /* ,} \\\" ,]\"}", "{\"a\":\"# // /* ,} \\\" ,]\"}"},
      {"[,]", "[,]"},
      {"{\"a\":1,,}", "{\"a\":1,,}"},
      {"{\"a\":,}", "{\"a\":,}"},
  };
  for (const Case& c : cases) {
    std::string text(c.text);
    blank_comments(text, "f");
    CHECK(text == c.blanked);
  }
}

TEST_CASE("a comment that hides a byte pair at the end of the file is no overrun") {
  for (const std::string_view text : {"{\"a\":1}//", "{\"a\":1}#", "{\"a\":1}/**/"}) {
    CHECK(parse_json(text, "f").find("a") != nullptr);
  }
  CHECK(contains(message_of([] { parse_json("{\"a\":1}/*", "f"); }), "f:1:8: this comment does not end"));
  CHECK(contains(message_of([] { parse_json("{\"a\":\"x\\", "f"); }), "f:1:6: this string does not end"));
}

TEST_CASE("values keep type, order and line") {
  const JsonValue root = parse_json(R"({
  # a comment
  "b": 2e8, "a": 7,
  "t": [true, null, -1.5, "x\u0041\n"],
  "o": {"n": 9223372036854775807, "u": 18446744073709551615}
})",
                                    "f");
  REQUIRE(root.as_object()->size() == 4);
  CHECK(root.as_object()->at(0).key == "b");
  CHECK(*root.find("b")->as_double() == 2e8);
  CHECK(*root.find("a")->as_int() == 7);
  CHECK(root.find("a")->line == 3);
  const auto& list = *root.find("t")->as_array();
  CHECK(*list[0].as_bool());
  CHECK(list[1].is_null());
  CHECK(*list[2].as_double() == -1.5);
  CHECK(*list[3].as_string() == "xA\n");
  CHECK(root.find("o")->line == 5);
  CHECK(*root.find("o")->find("n")->as_int() == INT64_MAX);
  CHECK(*root.find("o")->find("u")->as_double() == 18446744073709551616.0);
  CHECK(to_json_text(*root.find("t")) == R"([true,null,-1.5,"xA\n"])");
}

TEST_CASE("errors of syntax name line and column") {
  struct Case {
    std::string_view text, message;
  };
  const Case cases[] = {
      {"", "f:1:1: the file is empty"},
      {"  # nothing\n", "the file is empty"},
      {"[1]", "f:1:1: a config is one JSON object"},
      {"{\n  \"a\": 1\n  \"b\": 2\n}", "f:3:3: not JSON"},
      {"{\n  \"a\" 1}", "f:2:"},
      {"{\n  a: 1}", "f:2:3: not JSON"},
      {"{\n  \"a\": tru}", "f:2:8: not"},
      {"{\n  \"a\": 01}", "f:2:8: not"},
      {"{\n  \"a\": 1.}", "f:2:8: not"},
      {"{\n  \"a\": nil}", "f:2:8: not"},
      {"{\"a\": [\n1, 2}", "f:2:5: this '}' cannot close the '[' of line 1"},
      {"{\"a\": 1", "f:1:1: this '{' is not closed"},
      {"{\"a\": 1}\n}", "f:2:1: this '}' closes nothing"},
      {"{\"a\": 1} {\"b\": 2}", "f:1:10: unexpected text"},
      {"{\"a\": 1,, \"b\": 2}", "f:1:"},
      {"{,}", "f:1:2: not JSON"},
      {"{\"a\": [1,,2]}", "f:1:"},
      {"{\"a\": \"x\ny\"}", "f:1:7: this string does not end on its line"},
      {"{\"a\": \"\\q\"}", "f:1:7: not JSON"},
      {"{\"a\": \"\xff\"}", "f:1"},
      {"{\n\"a\": {\"x\": 1,\n \"x\": 2}}", "f:3:2: duplicate key \"x\", first given on line 2"},
      {"{\"a\": 1, \"b\": 2,\n # \"a\": 3\n \"a\": 4}", "f:3:2: duplicate key \"a\""},
      {"{\"a\": 1, \"\\u0061\": 2}", "duplicate key \"a\""},
      {"{\"fp16\": {\"\\na-bled\": 1}}", "f:1:11: a key holds a control character"},
  };
  for (const Case& c : cases) {
    const std::string message = message_of([&] { parse_json(c.text, "f"); });
    INFO(c.text, " -> ", message);
    CHECK(contains(message, c.message));
  }
}

TEST_CASE("deep nesting is an error, not a crash") {
  const std::string text = "{\"a\":" + std::string(500, '[') + std::string(500, ']') + "}";
  CHECK(contains(message_of([&] { parse_json(text, "f"); }), "nested too deeply"));
}

TEST_CASE("a byte order mark is skipped") { CHECK(parse_json("\xEF\xBB\xBF{\"a\": 1}", "f").find("a") != nullptr); }

TEST_CASE("a command line value is JSON where it parses and a string elsewhere") {
  CHECK(*parse_json_value("8", "f").as_int() == 8);
  CHECK(*parse_json_value("2e-5", "f").as_double() == 2e-5);
  CHECK(*parse_json_value("true", "f").as_bool());
  CHECK(parse_json_value("null", "f").is_null());
  CHECK(*parse_json_value("auto", "f").as_string() == "auto");
  CHECK(*parse_json_value("\"8\"", "f").as_string() == "8");
  CHECK(*parse_json_value("a,b", "f").as_string() == "a,b");
  CHECK(*parse_json_value("1, \"x\": 2", "f").as_string() == "1, \"x\": 2");
  CHECK(*parse_json_value("", "f").as_string() == "");
  CHECK(parse_json_value("[0.9, 0.95]", "f").as_array()->size() == 2);
  CHECK(parse_json_value("{\"device\": \"cpu\"}", "f").is_object());
  CHECK(contains(message_of([] { parse_json_value("[1", "--set"); }), "--set: \"[1\" is not JSON"));
}

TEST_CASE("--set text splits at its first equals sign") {
  const ConfigOverride item = parse_set("llama_zero.data=a=b.json");
  CHECK(item.key == "llama_zero.data");
  CHECK(item.value == "a=b.json");
  CHECK(item.flag == "--set");
  CHECK(contains(message_of([] { parse_set("stage"); }), "path.to.key=value expected"));
  CHECK(contains(message_of([] { parse_set("=3"); }), "path.to.key=value expected"));
}

TEST_CASE("merging sets, makes and joins sections") {
  JsonValue root = parse_json(R"({"a": {"x": 1, "y": 2}, "s": 3})", "f");
  merge_at(root, "a.x", JsonValue(std::int64_t{9}));
  merge_at(root, "b.c.d", JsonValue(true));
  merge_at(root, "a", parse_json(R"({"y": {"k": 1}, "z": 5})", "f"));
  CHECK(to_json_text(root) == R"({"a":{"x":9,"y":{"k":1},"z":5},"s":3,"b":{"c":{"d":true}}})");
  CHECK(contains(message_of([&] { merge_at(root, "s.t", JsonValue(true)); }), "is an integer, not a section"));
  CHECK(contains(message_of([&] { merge_at(root, "a..b", JsonValue(true)); }), "not a key path"));
}
