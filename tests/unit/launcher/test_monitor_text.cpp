// DeepSpeed's lines.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "launcher/monitor/deepspeed_text.h"
#include "launcher/monitor/step_scalars.h"
#include "launcher/monitor/throughput_timer.h"

namespace llama_zero::test {

TEST_CASE("floats are printed as Python prints them") {
  CHECK(python_float(0.001) == "0.001");
  CHECK(python_float(1e-5) == "1e-05");
  CHECK(python_float(65536.0) == "65536.0");
  CHECK(python_float(1e16) == "1e+16");
  CHECK(python_float(1234567890123456.0) == "1234567890123456.0");
  CHECK(python_float(std::nan("")) == "nan");
  CHECK(python_round(2.675) == "2.67");  // 2.675 is 2.67499... in binary
  CHECK(python_round(0.5) == "0.5");
}

TEST_CASE("the progress line has DeepSpeed's words") {
  const std::vector<double> betas = {0.9, 0.999};
  CHECK(progress_line(10, 2, 1e-4, betas) == "step=10, skipped=2, lr=[0.0001], mom=[[0.9, 0.999]]");
  const std::vector<double> momentum = {0.5};
  CHECK(progress_line(1, 0, 1.0, momentum) == "step=1, skipped=0, lr=[1.0], mom=[0.5]");
  CHECK(progress_line(1, 0, 1.0, {}) == "step=1, skipped=0, lr=[1.0], mom=[0.0]");
}

TEST_CASE("the throughput leaves out two steps") {
  ThroughputTimer timer(32);
  timer.add_step(100.0);
  timer.add_step(100.0);
  CHECK_FALSE(timer.has_figures());
  timer.add_step(2.0);
  CHECK(timer.has_figures());
  CHECK(timer.average() == 16.0);
  timer.add_step(6.0);
  CHECK(timer.average() == 8.0);
  CHECK(timer.current() == doctest::Approx(32.0 / 6.000001).epsilon(1e-14));
}

TEST_CASE("the throughput line has DeepSpeed's words") {
  const ThroughputFigures figures{1, 40, 10, 16.0, 15.5, std::size_t{3} << 29, std::size_t{9} << 28};
  CHECK(throughput_line(figures) ==
        "epoch=1/micro_step=40/global_step=10, RunningAvgSamplesPerSec=16.0, CurrSamplesPerSec=15.5, "
        "MemAllocated=1.5GB, MaxMemAllocated=2.25GB");
}

TEST_CASE("the line of times has two decimals a time") {
  const std::vector<NamedTime> times = {{"fwd", 1.234}, {"bwd", 20.0}};
  CHECK(times_line(times) == "time (ms) | fwd: 1.23 | bwd: 20.00");
}

TEST_CASE("the lines of memory are DeepSpeed's, blanks included") {
  const DeviceMemory device{std::size_t{3} << 29, std::size_t{1} << 31, std::size_t{1} << 32};
  const HostMemoryUse host{std::int64_t{8} << 30, std::int64_t{6} << 30};
  CHECK(memory_lines("Engine before step", device, host) ==
        "Engine before step\n"
        "MA 1.5 GB         Max_MA 2.0 GB         CA 4.0 GB         Max_CA 4 GB \n"
        "CPU Virtual Memory:  used = 2.0 GB, percent = 25.0%\n");
}

TEST_CASE("used host memory is what is not available") {
  const HostMemoryUse memory = parse_meminfo("MemTotal:        1000 kB\nMemFree:  1 kB\nMemAvailable:    250 kB\n");
  CHECK(memory.total_bytes == 1024000);
  CHECK(memory.available_bytes == 256000);
  CHECK(memory.used_percent() == 75.0);
  CHECK(parse_meminfo("").used_percent() == 0.0);
  CHECK(host_memory().total_bytes > 0);
}

TEST_CASE("the scalars of a step have DeepSpeed's tags and x axis") {
  StepReport report;
  report.step = 3;
  report.loss = 2.5;
  report.next_loss_scale = 1024.0;
  report.grad_norm = std::numeric_limits<double>::infinity();
  const auto tags = [&](const std::vector<Scalar>& scalars) {
    std::string all;
    for (const Scalar& scalar : scalars) {
      CHECK(scalar.samples == 48);
      all += scalar.tag.substr(scalar.tag.rfind('/') + 1) + " ";
    }
    return all;
  };
  const std::vector<Scalar> plain = step_scalars(report, {16, false}, 0.125, std::nullopt);
  CHECK(tags(plain) == "lr train_loss grad_norm tokens_per_second max_memory_gb ");
  CHECK(plain[0].tag == "Train/Samples/lr");
  CHECK(plain[0].value == 0.125);
  StepTimes times;
  times.passes = {{1.0, 4.0, 3.0, 1.0, {}}, {2.0, 8.0, 6.0, 2.0, {}}};
  times.update = 5.0;
  times.gradients = 0.5;
  const std::vector<Scalar> full = step_scalars(report, {16, true}, 0.125, times);
  CHECK(tags(full) ==
        "lr loss_scale elapsed_time_ms_forward elapsed_time_ms_backward elapsed_time_ms_backward_inner "
        "elapsed_time_ms_backward_allreduce elapsed_time_ms_step train_loss grad_norm tokens_per_second "
        "max_memory_gb ");
  CHECK(full[1].value == 1024.0);
  CHECK(full[2].value == 3.0);
  CHECK(full[3].value == 12.0);
  CHECK(full[4].value == 9.0);
  CHECK(full[5].value == 3.0);
  CHECK(full[6].value == 5.5);
}

}  // namespace llama_zero::test
