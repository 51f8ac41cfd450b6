#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "data/loader.h"
#include "data_fixtures.h"

namespace llama_zero {
namespace {

using test::contains;
using test::message_of;

/// A token file of the given rows that lives as long as this.
class Data {
 public:
  explicit Data(const std::vector<test::RowShape>& rows) {
    test::write_token_file(folder_ / "rows.lztok", rows);
    file_ = TokenFile(folder_ / "rows.lztok");
  }
  const TokenFile& file() const { return file_; }

 private:
  test::TemporaryFolder folder_;
  TokenFile file_;
};

LoaderOptions options_for(std::int64_t micro_batch, std::int64_t accumulation, int ranks, bool coalesce = true) {
  LoaderOptions options;
  options.micro_batch = micro_batch;
  options.accumulation = accumulation;
  options.ranks = ranks;
  options.global_batch = micro_batch * accumulation * ranks;
  options.seed = 7;
  options.max_tokens_per_pass = 2048;
  options.coalesce = coalesce;
  return options;
}

std::vector<Loader> loaders_for(const TokenFile& file, LoaderOptions options) {
  std::vector<Loader> loaders;
  for (options.rank = 0; options.rank < options.ranks; ++options.rank) loaders.emplace_back(file, options);
  return loaders;
}

/// The fixture's rows in a pass, in order: a row is known by its first token (test::fixture_token).
std::vector<std::int64_t> rows_in(const Pass& pass) {
  std::vector<std::int64_t> rows;
  for (std::int64_t d = 0; d < pass.rows; ++d) {
    const auto begin = static_cast<std::size_t>(pass.cu_seqlens[static_cast<std::size_t>(d)]);
    rows.push_back((pass.tokens[begin] - 1) / 7);
  }
  return rows;
}

/// What all ranks' next batches hold together.
struct Step {
  std::vector<GlobalBatch> batches;  // one a rank
  std::multiset<std::int64_t> rows;
};

Step next_step(std::vector<Loader>& loaders) {
  Step step;
  for (Loader& loader : loaders) {
    step.batches.push_back(loader.next());
    for (const Pass& pass : step.batches.back().passes) {
      for (const std::int64_t row : rows_in(pass)) step.rows.insert(row);
    }
  }
  return step;
}

void check_sums(const Step& step, std::int64_t alignment) {
  std::int64_t loss_tokens = 0;
  std::int64_t rows = 0;
  std::int64_t attended = 0;
  std::int64_t tokens = 0;
  for (const GlobalBatch& batch : step.batches) {
    CHECK(batch.passes.size() == step.batches[0].passes.size());
    for (const Pass& pass : batch.passes) {
      CHECK(pass.tokens_count() % alignment == 0);
      CHECK(pass.loss_tokens == std::count_if(pass.targets.begin(), pass.targets.end(), [](auto t) { return t >= 0; }));
      loss_tokens += pass.loss_tokens;
      rows += pass.rows;
      attended += pass.attended_tokens;
      tokens += pass.tokens_count();
    }
  }
  for (const GlobalBatch& batch : step.batches) {
    CHECK(batch.global_loss_tokens == loss_tokens);
    CHECK(batch.global_rows == rows);
    CHECK(batch.global_tokens == attended);
    CHECK(batch.padded_tokens == tokens - attended);
  }
}

}  // namespace

TEST_CASE("an epoch holds each row exactly once, and global batches are the same rows however they are dealt") {
  const Data data(test::realistic_rows(100));
  const std::vector<LoaderOptions> variants = {
      options_for(24, 1, 1),        options_for(1, 24, 1),        options_for(3, 4, 2),
      options_for(8, 1, 3),         options_for(2, 3, 4),         options_for(1, 3, 8),
      options_for(24, 1, 1, false), options_for(1, 24, 1, false), options_for(3, 4, 2, false),
      options_for(8, 1, 3, false),  options_for(2, 3, 4, false),  options_for(1, 3, 8, false)};
  std::vector<std::multiset<std::int64_t>> reference;
  for (const LoaderOptions& options : variants) {
    CAPTURE(options.ranks);
    CAPTURE(options.coalesce);
    auto loaders = loaders_for(data.file(), options);
    CHECK(loaders[0].batches_per_epoch() == 5);
    std::vector<std::multiset<std::int64_t>> steps;
    for (std::int64_t k = 0; k < 10; ++k) {
      const Step step = next_step(loaders);
      check_sums(step, options.pass_alignment);
      CHECK(step.batches[0].epoch == k / 5);
      CHECK(step.batches[0].batch_in_epoch == k % 5);
      CHECK(step.batches[0].partial == (k % 5 == 4));
      CHECK(step.rows.size() == (k % 5 == 4 ? 4 : 24));
      steps.push_back(step.rows);
    }
    for (const std::size_t begin : {0, 5}) {
      std::multiset<std::int64_t> epoch;
      for (std::size_t k = begin; k < begin + 5; ++k) epoch.insert(steps[k].begin(), steps[k].end());
      CHECK(epoch.size() == 100);
      CHECK(std::set<std::int64_t>(epoch.begin(), epoch.end()).size() == 100);
    }
    if (reference.empty()) reference = steps;
    CHECK(steps == reference);
  }
  CHECK(reference[0] != reference[5]);  // another order each epoch
}

TEST_CASE("the shuffle follows the seed; without it rows come in file order") {
  const Data data(test::realistic_rows(64));
  const auto first_rows = [&](std::uint64_t seed, bool shuffle) {
    LoaderOptions options = options_for(8, 1, 1, false);
    options.seed = seed;
    options.shuffle = shuffle;
    Loader loader(data.file(), options);
    return rows_in(loader.next().passes[0]);
  };
  CHECK(first_rows(1, true) == first_rows(1, true));
  CHECK(first_rows(1, true) != first_rows(2, true));
  CHECK(first_rows(1, false) == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE("each place of an epoch is equally likely for each row") {
  const Data data(std::vector<test::RowShape>(8, {4, 2}));
  LoaderOptions options = options_for(1, 1, 1);
  Loader loader(data.file(), options);
  constexpr int kEpochs = 4000;
  std::map<std::pair<std::int64_t, std::int64_t>, int> counts;
  for (int step = 0; step < kEpochs * 8; ++step) {
    const GlobalBatch batch = loader.next();
    ++counts[{rows_in(batch.passes[0])[0], batch.batch_in_epoch}];
  }
  // Chi-square of an 8 x 8 table with fixed margins has 49 degrees of freedom: mean 49, deviation sqrt(98) = 9.9.
  const double expected = kEpochs / 8.0;
  double chi_square = 0;
  for (const auto& [cell, count] : counts) chi_square += (count - expected) * (count - expected) / expected;
  INFO("chi-square " << chi_square);
  CHECK(counts.size() == 64);
  CHECK(chi_square < 49 + 5 * 9.9);
}

TEST_CASE("without coalescing ranks get DeepSpeed's micro-batches, one pass each") {
  const Data data(test::realistic_rows(20));
  LoaderOptions options = options_for(2, 3, 2, false);
  options.shuffle = false;
  auto loaders = loaders_for(data.file(), options);
  using Rows = std::vector<std::int64_t>;
  const Step full = next_step(loaders);
  REQUIRE(full.batches[0].passes.size() == 3);
  CHECK(rows_in(full.batches[0].passes[0]) == Rows{0, 1});
  CHECK(rows_in(full.batches[1].passes[0]) == Rows{2, 3});
  CHECK(rows_in(full.batches[0].passes[1]) == Rows{4, 5});
  CHECK(rows_in(full.batches[1].passes[2]) == Rows{10, 11});
  const Step partial = next_step(loaders);  // rows 12 to 19: two micro-steps
  REQUIRE(partial.batches[0].passes.size() == 2);
  CHECK(rows_in(partial.batches[1].passes[1]) == Rows{18, 19});
  CHECK(loaders[0].max_passes_per_step() == 3);
}

TEST_CASE("a rank without rows gets as many passes as the others, of padding only") {
  const Data data(test::realistic_rows(3));
  for (const bool coalesce : {true, false}) {
    CAPTURE(coalesce);
    auto loaders = loaders_for(data.file(), options_for(1, 2, 8, coalesce));
    const Step step = next_step(loaders);
    check_sums(step, 256);
    CHECK(step.rows.size() == 3);
    const Pass& idle = step.batches[7].passes.at(0);
    CHECK(idle.attended_tokens == 0);
    CHECK(idle.rows == 0);
    CHECK(idle.tokens_count() == 256);
    CHECK(idle.cu_seqlens == std::vector<std::int32_t>{0, 256});
  }
}

TEST_CASE("coalesced passes keep the token limit, and one pass holds what fits") {
  const Data data(test::realistic_rows(300));
  for (const std::int64_t limit : {512, 1000, 2048, 8192}) {
    for (const int ranks : {1, 4}) {
      CAPTURE(limit);
      CAPTURE(ranks);
      LoaderOptions options = options_for(1, 32 / ranks, ranks);
      options.max_tokens_per_pass = limit;
      auto loaders = loaders_for(data.file(), options);
      const Pass largest = loaders[0].largest_pass();
      CHECK(largest.tokens_count() <= limit);
      CHECK(largest.longest == data.file().longest_row());
      CHECK(std::adjacent_find(largest.cu_seqlens.begin(), largest.cu_seqlens.end(), std::greater_equal<>()) ==
            largest.cu_seqlens.end());
      for (std::int64_t k = 0; k < loaders[0].batches_per_epoch(); ++k) {
        const Step step = next_step(loaders);
        CHECK(static_cast<std::int64_t>(step.batches[0].passes.size()) <= loaders[0].max_passes_per_step());
        if (limit == 8192) CHECK(step.batches[0].passes.size() == 1);
        for (const GlobalBatch& batch : step.batches) {
          for (const Pass& pass : batch.passes) {
            CHECK(pass.tokens_count() <= largest.tokens_count());
            CHECK(pass.cu_seqlens.size() <= largest.cu_seqlens.size());
            CHECK(pass.longest <= largest.longest);
          }
        }
      }
    }
  }
}

TEST_CASE("the largest pass bounds literal micro-steps too") {
  const Data data(test::realistic_rows(50));
  const Loader loader(data.file(), options_for(4, 2, 2, false));
  Loader running(data.file(), options_for(4, 2, 2, false));
  const Pass largest = loader.largest_pass();
  CHECK(largest.tokens_count() <= 4 * 512);
  for (std::int64_t k = 0; k < 4 * loader.batches_per_epoch(); ++k) {
    for (const Pass& pass : running.next().passes) {
      CHECK(pass.tokens_count() <= largest.tokens_count());
      CHECK(pass.cu_seqlens.size() <= largest.cu_seqlens.size());
    }
  }
}

TEST_CASE("the largest pass of rows of one length fits the limit and the model's positions") {
  for (const std::int64_t length : {2, 100, 256, 300}) {
    CAPTURE(length);
    const Data data(std::vector<test::RowShape>(16, {length, 1}));
    LoaderOptions options = options_for(1, 8, 1);
    options.max_tokens_per_pass = 512;
    Loader loader(data.file(), options);
    const Pass largest = loader.largest_pass();
    CHECK(largest.longest == length);
    CHECK(largest.tokens_count() <= 512);
    CHECK(*std::max_element(largest.positions.begin(), largest.positions.end()) < length);
    for (const Pass& pass : loader.next().passes) {
      CHECK(pass.tokens_count() <= largest.tokens_count());
      CHECK(pass.cu_seqlens.size() <= largest.cu_seqlens.size());
    }
  }
}

TEST_CASE("padding is little more than rounding each step's tokens up once, and under 2 % of large steps") {
  const Data data(test::realistic_rows(1024));
  for (const std::int64_t global_batch : {32, 128}) {
    for (const int ranks : {1, 2, 4}) {
      LoaderOptions options = options_for(1, global_batch / ranks, ranks);
      options.max_tokens_per_pass = 8192;
      Loader loader(data.file(), options);
      std::int64_t padded = 0;
      std::int64_t least = 0;
      std::int64_t tokens = 0;
      for (std::int64_t k = 0; k < loader.batches_per_epoch(); ++k) {
        const GlobalBatch batch = loader.next();
        padded += batch.padded_tokens;
        least += (256 - batch.global_tokens % 256) % 256;
        tokens += batch.global_tokens + batch.padded_tokens;
      }
      const double waste = static_cast<double>(padded) / static_cast<double>(tokens);
      CAPTURE(global_batch);
      CAPTURE(ranks);
      INFO("padding " << padded << ", least possible " << least << ", " << 100 * waste << " %");
      CHECK(padded >= least);
      CHECK(static_cast<double>(padded) <= 1.25 * static_cast<double>(least));
      if (global_batch == 128) CHECK(waste < 0.02);
    }
  }
}

TEST_CASE("a restored position continues exactly") {
  const Data data(test::realistic_rows(50));
  Loader loader(data.file(), options_for(4, 2, 1));
  for (int k = 0; k < 10; ++k) loader.next();
  const LoaderPosition saved = loader.position();
  CHECK(saved == LoaderPosition{1, 3});
  Loader resumed(data.file(), options_for(4, 2, 1));
  resumed.restore(saved);
  for (int k = 0; k < 10; ++k) {
    const GlobalBatch a = loader.next();
    const GlobalBatch b = resumed.next();
    CHECK(a.epoch == b.epoch);
    REQUIRE(a.passes.size() == b.passes.size());
    for (std::size_t i = 0; i < a.passes.size(); ++i) {
      CHECK(a.passes[i].tokens == b.passes[i].tokens);
      CHECK(a.passes[i].targets == b.passes[i].targets);
    }
  }
  loader.restore(saved);  // back in a loader that has gone on
  resumed.restore({0, 0});
  CHECK(loader.next().passes[0].tokens != resumed.next().passes[0].tokens);
  CHECK(contains(message_of([&] { loader.restore({0, 7}); }), "epoch 0, batch 7 is not one of"));
  CHECK(contains(message_of([&] { loader.restore({-1, 0}); }), "epoch -1, batch 0 is not one of"));
}

TEST_CASE("rows whose prompt fills the sequence stay out of training unless the prompt is trained on") {
  const Data data({{10, 4}, {512, 512}, {20, 5}});
  LoaderOptions options = options_for(3, 1, 1);
  Loader loader(data.file(), options);
  CHECK(loader.trainable_rows() == 2);
  CHECK(loader.left_out_rows() == 1);
  CHECK(contains(loader.statement(), "; 1 row left out: the prompt alone fills the sequence"));
  const GlobalBatch batch = loader.next();
  CHECK(batch.global_rows == 2);
  CHECK(batch.global_loss_tokens == 6 + 15);
  options.train_on_prompt = true;
  Loader prompts(data.file(), options);
  CHECK(prompts.left_out_rows() == 0);
  CHECK(prompts.next().global_loss_tokens == 9 + 511 + 19);
}

TEST_CASE("the statement tells how rows become batches") {
  const auto statement = [](std::int64_t rows, std::int64_t batch) {
    const Data data(std::vector<test::RowShape>(static_cast<std::size_t>(rows), {4, 2}));
    return Loader(data.file(), options_for(batch, 1, 1)).statement();
  };
  CHECK(statement(600, 32) == "600 rows = 18 batches of 32 + a last one of 24");
  CHECK(statement(64, 32) == "64 rows = 2 batches of 32");
  CHECK(statement(33, 32) == "33 rows = 1 batch of 32 + a last one of 1");
  CHECK(statement(20, 32) == "20 rows = one batch of 20, fewer than the 32 asked for");
}

TEST_CASE("options that cannot work are refused, with the numbers") {
  const Data data({{300, 4}, {20, 5}});
  const auto fault = [&](auto&& change) {
    LoaderOptions options = options_for(2, 4, 2);
    change(options);
    return message_of([&] { Loader(data.file(), options); });
  };
  CHECK(fault([](LoaderOptions& o) { o.global_batch = 32; }) == "global batch 32 != 2 x 4 x 2");
  CHECK(fault([](LoaderOptions& o) { o.rank = 2; }) == "rank 2 of 2");
  CHECK(fault([](LoaderOptions& o) { o.micro_batch = 0; }) == "micro-batch 0, accumulation 4 and ranks 2 must be > 0");
  CHECK(fault([](LoaderOptions& o) { o.pass_alignment = 0; }) == "pass_alignment 0 must be > 0");
  CHECK(fault([](LoaderOptions& o) { o.max_tokens_per_pass = 511; }) ==
        "max_tokens_per_pass 511 cannot hold the longest row of 300 tokens; raise it to 512 at least");
  CHECK(fault([](LoaderOptions& o) { o.max_tokens_per_pass = 512; }) == "no error");
  const Data prompts({{8, 8}});
  CHECK(contains(message_of([&] { Loader(prompts.file(), options_for(1, 1, 1)); }), "no row has a token to learn"));
}

}  // namespace llama_zero
