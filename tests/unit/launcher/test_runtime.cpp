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

TEST_CASE("a device that the build lacks is refused") {
  CHECK_THROWS_AS(check_device(DeviceChoice::kCuda), Error);
  CHECK_NOTHROW(check_device(DeviceChoice::kCpu));
  CHECK_NOTHROW(check_device(DeviceChoice::kAuto));
}

}  // namespace llama_zero
