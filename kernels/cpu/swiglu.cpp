// SwiGLU and its gradient.
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/vector_math.h"

namespace llama_zero::cpu {

namespace {

/// Where a block of a row lies in gate_up: gate and up of columns [column, column + count) of `row`.
struct Block {
  std::int64_t row, column, count, intermediate_size;
  std::int64_t gate() const { return row * 2 * intermediate_size + column; }
  std::int64_t up() const { return gate() + intermediate_size; }
  std::int64_t single() const { return row * intermediate_size + column; }
};

template <typename Body>
void for_row_blocks(const Context& context, std::int64_t rows, std::int64_t intermediate_size, const Body& body) {
  parallel_rows(context, rows, intermediate_size, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      for_blocks(intermediate_size, [&](std::int64_t column, std::int64_t count) {
        body(Block{row, column, count, intermediate_size});
      });
    }
  });
}

template <typename C>
void forward(const SwiGluForward& args, const Block& block) {
  C gate_buffer[kBlock];
  C up_buffer[kBlock];
  C output_buffer[kBlock];
  const C* gate = read(args.gate_up, block.gate(), block.count, gate_buffer);
  const C* up = read(args.gate_up, block.up(), block.count, up_buffer);
  C* output = place(args.output, block.single(), output_buffer);
#pragma omp simd
  for (std::int64_t i = 0; i < block.count; ++i) output[i] = gate[i] * sigmoid(gate[i]) * up[i];
  finish(args.output, block.single(), block.count, output);
}

template <typename C>
void backward(const SwiGluBackward& args, const Block& block) {
  C grad_buffer[kBlock];
  C gate[kBlock];
  C up[kBlock];
  load(args.gate_up, block.gate(), block.count, gate);
  load(args.gate_up, block.up(), block.count, up);
  const C* grad = read(args.grad_output, block.single(), block.count, grad_buffer);
#pragma omp simd
  for (std::int64_t i = 0; i < block.count; ++i) {
    const C s = sigmoid(gate[i]);
    const C silu = gate[i] * s;
    const C grad_gate = grad[i] * up[i] * (s + silu * (C(1) - s));
    up[i] = grad[i] * silu;
    gate[i] = grad_gate;
  }
  store(args.grad_gate_up, block.gate(), block.count, gate);
  store(args.grad_gate_up, block.up(), block.count, up);
}

}  // namespace

void run(const SwiGluForward& args, const Context& context) {
  with_compute_type(args.gate_up.dtype(), [&]<typename C>(C) {
    for_row_blocks(context, args.tokens_count, args.intermediate_size,
                   [&](const Block& block) { forward<C>(args, block); });
  });
}

void run(const SwiGluBackward& args, const Context& context) {
  with_compute_type(args.gate_up.dtype(), [&]<typename C>(C) {
    for_row_blocks(context, args.tokens_count, args.intermediate_size,
                   [&](const Block& block) { backward<C>(args, block); });
  });
}

}  // namespace llama_zero::cpu
