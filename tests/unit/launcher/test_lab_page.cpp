#include <doctest/doctest.h>
#include <fmt/format.h>

#include <stdexcept>
#include <string>

#include "launcher/lab/lab_parts.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/launcher/lab_folder.h"
#include "tests/unit/launcher/xml_check.h"

namespace llama_zero::lab {
namespace {

using test::LabRunFiles;
using test::TemporaryFolder;
using test::write_lab_file;
using test::write_lab_run;
using test::XmlCheck;

const Table& table_of(const Section& section, const std::string& name) {
  for (const auto& [file, table] : section.tables()) {
    if (file == name) return table;
  }
  throw std::runtime_error("no table " + name);
}

std::string alone(const Section& section) { return page({"tiny <1>", "CPU & more", "2"}, {section}); }

const char* const kAnswers = R"({"loss": 0.5, "exact_match": 75.0, "answers": [
  {"instruction": "Say <b>", "input": "x & y", "expected": "b", "answer": "\u0007b"}]})";

}  // namespace

TEST_CASE("the training part has both runs' losses and the answers before and after") {
  const TemporaryFolder folder;
  write_lab_run(folder / "zero2", {.stage = 2});
  write_lab_run(folder / "zero3", {.stage = 3});
  for (const char* name : {"before", "zero2", "zero3"}) {
    write_lab_file(folder / fmt::format("answers-{}.json", name), kAnswers);
  }
  const Section section = training_section(folder.path(), read_runs(folder.path()));
  CHECK(XmlCheck::problem(alone(section)) == "");
  CHECK(section.html().find("At all 5 steps both runs have the same loss") != std::string::npos);
  const Table& runs = table_of(section, "training");
  REQUIRE(runs.rows.size() == 2);
  CHECK(runs.rows[1][3] == "6.000");
  CHECK(runs.rows[1][4] == "2.000");
  CHECK(runs.rows[1][6] == "75.0");
  CHECK(table_of(section, "answers").rows.front().front() == "Say <b> | x & y");
  CHECK(section.headlines().front().value == "0.50 → 0.50");
}

TEST_CASE("the memory part sets the prediction beside the measurement and both beside the formula") {
  const TemporaryFolder folder;
  write_lab_run(folder / "stage0", {.stage = 0, .ranks = 2, .planned = 2000000, .measured = 2000000});
  write_lab_run(folder / "stage2",
                {.stage = 2, .ranks = 2, .offload = true, .planned = 500000, .measured = 500000, .host = 1500000});
  write_lab_run(folder / "stage3", {.stage = 3, .ranks = 2, .planned = 1000000, .measured = 1010000});
  const Section section = memory_section(read_runs(folder.path()));
  CHECK(XmlCheck::problem(alone(section)) == "");
  const Table& stages = table_of(section, "memory_stages");
  REQUIRE(stages.rows.size() == 3);
  CHECK(stages.rows[1] ==
        std::vector<std::string>{"ZeRO-3", "1.00", "1.01", "+1.00 %", "0.00", "0.00", "0.00", "0.51", "-49.50 %"});
  CHECK(stages.rows[2] == std::vector<std::string>{"ZeRO-2 + offload", "0.50", "0.50", "0.00 %", "1.50", "1.50", "0.00",
                                                   "1.75", "-75.00 %"});
  CHECK(section.headlines().front().value == "1.00 %");
  const Table& labels = table_of(section, "memory_labels");
  CHECK(labels.rows.front() == std::vector<std::string>{"weights", "1.00", "1.00", "0.50", "0.51", "0.25", "0.25"});
  CHECK(labels.rows.back().front() == "weights");
  CHECK(labels.rows.back().back() == "0.75");
}

TEST_CASE("a run that did not fit stands in the memory part as planned, without a measurement") {
  const TemporaryFolder folder;
  write_lab_file(folder / "stage0" / "command.txt", "llama_zero");
  write_lab_file(folder / "stage0" / "failed.txt", "does not fit");
  write_lab_file(folder / "stage0" / "words.txt", "1\n--model\nllama2-7b\n--device\ncpu\n--precision\nfp16\n");
  write_lab_run(folder / "stage3", {.stage = 3, .planned = 1000000, .measured = 1000000});
  const Section section = memory_section(read_runs(folder.path()));
  CHECK(XmlCheck::problem(alone(section)) == "");
  const Table& stages = table_of(section, "memory_stages");
  REQUIRE(stages.rows.size() == 2);
  CHECK(stages.rows[0][0] == "standard (stage 0) (planned: it did not run)");
  CHECK(std::stod(stages.rows[0][1]) > 16.0 * 6476.0);
  CHECK(stages.rows[0][2] == "-");
  CHECK(stages.rows[1][2] == "1.00");
  CHECK(stages.rows[1][8] == "-100.00 %");
}

TEST_CASE("the sweep compares pairs of runs that differ in one switch") {
  const TemporaryFolder folder;
  write_lab_run(folder / "a", {.stage = 2, .tokens_per_second = 1000.0, .wait_ms = 2.0});
  write_lab_run(folder / "b",
                {.stage = 2, .offload = true, .tokens_per_second = 900.0, .measured = 400, .host = 3000000});
  write_lab_run(folder / "c", {.stage = 2, .overlap = true, .tokens_per_second = 1100.0, .wait_ms = 1.0});
  write_lab_file(folder / "d" / "command.txt", "llama_zero");
  write_lab_file(folder / "d" / "failed.txt", "does not fit");
  const Section section = sweep_section(read_runs(folder.path()));
  CHECK(XmlCheck::problem(alone(section)) == "");
  const Table& effects = table_of(section, "sweep_effects");
  REQUIRE(effects.rows.size() == 2);
  CHECK(effects.rows[0][3] == "-10.0");
  CHECK(effects.rows[0][6] == "+3.00");
  CHECK(effects.rows[1][3] == "+10.0");
  CHECK(effects.rows[1][7] == "-10.0");
  const Table& sweep = table_of(section, "sweep");
  REQUIRE(sweep.rows.size() == 4);
  CHECK(sweep.rows[3][10] == "3.00");
  CHECK(sweep.rows[0].back() == "does not fit");
}

TEST_CASE("the scaling part sets speed beside the lab's guesses, and what a rank sends beside its parameters") {
  const TemporaryFolder folder;
  write_lab_run(folder / "a", {.stage = 2, .ranks = 1, .tokens_per_second = 1000.0});
  write_lab_run(folder / "b",
                {.stage = 2, .ranks = 4, .tokens_per_second = 3000.0, .comm_ms = 1.0, .wait_ms = 0.5, .gathered = 250});
  const Section section = scaling_section(read_runs(folder.path()));
  CHECK(XmlCheck::problem(alone(section)) == "");
  const std::vector<std::string>& four = table_of(section, "scaling").rows.at(1);
  CHECK(four[4] == "3.00");
  CHECK(four[5] == "3.6");
  CHECK(four[6] == "75");
  CHECK(four[7] == "10.0");
  CHECK(four[8] == "5.0");
  CHECK(section.headlines().front().value == "3.00×");
  const Table& sent = table_of(section, "collectives");
  REQUIRE(sent.rows.size() == 1);
  CHECK(sent.rows[0][3] == "2.0");
  CHECK(sent.rows[0][5] == "1.50");  // a piece of 50 bytes a step to three others, of 100 parameters
}

TEST_CASE("on one rank the parts show no speed-up and no communication, and say why stages are alike") {
  const TemporaryFolder folder;
  write_lab_run(folder / "a", {.stage = 0, .ranks = 1});
  write_lab_run(folder / "b", {.stage = 3, .ranks = 1});
  const std::vector<Run> one = read_runs(folder.path());
  const Section scaling = scaling_section(one);
  CHECK(XmlCheck::problem(alone(scaling)) == "");
  CHECK(scaling.html().find("There was one rank") != std::string::npos);
  CHECK(scaling.html().find("Speed against one rank") == std::string::npos);
  CHECK(scaling.html().find("Time in collectives") == std::string::npos);
  CHECK(scaling.tables().size() == 1);
  CHECK(memory_section(one).html().find("nobody to share with") != std::string::npos);
  CHECK(sweep_section(one).html().find("One rank sends nothing") != std::string::npos);
  write_lab_run(folder / "c", {.stage = 3, .ranks = 2, .gathered = 100});
  const std::vector<Run> two = read_runs(folder.path());
  CHECK(scaling_section(two).html().find("Speed against one rank") != std::string::npos);
  CHECK(scaling_section(two).tables().size() == 2);
  CHECK(memory_section(two).html().find("nobody to share with") == std::string::npos);
}

TEST_CASE("the part of 7B corrects the lab, and has measurements where runs were of that model") {
  const TemporaryFolder folder;
  write_lab_run(folder / "a",
                {.stage = 2, .micro = 1, .accumulation = 2, .measured = 27000000000, .parameters = 6738415616});
  write_lab_run(folder / "b", {.stage = 3, .micro = 1, .accumulation = 2, .measured = 27000000000});
  const Section section = seven_billion_section(read_runs(folder.path()));
  CHECK(XmlCheck::problem(alone(section)) == "");
  CHECK(table_of(section, "lab_corrections").rows.at(2).at(2) == "107.8 GB");
  const Table& plan = table_of(section, "llama2_7b_plan");
  REQUIRE(plan.rows.size() >= 4);
  const double standard = std::stod(plan.rows[0][1]), zero3_of_8 = std::stod(plan.rows[3][4]);
  CHECK(standard > 107.8);
  CHECK(zero3_of_8 > 107.8 / 8.0);
  CHECK(zero3_of_8 < standard / 4.0);
  CHECK(plan.rows[2][1].ends_with("; measured 27.0"));
  CHECK(plan.rows[2][2].find("measured") == std::string::npos);
  CHECK(plan.rows[3][1].find("measured") == std::string::npos);
  CHECK(section.html().find("billion parameters in place of") == std::string::npos);
}

TEST_CASE("runs of the preset of 7B with a smaller vocabulary stand beside their own plans") {
  const TemporaryFolder folder;
  write_lab_run(folder / "a", {.stage = 2,
                               .micro = 1,
                               .accumulation = 2,
                               .planned = 26000000000,
                               .measured = 25900000000,
                               .parameters = 6484000000});
  std::vector<Run> runs = read_runs(folder.path());
  runs.front().model = "llama2-7b";
  const Section section = seven_billion_section(runs);
  CHECK(XmlCheck::problem(alone(section)) == "");
  CHECK(table_of(section, "llama2_7b_plan").rows[2][1].ends_with("; measured 25.9 of 26.0 planned"));
  CHECK(section.html().find("6.48 billion parameters in place of 6.74") != std::string::npos);
}

TEST_CASE("parts whose runs all failed, and the page, need no figure") {
  const TemporaryFolder folder;
  write_lab_file(folder / "zero2" / "command.txt", "llama_zero & <x>");
  write_lab_file(folder / "zero2" / "failed.txt", "no <memory>");
  const std::vector<Run> runs = read_runs(folder.path());
  for (const Section& section :
       {training_section(folder.path(), runs), memory_section(runs), sweep_section(runs), scaling_section(runs)}) {
    INFO(section.title());
    CHECK(XmlCheck::problem(alone(section)) == "");
    CHECK(section.html().find("no &lt;memory&gt;") != std::string::npos);
  }
}

TEST_CASE("a part that was left out, or not come to, says so, with what was planned") {
  const TemporaryFolder folder;
  write_lab_file(folder / "stage0" / "command.txt", "llama_zero");
  write_lab_file(folder / "stage0" / "failed.txt", "left out: the 5 s of LAB_BUDGET were over\n");
  write_lab_file(folder / "stage0" / "words.txt", "1\n--model\ntiny\n--device\ncpu\n--precision\nfp16\n--no-export\n");
  write_lab_run(folder / "stage3", {.stage = 3});
  const std::vector<Run> runs = read_runs(folder.path());
  for (const Section& section :
       {training_section(folder.path(), runs), memory_section(runs), sweep_section(runs), scaling_section(runs)}) {
    INFO(section.title());
    CHECK(XmlCheck::problem(alone(section)) == "");
    CHECK(section.html().find("1 of 2 runs left out: the 5 s of LAB_BUDGET were over: <code>stage0</code>.") !=
          std::string::npos);
    CHECK(section.html().find("did not run: left out") == std::string::npos);
  }
  CHECK(table_of(memory_section(runs), "memory_stages").rows[0][0] == "standard (stage 0) (planned: left out)");
  for (const Section& section : {report_section(folder.path()), training_section(folder.path(), {}), memory_section({}),
                                 sweep_section({}), scaling_section({})}) {
    INFO(section.title());
    CHECK(XmlCheck::problem(alone(section)) == "");
    CHECK(section.tables().empty());
    const bool says = section.html().find("No run of this part was begun") != std::string::npos;
    CHECK(says == (section.id() != "report"));
  }
}

TEST_CASE("a model that was not asked has the reason in place of answers") {
  const TemporaryFolder folder;
  write_lab_run(folder / "zero2", {.stage = 2});
  write_lab_file(folder / "not-asked.txt", "Its weights are random.\n");
  const Section section = training_section(folder.path(), read_runs(folder.path()));
  CHECK(XmlCheck::problem(alone(section)) == "");
  CHECK(section.html().find("<p>Its weights are random.") != std::string::npos);
  CHECK(section.headlines().empty());
}

TEST_CASE("the sweep has a chart for the switches that several runs were made of") {
  const TemporaryFolder folder;
  write_lab_run(folder / "a", {.stage = 2, .micro = 1, .overlap = true});
  write_lab_run(folder / "b", {.stage = 2, .micro = 2, .overlap = true});
  write_lab_run(folder / "c", {.stage = 2, .micro = 2, .overlap = false});
  const std::string html = sweep_section(read_runs(folder.path())).html();
  CHECK(html.find("Offload off, overlap on</figcaption>") != std::string::npos);
  CHECK(html.find("Offload off, overlap off</figcaption>") == std::string::npos);
}

TEST_CASE("the page takes nothing from the network and runs nothing") {
  Section section("one", "One");
  section.paragraph("Words and `code < more`.");
  section.command("llama_zero --set a<b");
  section.terminal("a report", "a < b\n\x1b[1m");
  section.table("t", {"T", {{"x"}}, {{"1"}}}, true);
  const std::string html = alone(section);
  CHECK(XmlCheck::problem(html) == "");
  CHECK(html.find("<code>code &lt; more</code>") != std::string::npos);
  CHECK(html.find("<span>llama_zero</span> <span>--set a&lt;b</span>") != std::string::npos);
  for (const char* outside : {"<script", "src=", "@import", "url(", "<link", "https://"}) {
    INFO(outside);
    CHECK(html.find(outside) == std::string::npos);
  }
}

}  // namespace llama_zero::lab
