#include <doctest/doctest.h>

#include <numeric>
#include <string>

#include "launcher/plan_case.h"
#include "launcher/plan_table.h"

using namespace llama_zero;

namespace {

PlanCase case_of(std::int64_t micro, std::int64_t accumulation, std::int64_t row) {
  PlanCase plan_case;
  plan_case.micro_batch = micro;
  plan_case.accumulation = accumulation;
  plan_case.longest_row = row;
  plan_case.max_tokens_per_pass = 4096;
  return plan_case;
}

std::int64_t documents(const Pass& pass) { return static_cast<std::int64_t>(pass.cu_seqlens.size()) - 1; }

MemoryReport three_labels() {
  MemoryReport report;
  report.at_peak = report.peak_by_label = {{"activations", 30}, {"optimizer", 60}, {"weights", 10}};
  report.peak_bytes = 100;
  return report;
}

}  // namespace

TEST_CASE("a coalesced step that fits is one pass of all rows at full length") {
  const auto step = largest_step(case_of(2, 3, 100));
  REQUIRE(step.size() == 1);
  CHECK(step[0].attended_tokens == 600);
  CHECK(step[0].tokens_count() == 768);
  CHECK(step[0].rows == 6);
  CHECK(step[0].longest == 100);
  CHECK(documents(step[0]) == 7);  // and the padding
}

TEST_CASE("a coalesced step that does not fit is two passes of the limit, with as many documents as rows can meet") {
  const auto step = largest_step(case_of(8, 100, 512));
  REQUIRE(step.size() == 2);
  for (const Pass& pass : step) {
    CHECK(pass.tokens_count() == 4096);
    CHECK(pass.longest == 512);
    CHECK(documents(pass) == 4096 / 32);
  }
}

TEST_CASE("literal micro-steps are one pass for each micro-batch, two at most") {
  PlanCase plan_case = case_of(4, 1, 1000);
  plan_case.coalesce = false;
  CHECK(largest_step(plan_case).size() == 1);
  CHECK(largest_step(plan_case)[0].attended_tokens == 4000);
  plan_case.accumulation = 9;
  plan_case.max_tokens_per_pass = 1;  // not looked at
  CHECK(largest_step(plan_case).size() == 2);
}

TEST_CASE("documents of the synthetic pass fill it exactly, none longer than the longest row") {
  for (const std::int64_t row : {1, 31, 255, 1000, 4096}) {
    const Pass pass = largest_step(case_of(16, 16, row)).front();
    INFO("rows of " << row);
    CHECK(pass.cu_seqlens.front() == 0);
    CHECK(pass.cu_seqlens.back() == pass.tokens_count());
    for (std::size_t i = 1; i < pass.cu_seqlens.size(); ++i) {
      CHECK(pass.cu_seqlens[i] > pass.cu_seqlens[i - 1]);
      if (pass.cu_seqlens[i] <= pass.attended_tokens) CHECK(pass.cu_seqlens[i] - pass.cu_seqlens[i - 1] <= row);
    }
  }
}

TEST_CASE("a pass limit below the longest row is refused with the least that would do") {
  PlanCase plan_case = case_of(8, 100, 5000);
  std::string message;
  try {
    largest_step(plan_case);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message.find("raise it to 5120 at least") != std::string::npos);
}

TEST_CASE("the table lists labels by size, with a host column only where something is there") {
  const std::string one = format_forecast({three_labels(), {}});
  CHECK(one.find("optimizer") < one.find("activations"));
  CHECK(one.find("activations") < one.find("weights"));
  CHECK(one.find("host") == std::string::npos);
  CHECK(format_forecast({three_labels(), three_labels()}).find("host") != std::string::npos);
}
