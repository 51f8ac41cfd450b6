// Optimizer states in host memory: the same bits, less device memory, and everything else goes on working.
#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>

#include "worker_rank.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

RunOptions run_of(int stage, int ranks, DType dtype, DType grad_dtype) {
  RunOptions run;
  run.stage = stage;
  run.ranks = ranks;
  run.dtype = dtype;
  run.grad_dtype = grad_dtype;
  run.steps = 3;
  run.scaler.check_overflow = true;
  if (dtype == DType::kF16) {
    run.scaler.dynamic = true;
    run.scaler.initial_scale = 1024.0F;
  }
  return run;
}

std::vector<RankRecord> train_with(const RunOptions& run, const std::function<void(EngineOptions&)>& change) {
  RunOptions changed = run;
  changed.change = change;
  return train(changed);
}

void offload(EngineOptions& options) {
  options.offload_optimizer.enabled = true;
  options.offload_optimizer.threads = 1;
}

std::size_t bytes_of(const MemoryReport& report, const std::string& label) {
  const auto found = report.peak_by_label.find(label);
  return found == report.peak_by_label.end() ? 0 : found->second;
}

}  // namespace

TEST_CASE("offloaded optimizer states train the same weights bit for bit at stages 1 to 3, in one pass and in three") {
  struct Types {
    DType dtype, grad_dtype;
  };
  for (const Types types : {Types{DType::kF32, DType::kF32}, Types{DType::kF16, DType::kF16},
                            Types{DType::kBF16, DType::kBF16}, Types{DType::kBF16, DType::kF32}}) {
    for (const int ranks : {1, 2, 4}) {
      for (int stage = 1; stage <= 3; ++stage) {
        for (const int passes : {1, 3}) {
          RunOptions run = run_of(stage, ranks, types.dtype, types.grad_dtype);
          run.passes_per_rank = passes;
          run.tied = ranks == 2;
          const std::vector<RankRecord> reference = train(run);
          CHECK(reference.front().states.back().applied_steps == run.steps);
          INFO("stage " << stage << ", " << ranks << " ranks, " << passes << " passes, " << name_of(types.dtype)
                        << " weights, " << name_of(types.grad_dtype) << " gradients");
          CHECK(first_difference(reference, train_with(run, offload)) == "");
        }
      }
    }
  }
}

TEST_CASE("neither overlap nor small tiles, small buckets or a part of the states on the host change a bit") {
  for (int stage = 1; stage <= 3; ++stage) {
    for (const int ranks : {1, 3}) {
      RunOptions run = run_of(stage, ranks, DType::kBF16, DType::kBF16);
      run.passes_per_rank = 3;
      const std::vector<RankRecord> reference = train(run);
      for (const bool overlap : {false, true}) {
        for (const double ratio : {0.0, 0.5, 1.0}) {
          for (const std::int64_t size : {std::int64_t{1}, std::int64_t{1} << 30}) {
            INFO("stage " << stage << ", " << ranks << " ranks, overlap " << overlap << ", ratio " << ratio
                          << ", tiles and buckets of " << size);
            CHECK(first_difference(reference, train_with(run, [&](EngineOptions& options) {
                                     offload(options);
                                     options.overlap_comm = overlap;
                                     options.offload_optimizer.ratio = ratio;
                                     options.offload_optimizer.sub_group_size = size;
                                     options.reduce_bucket_size = size;
                                   })) == "");
          }
        }
      }
    }
  }
}

TEST_CASE("copies that run beside the computation change no bit") {
  for (int stage = 1; stage <= 3; ++stage) {
    for (const int ranks : {1, 3}) {
      for (const bool overlap : {false, true}) {
        for (const bool poison : {false, true}) {
          RunOptions run = run_of(stage, ranks, DType::kBF16, DType::kBF16);
          run.passes_per_rank = 3;
          run.tied = poison;
          const std::vector<RankRecord> reference = train(run);
          run.change = [&](EngineOptions& options) {
            offload(options);
            options.overlap_comm = overlap;
            options.offload_param.enabled = stage == 3;
          };
          INFO("stage " << stage << ", " << ranks << " ranks, overlap " << overlap
                        << (poison ? ", tied, poisoned" : ""));
          CHECK(first_difference(reference, train_on_workers(run, poison)) == "");
        }
      }
    }
  }
}

TEST_CASE("every optimizer trains the same from host memory, with exempt ranges and pageable memory too") {
  for (const OptimizerKind kind :
       {OptimizerKind::kAdam, OptimizerKind::kLion, OptimizerKind::kAdagrad, OptimizerKind::kSgd}) {
    RunOptions run = run_of(2, 2, DType::kF16, DType::kF16);
    run.optimizer.kind = kind;
    run.optimizer.momentum = kind == OptimizerKind::kSgd ? 0.9 : 0.0;
    run.optimizer.initial_accumulator_value = kind == OptimizerKind::kAdagrad ? 0.25 : 0.0;
    run.optimizer.exempt_norms_and_embeddings = true;
    const std::vector<RankRecord> reference = train(run);
    INFO("optimizer " << static_cast<int>(kind));
    CHECK(first_difference(reference, train_with(run, [](EngineOptions& options) {
                             offload(options);
                             options.offload_optimizer.memory = HostMemory::kPageable;
                             options.offload_optimizer.sub_group_size = 640;
                           })) == "");
  }
}

TEST_CASE("a step that overflows on one rank changes no offloaded state, and training goes on with the same bits") {
  for (int stage = 1; stage <= 3; ++stage) {
    for (const int ranks : {1, 2}) {
      RunOptions run = run_of(stage, ranks, DType::kF16, DType::kF16);
      run.steps = 4;
      run.hooked_rank = ranks - 1;
      int commits = 0;
      run.hook = [&](int unit, View gradient) {
        if (unit == 1 && ++commits == 2) gradient.as<Half>()[3] = Half(INFINITY);
      };
      const std::vector<RankRecord> reference = train(run);
      CHECK(reference.front().states.back().skipped_steps == 1);
      CHECK(reference.front().states.back().applied_steps == 3);
      commits = 0;
      INFO("stage " << stage << ", " << ranks << " ranks");
      CHECK(first_difference(reference, train_with(run, offload)) == "");
    }
  }
}

TEST_CASE("local accumulation gives stages 2 and 3 the bits of stage 0 in several passes, offloaded or not") {
  RunOptions run = run_of(0, 3, DType::kBF16, DType::kBF16);
  run.passes_per_rank = 3;
  const std::vector<RankRecord> reference = train(run);
  for (const int stage : {2, 3}) {
    run.stage = stage;
    CHECK(first_difference(reference, train(run)) != "");
    for (const bool offloaded : {false, true}) {
      INFO("stage " << stage << (offloaded ? ", offloaded" : ""));
      CHECK(first_difference(reference, train_with(run, [&](EngineOptions& options) {
                               options.local_gradient_accumulation = true;
                               if (offloaded) offload(options);
                             })) == "");
    }
  }
}

TEST_CASE("offload moves masters, moments and one gradient copy to the host, by the labels that are planned") {
  for (int stage = 1; stage <= 3; ++stage) {
    for (const int ranks : {1, 2}) {
      RunOptions run = run_of(stage, ranks, DType::kF16, DType::kF16);
      run.passes_per_rank = 2;
      run.steps = 8;  // all there are: the largest is among them
      const RankRecord without = train(run).front();
      const RankRecord with = train_with(run, offload).front();
      INFO("stage " << stage << ", " << ranks << " ranks\n"
                    << format_memory_table(with.memory) << "\n"
                    << format_memory_table(with.host));
      CHECK(with.memory.peak_bytes == with.plan.arena.peak_bytes);
      CHECK(with.memory.at_peak == with.plan.arena.at_peak);
      CHECK(with.host.peak_bytes == with.plan.host.peak_bytes);
      CHECK(with.host.at_peak == with.plan.host.at_peak);
      CHECK(with.memory.peak_bytes < without.memory.peak_bytes);
      CHECK(without.host.peak_bytes == 0);
      CHECK(bytes_of(with.memory, "optimizer") == 0);
      std::size_t states = 0;
      std::size_t gradients = 0;
      std::size_t largest = 0;
      const auto aligned = [](std::size_t bytes) { return (bytes + 255) / 256 * 256; };
      const ParamTable table(small_llama(false));
      for (const Unit& unit : table.units()) {
        const auto shard = static_cast<std::size_t>(UnitPartition(unit.numel, ranks).shard);
        states += 3 * aligned(4 * shard);
        gradients += aligned(2 * shard);
        largest = std::max(largest, shard);
      }
      CHECK(bytes_of(with.host, "host optimizer") == states + 2 * aligned(2 * largest));  // two tiles on their way
      CHECK(bytes_of(with.host, "host gradients") == gradients);
      if (stage >= 2) CHECK(bytes_of(with.memory, "gradients") == 0);
    }
  }
}

TEST_CASE("a ratio of one half keeps the first units' states on the device, and zero keeps all") {
  const auto bytes = [](double ratio) {
    return train_with(run_of(3, 2, DType::kF16, DType::kF16),
                      [&](EngineOptions& options) {
                        offload(options);
                        options.offload_optimizer.ratio = ratio;
                      })
        .front();
  };
  const RankRecord all = bytes(1.0);
  const RankRecord half = bytes(0.5);
  const RankRecord none = bytes(0.0);
  CHECK(bytes_of(half.memory, "optimizer") > 0);
  CHECK(bytes_of(half.host, "host optimizer") > 0);
  CHECK(bytes_of(half.host, "host optimizer") < bytes_of(all.host, "host optimizer"));
  CHECK(none.host.peak_bytes == 0);
}

TEST_CASE("states saved without offload go on offloaded, and back, bit for bit") {
  for (int stage = 1; stage <= 3; ++stage) {
    RunOptions run = run_of(stage, 2, DType::kBF16, DType::kBF16);
    run.steps = 4;
    const std::vector<RankRecord> reference = train(run);
    for (const bool first_offloaded : {false, true}) {
      std::vector<RankRecord> resumed(2);
      run_rank_threads(2, [&](Communicator& communicator) {
        EngineOptions plain = engine_options(run);
        EngineOptions offloaded = plain;
        offload(offloaded);
        // What a checkpoint does: every rank writes its shards, and reads whatever it needs of all.
        const ParamTable table(small_llama(false));
        std::vector<std::vector<std::vector<float>>> states;
        StepState step_state;
        std::vector<double> losses;
        std::vector<StepState> step_states;
        {
          TestRank rank(run, first_offloaded ? offloaded : plain, communicator);
          for (int step = 0; step < 2; ++step) {
            const StepResult result = rank.step(step);
            losses.push_back(result.loss);
            step_states.push_back(result.state);
          }
          step_state = rank.engine.last_state();
          for (int unit = 0; unit < table.unit_count(); ++unit) {
            auto& of_unit = states.emplace_back();
            const UnitPartition partition(table.units()[static_cast<std::size_t>(unit)].numel, 2);
            for (int state = 0; state < 3; ++state) {
              of_unit.emplace_back(static_cast<std::size_t>(partition.valid(communicator.rank())));
              rank.engine.read_state(unit, state, 0, of_unit.back());
            }
          }
        }
        TestRank rank(run, first_offloaded ? plain : offloaded, communicator);
        rank.engine.load_states(
            [&](int unit, int state, std::int64_t begin, std::span<float> out) {
              const UnitPartition partition(table.units()[static_cast<std::size_t>(unit)].numel, 2);
              const auto& own = states[static_cast<std::size_t>(unit)][static_cast<std::size_t>(state)];
              const std::int64_t first = begin - partition.begin(communicator.rank());
              std::copy_n(own.begin() + first, out.size(), out.begin());
            },
            step_state);
        RankRecord& record = resumed[static_cast<std::size_t>(communicator.rank())];
        for (int step = 2; step < 4; ++step) {
          const StepResult result = rank.step(step);
          losses.push_back(result.loss);
          step_states.push_back(result.state);
        }
        record.losses = losses;
        record.states = step_states;
        for (int unit = 0; unit < table.unit_count(); ++unit) {
          rank.engine.gather_weights(unit, record.weights.emplace_back());
          rank.engine.gather_master(unit, record.masters.emplace_back());
        }
      });
      INFO("stage " << stage << (first_offloaded ? ", first offloaded" : ", first not"));
      CHECK(first_difference(reference, resumed) == "");
    }
  }
}
