// train_batch_size = micro batch x accumulation x ranks: derived, checked, explained.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "launcher/config_resolve.h"

namespace llama_zero {
namespace {

constexpr std::string_view kBatch = "train_batch_size";
constexpr std::string_view kMicro = "train_micro_batch_size_per_gpu";
constexpr std::string_view kAccumulation = "gradient_accumulation_steps";
constexpr std::int64_t kDefaultMicro = 8;         // Hugging Face's per_device_train_batch_size
constexpr std::int64_t kDefaultAccumulation = 1;  // Hugging Face's gradient_accumulation_steps

constexpr std::int64_t kLargest = 1000000;  // keeps products of three far from overflow

struct Triad {
  std::optional<std::int64_t> batch, micro, accumulation;
  bool micro_auto = false, accumulation_auto = false;
};

Triad read(const ConfigValues& values) {
  const auto given = [&](std::string_view key) -> std::optional<std::int64_t> {
    if (values.is_auto(key) || values.is_null(key)) return std::nullopt;
    const std::int64_t value = values.integer(key);
    require(value <= kLargest, "{}: {} is too large: {}", values.where(key), key, value);
    return value;
  };
  return {given(kBatch), given(kMicro), given(kAccumulation), values.is_auto(kMicro), values.is_auto(kAccumulation)};
}

/// Sets what was open and says by which rule.
void take(ConfigValues& values, std::string_view key, std::optional<std::int64_t>& slot, std::int64_t value,
          std::string_view rule) {
  if (slot) return;
  slot = value;
  values.fill(key, value, fmt::format("{}: {}", values.is_auto(key) ? "auto" : "derived", rule));
}

/// B alone: DeepSpeed makes one micro-step of it. "auto" beside it takes Hugging Face's 8 rows where they divide it.
void split_batch(ConfigValues& values, Triad& triad, std::int64_t ranks) {
  const std::int64_t per_rank = *triad.batch / ranks;
  const bool either_auto = triad.micro_auto || triad.accumulation_auto;
  if (either_auto && per_rank > 0 && per_rank % kDefaultMicro == 0) {
    take(values, kMicro, triad.micro, kDefaultMicro, "Hugging Face's 8");
  }
  take(values, kMicro, triad.micro, per_rank, "train_batch_size / ranks");
  take(values, kAccumulation, triad.accumulation, triad.micro.value() > 0 ? per_rank / *triad.micro : 1,
       "train_batch_size / (micro batch x ranks)");
}

void derive(ConfigValues& values, Triad& triad, std::int64_t ranks) {
  if (!triad.batch) {
    const bool only_accumulation = triad.accumulation && !triad.micro && !triad.micro_auto && !values.is_auto(kBatch);
    require(!only_accumulation, "{}: {} alone does not say the batch; give {} or {} too", values.where(kAccumulation),
            kAccumulation, kBatch, kMicro);
    take(values, kMicro, triad.micro, kDefaultMicro, "Hugging Face's 8");
    take(values, kAccumulation, triad.accumulation, kDefaultAccumulation, "Hugging Face's 1");
    take(values, kBatch, triad.batch, *triad.micro * *triad.accumulation * ranks, "micro batch x accumulation x ranks");
    return;
  }
  if (triad.micro) {
    take(values, kAccumulation, triad.accumulation, *triad.batch / *triad.micro / ranks,
         "train_batch_size / (micro batch x ranks)");
  } else if (triad.accumulation) {
    take(values, kMicro, triad.micro, *triad.batch / ranks / *triad.accumulation,
         "train_batch_size / (ranks x accumulation)");
  } else {
    split_batch(values, triad, ranks);
  }
}

/// The change that makes the product hold: fewer or more micro-steps, else another micro batch, else another batch.
std::string fix(const Triad& given, std::int64_t batch, std::int64_t micro, std::int64_t accumulation,
                std::int64_t ranks) {
  const auto divides = [&](std::int64_t divisor) { return divisor > 0 && batch % divisor == 0; };
  if (micro > 0 && divides(micro * ranks) && given.micro) {
    return fmt::format("use {} {}", kAccumulation, batch / (micro * ranks));
  }
  if (accumulation > 0 && divides(accumulation * ranks) && given.accumulation) {
    return fmt::format("use {} {}", kMicro, batch / (accumulation * ranks));
  }
  const std::int64_t unit = std::max<std::int64_t>(1, given.micro.value_or(1)) *
                            (given.micro ? 1 : std::max<std::int64_t>(1, given.accumulation.value_or(1))) * ranks;
  const std::int64_t near = std::max<std::int64_t>(1, (batch + unit / 2) / unit) * unit;
  if (given.micro && given.accumulation) {
    return fmt::format("use {} {} and {} {}", kBatch, near, kAccumulation, near / (micro * ranks));
  }
  return fmt::format("use {} {}", kBatch, near);
}

/// A file that is right for another number of ranks: the classic slip is a start without mpirun.
std::string other_ranks(const Triad& given, std::int64_t ranks) {
  if (!given.batch || !given.micro || !given.accumulation) return {};
  const std::int64_t a_rank = *given.micro * *given.accumulation;
  const std::int64_t wanted = *given.batch / a_rank;
  if (wanted == 0 || wanted == ranks || *given.batch % a_rank != 0) return {};
  return fmt::format("; as it stands it is for {} rank{}", wanted, wanted == 1 ? "" : "s");
}

void check(const Triad& given, const Triad& triad, std::int64_t ranks) {
  const std::int64_t batch = *triad.batch;
  const std::int64_t micro = *triad.micro;
  const std::int64_t accumulation = *triad.accumulation;
  if (micro > 0 && accumulation > 0 && batch == micro * accumulation * ranks) return;
  fail("{} {} != {} micro x {} accumulation x {} rank{}; {}", kBatch, batch, micro, accumulation, ranks,
       ranks == 1 ? "" : "s", fix(given, batch, micro, accumulation, ranks) + other_ranks(given, ranks));
}

/// Optimizer steps of the run; the last batch of an epoch may be partial and is a step.
std::int64_t steps_of(const RunSection& run, std::int64_t rows, std::int64_t batch) {
  const std::int64_t per_epoch = std::max<std::int64_t>(1, (rows + batch - 1) / batch);
  if (run.max_steps > 0) return run.max_steps;
  const double steps = std::ceil(run.epochs * static_cast<double>(per_epoch));
  require(steps < 1e15, "llama_zero.epochs {} is too large", run.epochs);
  return static_cast<std::int64_t>(steps);
}

}  // namespace

void resolve_batch(ConfigValues& values, const ResolveFacts& facts, TrainConfig& config) {
  if (resolve_elasticity(values, facts.world_size, config)) {
    config.total_steps = steps_of(config.run, facts.rows, config.batch.train_batch_size);
    return;
  }
  const Triad given = read(values);
  Triad triad = given;
  const bool nothing = !values.is_set(kBatch) && !values.is_set(kMicro) && !values.is_set(kAccumulation);
  derive(values, triad, facts.world_size);
  check(given, triad, facts.world_size);
  if (nothing) {
    config.notes.push_back(
        fmt::format("no batch size in the config: micro batch {}, accumulation {}, as Hugging Face's Trainer",
                    *triad.micro, *triad.accumulation));
  }
  config.batch = {*triad.batch, *triad.micro, *triad.accumulation};
  config.total_steps = steps_of(config.run, facts.rows, *triad.batch);
}

}  // namespace llama_zero
