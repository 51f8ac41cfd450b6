// What does not change the numbers: checkpointing modes, chunks of logits, padding, packing, threads.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/model_fixture.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

const PassShape kShape{{9, 4, 12}, 5, 1, 8};
constexpr auto kSelective = ActivationCheckpointing::kSelective;

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace

TEST_CASE("all checkpointing modes give the same bits") {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const bool tied : {false, true}) {
      ModelFixture model(small_config(2, tied), dtype);
      const Pass pass = make_pass(kShape, 509);
      CatchingSink none(model.table, dtype);
      CatchingSink selective(model.table, dtype);
      CatchingSink full(model.table, dtype);
      const double loss = model.forward_backward(pass, none, model.options(ActivationCheckpointing::kNone, 8));
      CHECK(model.forward_backward(pass, selective, model.options(ActivationCheckpointing::kSelective, 8)) == loss);
      CHECK(model.forward_backward(pass, full, model.options(ActivationCheckpointing::kFull, 8)) == loss);
      CHECK(model.forward_loss(pass, 8) == loss);
      CHECK(std::isfinite(loss));
      CHECK(none.bytes() == selective.bytes());
      CHECK(none.bytes() == full.bytes());
    }
  }
}

TEST_CASE("every element of every gradient is written") {
  ModelFixture model(small_config());
  CatchingSink sink(model.table, DType::kF32);
  model.forward_backward(make_pass(kShape, 509), sink, model.options());
  for (int unit = 0; unit < model.table.unit_count(); ++unit) {
    for (const double value : sink.values(unit)) REQUIRE(std::isfinite(value));
  }
}

TEST_CASE("checkpointing keeps less, in the promised order, and gives all of it back") {
  const auto peak = [](ActivationCheckpointing mode) {
    ModelFixture model(small_config());
    CatchingSink sink(model.table, DType::kF32);
    const std::size_t before = model.arena.report().current_bytes;
    model.forward_backward(make_pass(kShape, 509), sink, model.options(mode));
    CHECK(model.arena.report().current_bytes == before);
    return model.arena.report().peak_by_label.at("activations");
  };
  const std::size_t none = peak(ActivationCheckpointing::kNone);
  const std::size_t selective = peak(ActivationCheckpointing::kSelective);
  const std::size_t full = peak(ActivationCheckpointing::kFull);
  CHECK(none > selective);
  CHECK(selective > full);
}

TEST_CASE("the size of the logits chunks changes no loss, and gradients by rounding alone") {
  ModelFixture model(small_config());
  const Pass pass = make_pass(kShape, 509);
  CatchingSink whole(model.table, DType::kF32);
  const double loss = model.forward_backward(pass, whole, model.options(kSelective, 4096));
  for (const std::int64_t chunk : {1, 7, 16, 30}) {
    CatchingSink chunked(model.table, DType::kF32);
    // The same dot products in another grouping of rows: fp32 sums of at most 509 terms.
    const double tolerance = 509 * epsilon_of(DType::kF32);
    CHECK(model.forward_backward(pass, chunked, model.options(kSelective, chunk)) ==
          doctest::Approx(loss).epsilon(1e-6));
    for (int unit = 0; unit < model.table.unit_count(); ++unit) {
      const double error = distance(chunked.values(unit), whole.values(unit));
      INFO("chunk " << chunk << ", unit " << unit << ": " << error << ", tolerance " << tolerance);
      CHECK(error < tolerance);
    }
  }
}

TEST_CASE("16-bit head gradients over several chunks are rounded once") {
  const LlamaConfig config = small_config();
  ModelFixture model(config, DType::kBF16);
  const Pass pass = make_pass(kShape, 509);
  CatchingSink rounded(model.table, DType::kBF16);
  CatchingSink exact(model.table, DType::kF32);
  model.forward_backward(pass, rounded, model.options(kSelective, 4));
  model.forward_backward(pass, exact, model.options(kSelective, 4));
  const Param& head = model.table.find(model.table.head_unit(), "lm_head");
  const auto bits = rounded.view(head.unit).slice(head.offset, head.numel());
  const auto sums = exact.view(head.unit).slice(head.offset, head.numel());
  for (std::int64_t i = 0; i < head.numel(); ++i) {
    REQUIRE(bits.span<BFloat16>()[static_cast<std::size_t>(i)].bits ==
            BFloat16(sums.span<float>()[static_cast<std::size_t>(i)]).bits);
  }
}

TEST_CASE("accumulating two passes gives the sum of their gradients") {
  for (const bool tied : {false, true}) {
    ModelFixture model(small_config(4, tied), DType::kF64);
    const Pass first = make_pass({{9, 4}, 0, 1, 1}, 509);
    const Pass second = make_pass({{5, 8}, 2, 1, 2}, 509);
    CatchingSink a(model.table, DType::kF64);
    CatchingSink b(model.table, DType::kF64);
    CatchingSink both(model.table, DType::kF64);
    model.forward_backward(first, a, model.options(kSelective, 6));
    model.forward_backward(second, b, model.options(kSelective, 6));
    model.forward_backward(first, both, model.options(kSelective, 6));
    both.set_accumulate(true);
    model.forward_backward(second, both, model.options(kSelective, 6));
    for (int unit = 0; unit < model.table.unit_count(); ++unit) {
      std::vector<double> sum = a.values(unit);
      const std::vector<double> more = b.values(unit);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
      CHECK(distance(both.values(unit), sum) < 1e-14);
    }
  }
}

TEST_CASE("a padding document changes neither loss nor gradient") {
  ModelFixture model(small_config(), DType::kF64);
  PassShape shape = kShape;
  shape.padding = 0;
  CatchingSink bare(model.table, DType::kF64);
  const double loss = model.forward_backward(make_pass(shape, 509), bare, model.options());
  for (const int padding : {1, 40}) {
    shape.padding = padding;
    CatchingSink padded(model.table, DType::kF64);
    CHECK(model.forward_backward(make_pass(shape, 509), padded, model.options()) ==
          doctest::Approx(loss).epsilon(1e-14));
    for (int unit = 0; unit < model.table.unit_count(); ++unit) {
      CHECK(distance(padded.values(unit), bare.values(unit)) < 1e-14);
    }
  }
}

TEST_CASE("a pass of padding alone has loss zero and gradient zero") {
  ModelFixture model(small_config());
  CatchingSink sink(model.table, DType::kF32);
  CHECK(model.forward_backward(make_pass({{}, 16, 1, 1}, 509), sink, model.options()) == 0.0);
  for (int unit = 0; unit < model.table.unit_count(); ++unit) {
    for (const double value : sink.values(unit)) REQUIRE(value == 0.0);
  }
}

TEST_CASE("a document's loss is the same alone and packed with others") {
  ModelFixture model(small_config(2), DType::kF64);
  const double packed = model.forward_loss(make_pass({{9, 4, 12}, 3, 1, 8}, 509));
  double alone = 0.0;
  int document = 0;
  for (const int length : {9, 4, 12}) {
    alone += model.forward_loss(make_pass({{length}, 0, 1, 8}, 509, static_cast<std::uint64_t>(document++)));
  }
  CHECK(packed == doctest::Approx(alone).epsilon(1e-13));
}

TEST_CASE("a later token changes no earlier logit, an earlier one changes later ones") {
  ModelFixture model(small_config(2), DType::kF64);
  Pass pass = make_pass({{8, 6}, 0, 1, 4}, 509);
  const std::vector<double> before = model.forward_logits(pass);
  pass.tokens[5] = (pass.tokens[5] + 1) % 509;
  const std::vector<double> after = model.forward_logits(pass);
  for (std::size_t token = 0; token < 14; ++token) {
    const bool same = std::equal(before.begin() + static_cast<std::ptrdiff_t>(token * 509),
                                 before.begin() + static_cast<std::ptrdiff_t>((token + 1) * 509),
                                 after.begin() + static_cast<std::ptrdiff_t>(token * 509));
    CHECK(same == (token < 5 || token >= 8));
  }
}

TEST_CASE("losses and gradients do not depend on the number of threads") {
  ModelFixture one(small_config(2), DType::kF32);
  ModelFixture four(small_config(2), DType::kF32);
  for (ModelFixture* model : {&one, &four}) {
    model->ops = make_cpu_ops(model == &one ? 1 : 4);
    model->ops->set_workspace(model->arena.allocate("workspace", DType::kU8, std::int64_t{8} << 20));
  }
  const Pass pass = make_pass(kShape, 509);
  CatchingSink a(one.table, DType::kF32);
  CatchingSink b(four.table, DType::kF32);
  CHECK(one.forward_backward(pass, a, one.options()) == four.forward_backward(pass, b, four.options()));
  CHECK(a.bytes() == b.bytes());
}
