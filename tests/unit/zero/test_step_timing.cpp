// Times of the phases of a step, from a stream whose clock the test moves.
#include <doctest/doctest.h>

#include <string>

#include "core/error.h"
#include "tests/support/manual_device.h"
#include "zero/communicator.h"
#include "zero/step_timing.h"

namespace llama_zero::test {
namespace {

/// Gives a step of two units and a head to `timer`: one pass, a reduction of 2 ms in its backward.
void give_step(ManualDevice& device, StepTimer& timer, Stream& stream) {
  const auto go = [&](StepPoint point, double after, int unit = -1) {
    timer.at(point, unit, stream);
    device.clock += after;
  };
  const auto call = [&](const char* op, double ms) {
    timer.before({op, 64, &stream});
    device.clock += ms;
    timer.after({op, 64, &stream});
  };
  go(StepPoint::kPass, 1.0);
  go(StepPoint::kUnitForward, 2.0, 0);
  call("all_gather", 3.0);
  go(StepPoint::kUnitForward, 4.0, 1);
  go(StepPoint::kHead, 9.0);
  go(StepPoint::kBackward, 10.0);
  call("all_gather", 5.0);
  call("all_to_all", 2.0);
  go(StepPoint::kPassEnd, 0.5);
  call("all_gather", 0.25);
  go(StepPoint::kReduced, 0.125);
  go(StepPoint::kDecided, 16.0);
  go(StepPoint::kUpdated, 32.0);
  go(StepPoint::kPublished, 100.0);
}

}  // namespace

TEST_CASE("phases of a step are the times between its points") {
  ManualDevice device(DeviceType::kCpu);
  ManualStream stream;
  StepTimer timer(device);
  give_step(device, timer, stream);
  CHECK(timer.finished_steps() == 1);
  const StepTimes times = timer.take();
  REQUIRE(times.passes.size() == 1);
  const PassTimes& pass = times.passes[0];
  CHECK(pass.forward == 1.0 + 5.0 + 4.0 + 3.0);  // a third of the head's 9 ms
  CHECK(pass.unit_forward == std::vector<double>{5.0, 4.0, 3.0});
  CHECK(pass.backward == 6.0 + 17.0 + 0.75);
  CHECK(pass.reduction == 2.0 + 0.25);  // gathers of weights are none
  CHECK(pass.inner == pass.backward - pass.reduction);
  CHECK(times.gradients == 0.125);
  CHECK(times.update == 16.0);
  CHECK(times.publish == 32.0);
  CHECK(times.boundary() == 48.125);
}

TEST_CASE("on a GPU a reduction that overlaps takes nothing from the backward") {
  ManualDevice device(DeviceType::kCuda);
  ManualStream stream;
  StepTimer timer(device);
  give_step(device, timer, stream);
  const PassTimes pass = timer.take().total();
  CHECK(pass.inner == 6.0 + 17.0);
  CHECK(pass.backward == 6.0 + 17.0 + 0.75);
}

TEST_CASE("times wait for the host, and events are used again") {
  ManualDevice device(DeviceType::kCpu);
  ManualStream stream;
  StepTimer timer(device);
  give_step(device, timer, stream);
  give_step(device, timer, stream);
  CHECK(timer.finished_steps() == 2);
  const StepTimes first = timer.take();
  CHECK(first.update == timer.take().update);
  CHECK_THROWS_AS(timer.take(), Error);
  const int events = device.events;
  give_step(device, timer, stream);
  timer.take();
  CHECK(device.events == events);
}

TEST_CASE("an observer sees every collective with its bytes, until it is removed") {
  struct Recorder final : CommObserver {
    std::string text;
    void before(const CommCall& call) override { text += std::string(call.op) + "(" + std::to_string(call.bytes); }
    void after(const CommCall&) override { text += ") "; }
  };
  const auto communicator = make_null_communicator(1, 4);
  const auto device = make_null_device();
  const auto stream = device->create_stream("compute");
  const auto view = [&](std::int64_t numel) { return View(device->allocate(1), numel, DType::kF32); };
  Recorder recorder;
  communicator->add_observer(recorder);
  communicator->all_gather(view(3), view(12), *stream);
  communicator->all_to_all(view(8), view(8), *stream);
  communicator->all_to_all(view(8), {2, 1, 1}, view(4), *stream);
  communicator->broadcast(view(5), 0, *stream);
  communicator->send(view(1), 0, *stream);
  communicator->recv(view(2), 2, *stream);
  communicator->barrier();
  communicator->remove_observer(recorder);
  communicator->barrier();
  CHECK(recorder.text == "all_gather(12) all_to_all(32) all_to_all(16) broadcast(20) send(4) recv(8) barrier(0) ");
}

TEST_CASE("events of the CPU take the time when they are asked to") {
  const auto device = make_cpu_device();
  const auto stream = device->create_stream("compute");
  const auto earlier = device->create_timing_event();
  const auto later = device->create_timing_event();
  earlier->record(*stream);
  later->record(*stream);
  CHECK(later->elapsed_ms(*earlier) >= 0.0);
  CHECK(earlier->elapsed_ms(*later) <= 0.0);
  const auto plain = device->create_event();
  CHECK_THROWS_AS(plain->elapsed_ms(*earlier), Error);
  CHECK_THROWS_AS(later->elapsed_ms(*plain), Error);
}

}  // namespace llama_zero::test
