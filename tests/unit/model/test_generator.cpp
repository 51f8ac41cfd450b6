#include <doctest/doctest.h>

#include <algorithm>

#include "core/error.h"
#include "model/generator.h"
#include "tests/support/model_fixture.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

constexpr std::int32_t kNoToken = 508;

std::vector<TokenIds> make_prompts(const std::vector<int>& lengths) {
  std::vector<TokenIds> prompts;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Pass pass = make_pass({{lengths[i]}, 0, 1, 21}, 509, i);
    prompts.push_back(pass.tokens);
  }
  return prompts;
}

std::vector<TokenIds> generate(ModelFixture& model, const std::vector<TokenIds>& prompts,
                               const GeneratorOptions& options, const GenerationRequest& request) {
  const Arena::Scope scope(model.arena);
  Generator generator(model.table, options, *model.device, *model.ops, model.arena);
  return generator.generate(prompts, request, model.params, *model.stream);
}

GenerationRequest greedy(std::int64_t tokens) { return {tokens, {}, {}}; }

/// The slow way: the whole text through forward_logits for every token.
TokenIds generate_by_forward(ModelFixture& model, TokenIds text, std::int64_t tokens, double& smallest_margin) {
  TokenIds answer;
  for (std::int64_t step = 0; step < tokens; ++step) {
    Pass pass;
    pass.tokens = text;
    pass.targets.assign(text.size(), kIgnoreTarget);
    for (std::size_t i = 0; i < text.size(); ++i) pass.positions.push_back(static_cast<std::int32_t>(i));
    pass.cu_seqlens = {0, static_cast<std::int32_t>(text.size())};
    pass.attended_tokens = pass.longest = pass.tokens_count();
    const std::vector<double> logits = model.forward_logits(pass);
    std::vector<double> last(logits.end() - 509, logits.end());
    const auto best = std::max_element(last.begin(), last.end());
    answer.push_back(static_cast<std::int32_t>(best - last.begin()));
    text.push_back(answer.back());
    const double largest = *best;
    *best = -1e30;
    smallest_margin = std::min(smallest_margin, largest - *std::max_element(last.begin(), last.end()));
  }
  return answer;
}

}  // namespace

TEST_CASE("generation with a cache equals the argmax of the whole forward, step by step") {
  for (const std::int64_t kv_heads : {4, 2}) {
    ModelFixture model(small_config(kv_heads, kv_heads == 2));
    const std::vector<TokenIds> prompts = make_prompts({7, 1, 12, 4});
    const std::vector<TokenIds> answers = generate(model, prompts, {}, greedy(10));
    REQUIRE(answers.size() == prompts.size());
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      double margin = 1e30;
      const TokenIds expected = generate_by_forward(model, prompts[i], 10, margin);
      INFO("prompt " << i << ": smallest margin between the two largest logits " << margin);
      CHECK(margin > 1e-4);  // far above fp32 rounding: the comparison means something
      CHECK(answers[i] == expected);
    }
  }
}

TEST_CASE("answers do not depend on batch size or on how prompts are packed") {
  ModelFixture model(small_config(2));
  const std::vector<TokenIds> prompts = make_prompts({7, 3, 12, 4, 9});
  for (const SamplingOptions& sampling : {SamplingOptions{}, SamplingOptions{1.0, 0.9, 5}}) {
    const GenerationRequest request{8, {}, sampling};
    const std::vector<TokenIds> expected = generate(model, prompts, {}, request);
    for (const std::int64_t batch : {1, 2, 5}) {
      for (const std::int64_t prefill : {1, 11, 100}) {
        CHECK(generate(model, prompts, {DType::kF32, 0, batch, prefill}, request) == expected);
      }
    }
  }
}

TEST_CASE("an end token ends its sequence alone and is not part of the answer") {
  ModelFixture model(small_config());
  const std::vector<TokenIds> prompts = make_prompts({7, 3, 12});
  const std::vector<TokenIds> free = generate(model, prompts, {}, greedy(12));
  const std::int32_t end = free[2][4];
  GenerationRequest request = greedy(12);
  request.eos_token_ids = {kNoToken, end};
  const std::vector<TokenIds> answers = generate(model, prompts, {}, request);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto stop =
        std::min(std::find(free[i].begin(), free[i].end(), end), std::find(free[i].begin(), free[i].end(), kNoToken));
    CHECK(answers[i] == TokenIds(free[i].begin(), stop));
  }
  CHECK(answers[2].size() <= 4);
}

TEST_CASE("an answer ends where prompt and answer fill the positions") {
  ModelFixture model(small_config());
  const std::vector<TokenIds> prompts = make_prompts({7, 15});
  const std::vector<TokenIds> answers = generate(model, prompts, {DType::kF32, 16, 32, 2048}, greedy(100));
  CHECK(answers[0].size() == 9);
  CHECK(answers[1].size() == 1);
  CHECK(generate(model, make_prompts({60}), {}, greedy(100))[0].size() == 4);
}

TEST_CASE("16-bit models generate within their vocabulary, the same twice, and close to fp32 at first") {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    ModelFixture model(small_config(2), dtype);
    const std::vector<TokenIds> prompts = make_prompts({7, 3, 12});
    const std::vector<TokenIds> answers = generate(model, prompts, {dtype, 0, 32, 2048}, greedy(8));
    CHECK(generate(model, prompts, {dtype, 0, 2, 5}, greedy(8)) == answers);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      CHECK(answers[i].size() == 8);
      double margin = 1e30;
      CHECK(answers[i].front() == generate_by_forward(model, prompts[i], 1, margin).front());
    }
  }
}

TEST_CASE("samples differ by seed and repeat for the same seed") {
  ModelFixture model(small_config());
  const std::vector<TokenIds> prompts = make_prompts({7, 3});
  const GenerationRequest request{12, {}, {1.0, 1.0, 1}};
  GenerationRequest other = request;
  other.sampling.seed = 2;
  CHECK(generate(model, prompts, {}, request) == generate(model, prompts, {}, request));
  CHECK(generate(model, prompts, {}, request) != generate(model, prompts, {}, other));
}

TEST_CASE("the plan finds memory and workspace of a generation exactly") {
  ModelFixture model(small_config(2));
  const std::vector<TokenIds> prompts = make_prompts({7, 3, 12, 30});
  const GeneratorOptions options{DType::kF32, 0, 3, 16};
  const GenerationPlan plan = plan_generation(model.table, options, *model.ops, prompts, greedy(8));
  Arena arena(*model.device, plan.arena_bytes, "generation", {true});
  Arena workspace(*model.device, plan.workspace_bytes, "workspace", {true});
  model.ops->set_workspace(
      workspace.allocate("workspace", DType::kU8, static_cast<std::int64_t>(plan.workspace_bytes)));
  Generator generator(model.table, options, *model.device, *model.ops, arena);
  CHECK(generator.generate(prompts, greedy(8), model.params, *model.stream).size() == 4);
  CHECK(arena.report().peak_bytes == plan.arena_bytes);
}

TEST_CASE("no prompts give no answers") {
  ModelFixture model(small_config());
  CHECK(generate(model, {}, {}, greedy(8)).empty());
}

TEST_CASE("prompts and options that cannot be are refused") {
  ModelFixture model(small_config());
  const auto refused = [&](const std::vector<TokenIds>& prompts, const GeneratorOptions& options,
                           const GenerationRequest& request, const char* words) {
    CHECK_THROWS_WITH_AS(generate(model, prompts, options, request), doctest::Contains(words), Error);
  };
  refused({{1}, {}}, {}, greedy(8), "prompt 1 is empty");
  refused({{1, 509}}, {}, greedy(8), "prompt 0 has token 509");
  refused(make_prompts({64}), {}, greedy(8), "prompt 0 has 64 tokens and leaves none of 64 positions");
  refused({{1}}, {}, greedy(0), "max_new_tokens = 0");
  refused({{1}}, {DType::kF32, 65, 1, 1}, greedy(8), "max_positions = 65");
  refused({{1}}, {DType::kF32, 0, 0, 1}, greedy(8), "max_batch = 0");
  refused({{1}}, {DType::kF32, 0, 1, 0}, greedy(8), "prefill_tokens = 0");
}
