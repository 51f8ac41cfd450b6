// What the loss tokens of a batch count: the same each, or the same for each micro-batch.
#include <doctest/doctest.h>

#include <map>

#include "data/loader.h"
#include "data_fixtures.h"

namespace llama_zero {
namespace {

using test::RowShape;

/// Loss tokens of rows 0 .. 6: 2, 4, 8, 1, 3, 5, 7 (a row's tokens less its prompt's).
const std::vector<RowShape> kRows = {{12, 10}, {14, 10}, {18, 10}, {11, 10}, {13, 10}, {15, 10}, {17, 10}};

LoaderOptions options_of(bool coalesce, bool mean_of_micro_batches) {
  LoaderOptions options;
  options.micro_batch = 2;
  options.accumulation = 1;
  options.ranks = 2;
  options.global_batch = 4;
  options.shuffle = false;
  options.max_tokens_per_pass = 2048;
  options.coalesce = coalesce;
  options.mean_of_micro_batches = mean_of_micro_batches;
  return options;
}

/// The weight of each row's loss tokens, over all ranks; checks that it is one for the row, and zero for padding.
std::map<std::int64_t, float> weights_of(const std::vector<GlobalBatch>& batches) {
  std::map<std::int64_t, float> weights;
  for (const GlobalBatch& batch : batches) {
    for (const Pass& pass : batch.passes) {
      REQUIRE(pass.loss_weights.size() == pass.tokens.size());
      for (std::size_t d = 0; d + 1 < pass.cu_seqlens.size(); ++d) {
        const auto begin = static_cast<std::size_t>(pass.cu_seqlens[d]);
        const auto end = static_cast<std::size_t>(pass.cu_seqlens[d + 1]);
        const bool padding = static_cast<std::int64_t>(begin) >= pass.attended_tokens;
        const float weight = pass.loss_weights[begin];
        for (std::size_t i = begin; i < end; ++i) CHECK(pass.loss_weights[i] == weight);
        if (padding) CHECK(weight == 0.0F);
        if (!padding) weights[(pass.tokens[begin] - 1) / 7] = weight;
      }
    }
  }
  return weights;
}

}  // namespace

TEST_CASE("with the mean of micro-batch means each micro-batch counts once, whatever passes its rows are in") {
  const test::TemporaryFolder folder;
  test::write_token_file(folder.path() / "rows.lztok", kRows);
  const TokenFile file(folder.path() / "rows.lztok");
  for (const bool coalesce : {true, false}) {
    CAPTURE(coalesce);
    LoaderOptions options = options_of(coalesce, true);
    std::vector<Loader> loaders;
    for (options.rank = 0; options.rank < 2; ++options.rank) loaders.emplace_back(file, options);
    const auto next = [&] { return std::vector<GlobalBatch>{loaders[0].next(), loaders[1].next()}; };

    // Micro-batches {0, 1} of 6 loss tokens and {2, 3} of 9.
    const std::vector<GlobalBatch> first = next();
    CHECK(first[0].loss_weight == 2.0);
    CHECK(weights_of(first) ==
          std::map<std::int64_t, float>{{0, 1.0F / 6.0F}, {1, 1.0F / 6.0F}, {2, 1.0F / 9.0F}, {3, 1.0F / 9.0F}});
    // The partial batch: {4, 5} of 8 and {6} of 7.
    const std::vector<GlobalBatch> last = next();
    CHECK(last[1].loss_weight == 2.0);
    CHECK(weights_of(last) == std::map<std::int64_t, float>{{4, 1.0F / 8.0F}, {5, 1.0F / 8.0F}, {6, 1.0F / 7.0F}});
    CHECK(loaders[0].largest_pass().loss_weights.size() == loaders[0].largest_pass().tokens.size());
  }
}

TEST_CASE("with the mean over tokens the weights are one, and not stored") {
  const test::TemporaryFolder folder;
  test::write_token_file(folder.path() / "rows.lztok", kRows);
  const TokenFile file(folder.path() / "rows.lztok");
  Loader loader(file, options_of(true, false));
  const GlobalBatch batch = loader.next();
  CHECK(batch.loss_weight == 15.0);
  CHECK(batch.global_loss_tokens == 15);
  for (const Pass& pass : batch.passes) CHECK(pass.loss_weights.empty());
  CHECK(loader.largest_pass().loss_weights.empty());
}

}  // namespace llama_zero
