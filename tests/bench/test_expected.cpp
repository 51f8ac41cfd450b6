// The formulas that kernel_bench checks large shapes with, against the CPU reference.
#include <doctest/doctest.h>

#include "kernels/bench/measure.h"

namespace llama_zero::bench {

TEST_CASE("what the benchmark expects of every op is what the CPU reference gives in fp64") {
  Backend backend = make_cpu_backend(1, std::size_t{256} << 20U);
  for (const OpEntry& op : op_table()) {
    for (const char* sizes :
         {"T=37,H=24,N=40,I=16,Q=4,G=2,D=8,V=53,L=9,R=3,E=5003", "T=70,H=72,Q=2,G=2,D=16,L=70,E=9"}) {
      Shape shape;
      shape.set(sizes);
      const Arena::Scope scope(*backend.arena);
      CaseBuilder builder(backend, DType::kF64, DType::kF32);
      const Case c = op.make(builder, shape);
      const Comparison comparison = compare_with_expected(c, DType::kF64, backend);
      INFO(op.name << " " << sizes);
      CHECK(comparison.compared > 0);
      // The sum of squares of fp64 and everything else differ by the order of their sums; rstd and state are fp32
      // numbers.
      CHECK(comparison.error < 1e-6);
    }
  }
}

TEST_CASE("the benchmark takes at least the promised number of elements of a large result") {
  Backend backend = make_cpu_backend(1, std::size_t{256} << 20U);
  for (const OpEntry& op : op_table()) {
    if (op.name == "sum_of_squares" || op.name == "sum_losses" || op.name == "cross_entropy_forward") continue;
    Shape shape;
    shape.set("T=192,H=128,N=128,I=64,Q=4,G=4,D=32,V=128,L=2,R=4,E=40000");
    const Arena::Scope scope(*backend.arena);
    CaseBuilder builder(backend, DType::kF32, DType::kF32);
    INFO(op.name);
    CHECK(compare_with_expected(op.make(builder, shape), DType::kF32, backend).compared >= 4096);
  }
}

TEST_CASE("a wrong element is seen") {
  Backend backend = make_cpu_backend(1, std::size_t{64} << 20U);
  const Arena::Scope scope(*backend.arena);
  CaseBuilder builder(backend, DType::kF32, DType::kF32);
  Shape shape;
  shape.set("E=3000");
  for (const OpEntry& op : op_table()) {
    if (op.name != "add") continue;
    Case c = op.make(builder, shape);
    CHECK(compare_with_expected(c, DType::kF32, backend).ok());
    c.run = [run = c.run, result = c.results[0]] {
      run();
      result.as<float>()[2999] += 0.5F;
    };
    CHECK_FALSE(compare_with_expected(c, DType::kF32, backend).ok());
  }
}

}  // namespace llama_zero::bench
