#include <doctest/doctest.h>

#include "core/error.h"
#include "launcher/runtime.h"

namespace llama_zero {

TEST_CASE("the ranks of a host share its cores, each has at least one thread") {
  CHECK(threads_per_rank(nullptr, 16, 1) == 16);
  CHECK(threads_per_rank(nullptr, 16, 4) == 4);
  CHECK(threads_per_rank(nullptr, 16, 5) == 3);
  CHECK(threads_per_rank(nullptr, 2, 8) == 2);  // bound to cores of its own by mpirun: they are not shared again
  CHECK(threads_per_rank(nullptr, 1, 8) == 1);
}

TEST_CASE("OMP_NUM_THREADS decides when it is a number") {
  CHECK(threads_per_rank("3", 16, 4) == 3);
  CHECK(threads_per_rank("", 16, 4) == 4);
  CHECK(threads_per_rank("0", 16, 4) == 4);
  CHECK(threads_per_rank("many", 16, 4) == 4);
}

TEST_CASE("a device that cannot be used is refused, and the refusal says why") {
  const bool usable = why_no_cuda().empty();
  if (usable) {
    CHECK(make_cuda_backend(0, AttentionChoice::kAuto).device->type() == DeviceType::kCuda);
    CHECK_NOTHROW(check_device(DeviceChoice::kCuda));
  } else {
    CHECK_THROWS_WITH_AS(check_device(DeviceChoice::kCuda), doctest::Contains(why_no_cuda().c_str()), Error);
    CHECK_THROWS_AS(make_cuda_backend(0, AttentionChoice::kAuto), Error);
  }
  CHECK(make_cpu_backend(1).device->type() == DeviceType::kCpu);
  CHECK_NOTHROW(check_device(DeviceChoice::kCpu));
  CHECK_NOTHROW(check_device(DeviceChoice::kAuto));
}

TEST_CASE("ranks get a GPU each, or share them in turn where there are too few") {
  CHECK(gpu_of_rank(0, 4) == 0);
  CHECK(gpu_of_rank(3, 4) == 3);
  CHECK(gpu_of_rank(3, 1) == 0);
  CHECK(gpu_of_rank(5, 4) == 1);
}

}  // namespace llama_zero
