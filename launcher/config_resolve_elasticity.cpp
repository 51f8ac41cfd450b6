// The batch triad of an elastic run: DeepSpeed's "elasticity" section (contract section 7), versions 0.1 and 0.2.
//
// The global batch is chosen so that many rank counts divide it: each micro batch size and their least common multiple
// is scaled by the largest highly composite number that stays within the limit, and of these candidates the one with
// most valid rank counts wins (of equals the larger, or the smaller without prefer_larger_batch).
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "core/error.h"
#include "launcher/config_resolve.h"

namespace llama_zero {
namespace {

constexpr std::string_view kMicroSizes = "elasticity.micro_batch_sizes";
constexpr std::int64_t kLargest = 1000000;  ///< rows; keeps products far from overflow
constexpr std::string_view kLimit = "elasticity.max_train_batch_size";

/// Numbers with more divisors than any smaller one (OEIS A002182), as far as DeepSpeed goes.
constexpr std::int64_t kHighlyComposite[] = {
    1,     2,     4,     6,      12,     24,     36,     48,     60,     120,    180,    240,   360,
    720,   840,   1260,  1680,   2520,   5040,   7560,   10080,  15120,  20160,  25200,  27720, 45360,
    50400, 55440, 83160, 110880, 166320, 221760, 277200, 332640, 498960, 554400, 665280, 720720};

struct Elasticity {
  std::vector<std::int64_t> micro_sizes;
  std::int64_t limit = 0, fewest = 1, most = 1, ranks_per_node = 1;
  bool prefer_larger = true;
  bool by_node = true;  ///< version 0.2
};

struct Choice {
  std::int64_t batch = 0;
  std::vector<std::int64_t> rank_counts;  ///< ascending
};

std::vector<std::int64_t> micro_sizes_of(const ConfigValues& values) {
  std::vector<std::int64_t> sizes;
  for (const double size : values.numbers(kMicroSizes)) {
    const auto whole = static_cast<std::int64_t>(size);
    require(static_cast<double>(whole) == size && whole > 0, "{}: {} must hold integers > 0, not {}",
            values.where(kMicroSizes), kMicroSizes, size);
    require(whole <= kLargest, "{}: {}: {} is too large", values.where(kMicroSizes), kMicroSizes, whole);
    sizes.push_back(whole);
  }
  require(!sizes.empty(), "{}: {} is empty", values.where(kMicroSizes), kMicroSizes);
  return sizes;
}

Elasticity read(const ConfigValues& values) {
  for (const std::string_view key : {kLimit, kMicroSizes}) {
    require(values.is_set(key), "{}: elasticity needs {}", values.where("elasticity.enabled"), key);
  }
  Elasticity out;
  out.micro_sizes = micro_sizes_of(values);
  out.limit = values.integer(kLimit);
  out.fewest = values.integer("elasticity.min_gpus");
  out.most = values.integer("elasticity.max_gpus");
  out.prefer_larger = values.flag("elasticity.prefer_larger_batch");
  const double version = values.number("elasticity.version");
  require(version == 0.1 || version == 0.2, "{}: elasticity.version must be 0.1 or 0.2, not {}",
          values.where("elasticity.version"), version);
  out.by_node = version == 0.2;
  if (out.by_node) out.ranks_per_node = values.integer("elasticity.num_gpus_per_node");
  const std::int64_t largest = *std::max_element(out.micro_sizes.begin(), out.micro_sizes.end());
  require(largest <= out.limit / out.ranks_per_node, "{}: micro batch size {} is above max_train_batch_size {}{}",
          values.where(kMicroSizes), largest, out.limit,
          out.ranks_per_node == 1 ? "" : fmt::format(" / {} ranks of a node", out.ranks_per_node));
  return out;
}

std::int64_t scaled(std::int64_t base, std::int64_t limit) {
  if (base >= limit) return base;
  const auto above = std::upper_bound(std::begin(kHighlyComposite), std::end(kHighlyComposite), limit / base);
  return base * *std::prev(above);
}

/// The divisors, within the bounds, of how often a micro size goes into `batch`.
std::vector<std::int64_t> valid_counts(std::int64_t batch, const Elasticity& e, std::int64_t fewest,
                                       std::int64_t most) {
  std::set<std::int64_t> counts;
  for (const std::int64_t micro : e.micro_sizes) {
    if (batch % micro != 0) continue;
    const std::int64_t micro_batches = batch / micro;
    for (std::int64_t small = 1; small * small <= micro_batches; ++small) {
      if (micro_batches % small != 0) continue;
      for (const std::int64_t count : {small, micro_batches / small}) {
        if (count >= fewest && count <= most) counts.insert(count);
      }
    }
  }
  return {counts.begin(), counts.end()};
}

/// Among the candidates under `limit`, for `fewest` to `most` ranks (of nodes: nodes).
Choice choose(const Elasticity& e, std::int64_t limit, std::int64_t fewest, std::int64_t most) {
  std::int64_t multiple = 1;
  std::set<std::int64_t> candidates;
  for (const std::int64_t micro : e.micro_sizes) {
    multiple = std::lcm(multiple, micro);
    require(multiple <= kLargest, "elasticity.micro_batch_sizes: their least common multiple is too large");
    candidates.insert(scaled(micro, limit));
  }
  candidates.insert(scaled(multiple, limit));
  Choice best;
  for (const std::int64_t batch : candidates) {
    std::vector<std::int64_t> counts = valid_counts(batch, e, fewest, most);
    const bool more = counts.size() > best.rank_counts.size();
    const bool as_many = !counts.empty() && counts.size() == best.rank_counts.size();
    if (more || (as_many && e.prefer_larger)) best = {batch, std::move(counts)};
  }
  return best;
}

Choice choose(const Elasticity& e, std::int64_t ranks) {
  if (!e.by_node) return choose(e, e.limit, e.fewest, e.most);
  const std::int64_t node = e.ranks_per_node;
  Choice choice =
      choose(e, e.limit / node, std::max<std::int64_t>(1, e.fewest / node), std::max<std::int64_t>(1, e.most / node));
  choice.batch *= node;
  for (std::int64_t& count : choice.rank_counts) count *= node;
  if (std::binary_search(choice.rank_counts.begin(), choice.rank_counts.end(), ranks)) return choice;
  // Version 0.2 makes do with any other number of ranks: the largest batch that one micro size fills.
  std::vector<std::int64_t> batches;
  for (const std::int64_t micro : e.micro_sizes) batches.push_back(e.limit / (micro * ranks) * micro * ranks);
  const auto [least, most] = std::minmax_element(batches.begin(), batches.end());
  return {e.prefer_larger ? *most : *least, {ranks}};
}

std::string spell(const std::vector<std::int64_t>& counts) {
  constexpr std::size_t kShown = 12;
  std::string text;
  for (std::size_t i = 0; i < std::min(counts.size(), kShown); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", counts[i]);
  }
  return counts.size() > kShown ? fmt::format("{} ... {}", text, counts.back()) : text;
}

void refuse_other_batch_keys(const ConfigValues& values) {
  if (values.flag("elasticity.ignore_non_elastic_batch_info")) return;
  for (const std::string_view key :
       {"train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"}) {
    require(!values.is_set(key),
            "{}: {} is given, but elasticity decides it; leave it out or set "
            "elasticity.ignore_non_elastic_batch_info",
            values.where(key), key);
  }
}

}  // namespace

bool resolve_elasticity(ConfigValues& values, std::int64_t ranks, TrainConfig& config) {
  if (!values.flag("elasticity.enabled")) return false;
  refuse_other_batch_keys(values);
  const Elasticity e = read(values);
  const Choice choice = choose(e, ranks);
  const std::string where = values.where("elasticity.enabled");
  require(!choice.rank_counts.empty(), "{}: elasticity: no rank count from {} to {} fits", where, e.fewest, e.most);
  require(std::binary_search(choice.rank_counts.begin(), choice.rank_counts.end(), ranks),
          "{}: elasticity: {} rank{} cannot share its batch of {}; use one of {} ranks", where, ranks,
          ranks == 1 ? "" : "s", choice.batch, spell(choice.rank_counts));
  const std::int64_t per_rank = choice.batch / ranks;
  std::int64_t micro = 0;
  for (const std::int64_t size : e.micro_sizes) {
    if (per_rank % size == 0) micro = std::max(micro, size);
  }
  require(micro > 0 && per_rank > 0, "{}: elasticity: no micro batch size divides the {} rows of each of {} ranks",
          values.where(kMicroSizes), per_rank, ranks);
  config.batch = {choice.batch, micro, per_rank / micro};
  // So that the resolved config, which has all of it, loads again.
  values.fill("elasticity.ignore_non_elastic_batch_info", true, "elasticity");
  values.fill("train_batch_size", choice.batch, "elasticity");
  values.fill("train_micro_batch_size_per_gpu", micro, "elasticity");
  values.fill("gradient_accumulation_steps", config.batch.accumulation_steps, "elasticity");
  if (choice.batch > e.limit) {
    config.warnings.push_back(fmt::format(
        "{}: elasticity's batch {} is above max_train_batch_size {}: the micro batch sizes' least common multiple is",
        where, choice.batch, e.limit));
  }
  config.notes.push_back(fmt::format("elasticity: batch {} for {} ranks", choice.batch, spell(choice.rank_counts)));
  return true;
}

}  // namespace llama_zero
