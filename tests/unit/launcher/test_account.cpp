// The account of collectives, from a stream whose clock the test moves.
#include <doctest/doctest.h>

#include <string>

#include "launcher/account.h"
#include "tests/support/manual_device.h"
#include "zero/communicator.h"

namespace llama_zero::test {
namespace {

/// A step of 5 ms of gathers beside the computation, which waits 2 ms for them, a reduction of 3 ms on its own stream,
/// and a copy of 1 ms.
void give_step(ManualDevice& device, AccountKeeper& keeper, Stream& stream, std::int64_t step) {
  const auto call = [&](const char* op, std::int64_t bytes, bool background, double ms) {
    const CommCall given{op, bytes, &stream, step, background};
    keeper.before(given);
    device.clock += ms;
    keeper.after(given);
  };
  call("all_gather", 102400, true, 4.0);
  call("all_gather", 51200, true, 1.0);
  const CommCall wait{"all_gather", 0, &stream, step};
  keeper.before_wait(wait);
  device.clock += 2.0;
  keeper.after_wait(wait);
  call("all_to_all", 30720, false, 3.0);
  const CommCall copy{"copy_to_host", 8, &stream, step};
  keeper.before_copy(copy);
  device.clock += 1.0;
  keeper.after_copy(copy);
}

}  // namespace

TEST_CASE("copies of block inputs are accounted for apart from other copies, with their waits") {
  ManualDevice device(DeviceType::kCuda);
  ManualStream stream;
  AccountKeeper keeper(device, 1);
  for (const std::int64_t bytes : {100, 20}) {
    const CommCall copy{"copy_activations_to_host", bytes, &stream, 1, true};
    keeper.before_copy(copy);
    device.clock += 3.0;
    keeper.after_copy(copy);
  }
  const CommCall wait{"copy_activations_to_host", 0, &stream, 1};
  keeper.before_wait(wait);
  device.clock += 0.5;
  keeper.after_wait(wait);
  const Account account = keeper.take(1);
  REQUIRE(account.copies.size() == 1);
  const AccountEntry& entry = account.copies.at("copy_activations_to_host");
  CHECK(entry.calls == 2);
  CHECK(entry.bytes == 120);
  CHECK(entry.ms == 6.0);
  CHECK(entry.wait_ms == 0.5);
}

TEST_CASE("on a GPU what runs beside the computation is waited for where the stream waits") {
  ManualDevice device(DeviceType::kCuda);
  ManualStream stream;
  AccountKeeper keeper(device, 2);
  give_step(device, keeper, stream, 1);
  const Account account = keeper.take(1);
  REQUIRE(account.collectives.size() == 2);
  const AccountEntry& gathers = account.collectives.at("all_gather");
  CHECK(gathers.calls == 2);
  CHECK(gathers.bytes == 153600);
  CHECK(gathers.ms == 5.0);
  CHECK(gathers.wait_ms == 2.0);
  CHECK(account.collectives.at("all_to_all").wait_ms == 3.0);
  const AccountEntry all = account.all_collectives();
  CHECK(all.bytes == 184320);
  CHECK(all.ms == 8.0);
  CHECK(all.wait_ms == 5.0);
  REQUIRE(account.copies.size() == 1);
  CHECK(account.copies.at("copy_to_host").bytes == 8);
  CHECK(account.copies.at("copy_to_host").ms == 1.0);
  CHECK(describe(account.collectives) ==
        "all_gather 150.0 KB in 5.0 ms (waited 2.0 ms); all_to_all 30.0 KB in 3.0 ms (waited 3.0 ms)");
}

TEST_CASE("where the host does the work, all of it is waited for, once") {
  ManualDevice device(DeviceType::kCpu);
  ManualStream stream;
  AccountKeeper keeper(device, 2);
  give_step(device, keeper, stream, 1);
  const AccountEntry all = keeper.take(1).all_collectives();
  CHECK(all.ms == 8.0);
  CHECK(all.wait_ms == 8.0);
}

TEST_CASE("a step's account is its own, the total has all, and events are used again") {
  ManualDevice device(DeviceType::kCuda);
  ManualStream stream;
  AccountKeeper keeper(device, 2);
  give_step(device, keeper, stream, 1);
  give_step(device, keeper, stream, 2);
  CHECK(keeper.take(1).all_collectives().bytes == 184320);
  CHECK(keeper.total().all_collectives().bytes == 184320);
  CHECK(keeper.take(2).all_collectives().bytes == 184320);
  CHECK(keeper.take(3).collectives.empty());
  CHECK(keeper.total().all_collectives().bytes == 368640);
  CHECK(keeper.total().copies.at("copy_to_host").calls == 2);
  const int events = device.events;
  give_step(device, keeper, stream, 3);
  keeper.take(3);
  CHECK(device.events == events);
}

TEST_CASE("a rank alone has host copies but no communication") {
  ManualDevice device(DeviceType::kCuda);
  ManualStream stream;
  AccountKeeper keeper(device, 1);
  give_step(device, keeper, stream, 1);
  const Account account = keeper.take(1);
  CHECK(account.collectives.empty());
  CHECK(account.copies.size() == 1);
}

TEST_CASE("a communicator tells observers of waits, host copies, the step and the background stream") {
  struct Recorder final : CommObserver {
    std::string text;
    void note(const char* when, const CommCall& call) {
      text += std::string(when) + std::string(call.op) + "(" + std::to_string(call.bytes) + ", step " +
              std::to_string(call.step) + (call.background ? ", background) " : ") ");
    }
    void before(const CommCall& call) override { note("", call); }
    void after(const CommCall&) override {}
    void before_copy(const CommCall& call) override { note("", call); }
    void after_copy(const CommCall& call) override { note("end of ", call); }
    void before_wait(const CommCall& call) override { note("wait for ", call); }
    void after_wait(const CommCall& call) override { note("end of ", call); }
  };
  const auto communicator = make_null_communicator(1, 2);
  const auto device = make_null_device();
  const auto compute = device->create_stream("compute");
  const auto background = device->create_stream("communication");
  const auto event = device->create_event();
  const auto view = [&](std::int64_t numel) { return View(device->allocate(1), numel, DType::kF32); };
  Recorder recorder;
  communicator->set_background({background.get()});
  communicator->set_step(7);
  communicator->add_observer(recorder);
  communicator->all_gather(view(1), view(2), *background);
  communicator->wait("all_gather", *event, *compute);
  communicator->host_copy("copy_to_host", *device, view(2), view(2), *compute);
  CHECK(recorder.text ==
        "all_gather(4, step 7, background) wait for all_gather(0, step 7) end of all_gather(0, step 7) "
        "copy_to_host(8, step 7) end of copy_to_host(8, step 7) ");
  communicator->remove_observer(recorder);
}

}  // namespace llama_zero::test
