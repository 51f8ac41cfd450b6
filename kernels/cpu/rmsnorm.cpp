// RMSNorm with the fused residual addition, and its gradient. Rows are walked twice in blocks that stay in the
// first-level cache: once for the statistic, once for the result.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/vector_math.h"

namespace llama_zero::cpu {

namespace {

/// Writes round(input + residual) and leaves the rounded values in `x`.
template <typename C>
void add_residual(const RmsNormForward& args, std::int64_t offset, std::int64_t count, C* x) {
  C buffer[kBlock];
  load(args.input, offset, count, x);
  const C* residual = read(args.residual, offset, count, buffer);
  for (std::int64_t i = 0; i < count; ++i) x[i] += residual[i];
  store(args.sum, offset, count, x);
  load(ConstView(args.sum), offset, count, x);
}

template <typename C>
C row_mean_square(const RmsNormForward& args, std::int64_t row) {
  C total = 0;
  for_blocks(args.hidden_size, [&](std::int64_t column, std::int64_t count) {
    C buffer[kBlock];
    const std::int64_t offset = row * args.hidden_size + column;
    const C* x = buffer;
    if (args.residual) {
      add_residual(args, offset, count, buffer);
    } else {
      x = read(args.input, offset, count, buffer);
    }
    total += dot(x, x, count);
  });
  return total / static_cast<C>(args.hidden_size);
}

template <typename C>
void normalise_row(const RmsNormForward& args, std::int64_t row, C rstd) {
  const ConstView x_view = args.residual ? ConstView(args.sum) : args.input;
  for_blocks(args.hidden_size, [&](std::int64_t column, std::int64_t count) {
    C x_buffer[kBlock];
    C weight_buffer[kBlock];
    C output_buffer[kBlock];
    const std::int64_t offset = row * args.hidden_size + column;
    const C* x = read(x_view, offset, count, x_buffer);
    const C* weight = read(args.weight, column, count, weight_buffer);
    C* output = place(args.output, offset, output_buffer);
    for (std::int64_t i = 0; i < count; ++i) output[i] = x[i] * rstd * weight[i];
    finish(args.output, offset, count, output);
  });
}

/// Rows whose weight gradient is summed before the sums of blocks are added: at most kMaxRowBlocks blocks.
constexpr std::int64_t kMaxRowBlocks = 64;
constexpr std::int64_t kMinRowsPerBlock = 32;

std::int64_t rows_per_block(std::int64_t rows) {
  return std::max(kMinRowsPerBlock, (rows + kMaxRowBlocks - 1) / kMaxRowBlocks);
}

std::int64_t row_blocks(std::int64_t rows) { return (rows + rows_per_block(rows) - 1) / rows_per_block(rows); }

/// mean(w * g * x) of a row; adds g * x * rstd to `weight_sum` on the way.
template <typename C>
C row_projection(const RmsNormBackward& args, std::int64_t row, C rstd, C* weight_sum) {
  C total = 0;
  for_blocks(args.hidden_size, [&](std::int64_t column, std::int64_t count) {
    C g_buffer[kBlock];
    C x_buffer[kBlock];
    C weight_buffer[kBlock];
    C product[kBlock];
    const std::int64_t offset = row * args.hidden_size + column;
    const C* g = read(args.grad_output, offset, count, g_buffer);
    const C* x = read(args.input, offset, count, x_buffer);
    const C* weight = read(args.weight, column, count, weight_buffer);
    for (std::int64_t i = 0; i < count; ++i) product[i] = g[i] * x[i];
    for (std::int64_t i = 0; i < count; ++i)
      weight_sum[column + i] = std::fma(product[i], rstd, weight_sum[column + i]);
    total += dot(product, weight, count);
  });
  return total / static_cast<C>(args.hidden_size);
}

template <typename C>
void row_gradient(const RmsNormBackward& args, std::int64_t row, C rstd, C projection) {
  const C factor = rstd * rstd * projection;
  for_blocks(args.hidden_size, [&](std::int64_t column, std::int64_t count) {
    C g_buffer[kBlock];
    C x_buffer[kBlock];
    C weight_buffer[kBlock];
    C dx[kBlock];
    const std::int64_t offset = row * args.hidden_size + column;
    const C* g = read(args.grad_output, offset, count, g_buffer);
    const C* x = read(args.input, offset, count, x_buffer);
    const C* weight = read(args.weight, column, count, weight_buffer);
    for (std::int64_t i = 0; i < count; ++i) dx[i] = rstd * (weight[i] * g[i] - x[i] * factor);
    if (args.grad_residual) {
      const C* residual = read(args.grad_residual, offset, count, g_buffer);
      for (std::int64_t i = 0; i < count; ++i) dx[i] += residual[i];
    }
    store(args.grad_input, offset, count, dx);
  });
}

/// grad_weight (+)= the sums of the row blocks, in order.
template <typename C>
void add_weight_sums(const RmsNormBackward& args, const C* sums, std::int64_t blocks, const Context& context) {
  parallel_blocks(context, args.hidden_size, [&](std::int64_t column, std::int64_t count) {
    C total[kBlock];
    C old[kBlock];
    std::fill_n(total, count, C(0));
    for (std::int64_t b = 0; b < blocks; ++b) {
      const C* part = sums + b * args.hidden_size + column;
      for (std::int64_t i = 0; i < count; ++i) total[i] += part[i];
    }
    if (args.accumulate_weight) {
      load(ConstView(args.grad_weight), column, count, old);
      for (std::int64_t i = 0; i < count; ++i) total[i] += old[i];
    }
    store(args.grad_weight, column, count, total);
  });
}

template <typename C>
void backward(const RmsNormBackward& args, const Context& context) {
  const std::int64_t step = rows_per_block(args.tokens_count);
  const std::int64_t blocks = row_blocks(args.tokens_count);
  Scratch scratch(context, "rmsnorm_backward", 0, workspace_bytes(args));
  C* sums = scratch.take<C>(blocks * args.hidden_size);
  const C* rstd = args.rstd.as<C>();
  parallel_for(context, blocks, [&](std::int64_t block, int) {
    C* weight_sum = sums + block * args.hidden_size;
    std::fill_n(weight_sum, args.hidden_size, C(0));
    const std::int64_t last = std::min(args.tokens_count, (block + 1) * step);
    for (std::int64_t row = block * step; row < last; ++row) {
      const C projection = row_projection(args, row, rstd[row], weight_sum);
      row_gradient(args, row, rstd[row], projection);
    }
  });
  add_weight_sums(args, sums, blocks, context);
}

}  // namespace

std::size_t workspace_bytes(const RmsNormBackward& args) {
  const std::int64_t elements = row_blocks(args.tokens_count) * args.hidden_size;
  return with_compute_type(args.grad_output.dtype(), [&]<typename C>(C) { return scratch_bytes<C>(elements); });
}

void run(const RmsNormForward& args, const Context& context) {
  with_compute_type(args.input.dtype(), [&]<typename C>(C) {
    C* rstd = args.rstd.as<C>();
    const C eps = static_cast<C>(args.eps);
    parallel_rows(context, args.tokens_count, args.hidden_size, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t row = first; row < last; ++row) {
        rstd[row] = C(1) / std::sqrt(row_mean_square<C>(args, row) + eps);
        normalise_row(args, row, rstd[row]);
      }
    });
  });
}

void run(const RmsNormBackward& args, const Context& context) {
  with_compute_type(args.grad_output.dtype(), [&]<typename C>(C) { backward<C>(args, context); });
}

}  // namespace llama_zero::cpu
