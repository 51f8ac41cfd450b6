// Where a golden test runs: the CPU, and a GPU where there is one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "kernels/ops.h"

namespace llama_zero::test {

struct Backend {
  std::string name;
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> ops;
};

/// "cpu", and "cuda" where it can be used; the first call without one prints "skipped: golden tests on a GPU (<why>)".
std::vector<std::string> backend_names();
Backend make_backend(const std::string& name);

}  // namespace llama_zero::test
