// Memory that a rank cannot have, before or in the middle of a step: one clear line ends all ranks.
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "training_run.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

/// The CPU device, whose host has memory for so many allocations.
class PoorDevice final : public Device {
 public:
  explicit PoorDevice(int allocations) : left_(allocations) {}
  DeviceType type() const override { return cpu_->type(); }
  std::string description() const override { return cpu_->description(); }
  DeviceMemoryInfo memory_info() const override { return cpu_->memory_info(); }
  std::byte* allocate(std::size_t bytes) override { return cpu_->allocate(bytes); }
  void deallocate(std::byte* data, std::size_t bytes) noexcept override { cpu_->deallocate(data, bytes); }
  HostBlock allocate_host(std::size_t bytes, HostMemory kind, const HostTouch& touch) override {
    if (left_-- == 0) fail("out of host memory: {} bytes could not be allocated", bytes);
    HostBlock block = cpu_->allocate_host(bytes, kind, touch);
    taken_ += 1;
    return block;
  }
  void deallocate_host(const HostBlock& block) noexcept override {
    taken_ -= 1;
    cpu_->deallocate_host(block);
  }
  std::unique_ptr<Stream> create_stream(const std::string& name) override { return cpu_->create_stream(name); }
  std::unique_ptr<Event> create_event() override { return cpu_->create_event(); }
  std::unique_ptr<Event> create_timing_event() override { return cpu_->create_timing_event(); }
  void copy(ConstView source, View destination, Stream& stream) override { cpu_->copy(source, destination, stream); }
  void fill_bytes(View destination, unsigned char value, Stream& stream) override {
    cpu_->fill_bytes(destination, value, stream);
  }
  int taken() const { return taken_; }

 private:
  std::unique_ptr<Device> cpu_ = make_cpu_device();
  int left_, taken_ = 0;
};

RunOptions offloaded_run() {
  RunOptions run;
  run.stage = 3;
  run.ranks = 3;
  run.dtype = run.grad_dtype = DType::kBF16;
  run.change = [](EngineOptions& options) {
    options.offload_optimizer.enabled = options.offload_param.enabled = true;
    options.offload_optimizer.threads = 1;
  };
  return run;
}

/// One step of an engine on `device`, whose arena is `missing` bytes too small.
void one_step(const RunOptions& run, Communicator& communicator, Device& device, std::size_t missing) {
  const EngineOptions options = engine_options(run);
  const ParamTable table(small_llama(run.tied));
  const auto ops = make_cpu_ops(1);
  const std::vector<Pass> passes = passes_of(0, communicator.rank(), communicator.size(), 1);
  const MemoryPlan plan = plan_memory(table, options, *ops, communicator.rank(), communicator.size(), passes);
  Arena workspace(device, plan.workspace_bytes + Arena::kAlignment, "workspace");
  ops->set_workspace(workspace.allocate("workspace", DType::kU8, static_cast<std::int64_t>(plan.workspace_bytes)));
  Arena arena(device, plan.arena.peak_bytes - missing, "rank");
  Engine engine(table, options, device, *ops, communicator, arena);
  engine.initialise(1);
  engine.train_step(passes, static_cast<double>(loss_tokens_of(0)));
  (void)engine.drain();
}

/// What the first failure of three ranks says, when rank 1 is the one that lacks something; "" when nothing fails.
std::string failure(int allocations, std::size_t missing) {
  const RunOptions run = offloaded_run();
  try {
    run_rank_threads(run.ranks, [&](Communicator& communicator) {
      const bool poor = communicator.rank() == 1;
      PoorDevice device(poor ? allocations : -1);
      try {
        one_step(run, communicator, device, poor ? missing : 0);
      } catch (...) {
        if (device.taken() != 0) fail("{} pieces of host memory were not given back", device.taken());
        throw;
      }
    });
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("host memory that one rank cannot have ends all ranks with one line, at every allocation there is") {
  int allocations = 0;
  for (;; ++allocations) {
    const std::string message = failure(allocations, 0);
    if (message.empty()) break;
    INFO(allocations << " allocations: " << message);
    CHECK(message.find("out of host memory: ") != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
    REQUIRE(allocations < 1000);
  }
  CHECK(allocations > 10);  // masters, two states and gradients of four units, weights, ...
}

TEST_CASE("an arena that is too small by a little fails in the middle of one rank's step, which ends all ranks") {
  const std::string message = failure(-1, Arena::kAlignment);
  INFO(message);
  CHECK(message.find("arena rank: ") == 0);
  CHECK(message.find(" does not fit, ") != std::string::npos);
  CHECK(message.substr(0, message.find('\n')).find(" in use") != std::string::npos);
}
