// The three products of a linear layer. The result is cut into tiles whose sizes follow from the shape alone; one
// thread computes a tile with OpenBLAS. 16-bit operands are converted block by block of K into fp32 scratch, the tile
// is summed in fp32 over all blocks and rounded once; operands that already hold the arithmetic type are used where
// they lie.
#include <algorithm>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"

namespace llama_zero::cpu {

namespace {

struct Operand {
  ConstView view;
  Layout layout;
};

/// result[m, n] (+)= a[m, k] * b[k, n].
struct Product {
  const char* op;
  std::int64_t m, n, k;
  Operand a, b;
  View result;
  bool accumulate;
};

constexpr std::int64_t kMaxTile =
    256;  // 256 x 256 fp32: the tile and a block of both operands fit the second-level cache
constexpr std::int64_t kMinTile = 64;    // below this, packing costs more than it shares
constexpr std::int64_t kMinTiles = 8;    // tiles wanted, so that a few threads finish about together
constexpr std::int64_t kMaxDepth = 384;  // columns of K converted at a time

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) { return divide_up(a, b) * b; }

/// The largest size that needs no more parts than `limit` does, as a multiple of 8.
std::int64_t even_part(std::int64_t size, std::int64_t limit) {
  return size == 0 ? limit : round_up(divide_up(size, divide_up(size, limit)), 8);
}

struct Tiling {
  std::int64_t tile_m, tile_n, depth;
  std::int64_t tiles_m, tiles_n;
};

Tiling tiling(const Product& p, DType compute) {
  std::int64_t tile_m = even_part(p.m, kMaxTile);
  std::int64_t tile_n = even_part(p.n, kMaxTile);
  while (divide_up(p.m, tile_m) * divide_up(p.n, tile_n) < kMinTiles && std::max(tile_m, tile_n) > kMinTile) {
    std::int64_t& larger = tile_m >= tile_n ? tile_m : tile_n;
    larger = round_up(larger / 2, 8);
  }
  const bool in_place = p.a.view.dtype() == compute && p.b.view.dtype() == compute;
  const std::int64_t depth = in_place ? std::max<std::int64_t>(p.k, 1) : even_part(p.k, kMaxDepth);
  return {tile_m, tile_n, depth, divide_up(p.m, tile_m), divide_up(p.n, tile_n)};
}

/// Scratch of one thread: what has to be converted.
template <typename C>
std::size_t thread_bytes(const Product& p, const Tiling& t) {
  std::size_t bytes = 0;
  if (p.a.view.dtype() != DTypeOf<C>::value) bytes += scratch_bytes<C>(t.tile_m * t.depth);
  if (p.b.view.dtype() != DTypeOf<C>::value) bytes += scratch_bytes<C>(t.tile_n * t.depth);
  if (p.result.dtype() != DTypeOf<C>::value) bytes += scratch_bytes<C>(t.tile_m * t.tile_n);
  return bytes;
}

template <typename C>
struct Matrix {
  const C* data;
  std::int64_t stride;
};

/// Rows and columns of the matrix in memory, as C: in place, or converted into `buffer`.
template <typename C>
Matrix<C> part(const ConstView& view, std::int64_t stride, std::int64_t row, std::int64_t rows, std::int64_t column,
               std::int64_t columns, C* buffer) {
  const std::int64_t offset = row * stride + column;
  if (view.dtype() == DTypeOf<C>::value) return {view.as<C>() + offset, stride};
  load_rows(view, offset, stride, rows, columns, buffer);
  return {buffer, columns};
}

/// Rounds the finished tile into the result, adding the old values first when asked to.
template <typename C>
void store_tile(const Product& p, std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns,
                C* tile) {
  if (p.accumulate) {
    for (std::int64_t r = 0; r < rows; ++r) {
      for_blocks(columns, [&](std::int64_t start, std::int64_t count) {
        C buffer[kBlock];
        const C* old = read(ConstView(p.result), (row + r) * p.n + column + start, count, buffer);
        C* values = tile + r * columns + start;
        for (std::int64_t i = 0; i < count; ++i) values[i] += old[i];
      });
    }
  }
  store_rows(p.result, row * p.n + column, p.n, rows, columns, tile);
}

template <typename C>
void compute_tile(const Product& p, const Tiling& t, std::int64_t index, Scratch scratch) {
  const std::int64_t row = index / t.tiles_n * t.tile_m;
  const std::int64_t column = index % t.tiles_n * t.tile_n;
  const std::int64_t rows = std::min(t.tile_m, p.m - row);
  const std::int64_t columns = std::min(t.tile_n, p.n - column);
  const bool direct = p.result.dtype() == DTypeOf<C>::value;
  C* buffer_a = p.a.view.dtype() == DTypeOf<C>::value ? nullptr : scratch.take<C>(t.tile_m * t.depth);
  C* buffer_b = p.b.view.dtype() == DTypeOf<C>::value ? nullptr : scratch.take<C>(t.tile_n * t.depth);
  C* tile = direct ? p.result.as<C>() + row * p.n + column : scratch.take<C>(t.tile_m * t.tile_n);
  const std::int64_t tile_stride = direct ? p.n : columns;
  bool add = direct && p.accumulate;
  std::int64_t start = 0;
  do {  // once even when k is 0: the product is then zero
    const std::int64_t depth = std::min(t.depth, p.k - start);
    const Matrix<C> a = p.a.layout == Layout::kPlain ? part(p.a.view, p.k, row, rows, start, depth, buffer_a)
                                                     : part(p.a.view, p.m, start, depth, row, rows, buffer_a);
    const Matrix<C> b = p.b.layout == Layout::kPlain ? part(p.b.view, p.n, start, depth, column, columns, buffer_b)
                                                     : part(p.b.view, p.k, column, columns, start, depth, buffer_b);
    gemm(p.a.layout, p.b.layout, rows, columns, depth, C(1), a.data, std::max<std::int64_t>(a.stride, 1), b.data,
         std::max<std::int64_t>(b.stride, 1), add ? C(1) : C(0), tile, tile_stride);
    add = true;
    start += depth;
  } while (start < p.k);
  if (!direct) store_tile(p, row, rows, column, columns, tile);
}

/// The arithmetic type is that of the operands; a result of another dtype is converted.
DType compute_dtype(const Product& p) { return stat_dtype(p.a.view.dtype()); }

std::size_t product_workspace(const Product& p, int threads) {
  const Tiling t = tiling(p, compute_dtype(p));
  return with_compute_type(compute_dtype(p), [&]<typename C>(C) {
    return thread_bytes<C>(p, t) * static_cast<std::size_t>(std::min<std::int64_t>(threads, t.tiles_m * t.tiles_n));
  });
}

void multiply(const Product& p, const Context& context) {
  require_workspace(context, p.op, product_workspace(p, context.threads));
  const Tiling t = tiling(p, compute_dtype(p));
  with_compute_type(compute_dtype(p), [&]<typename C>(C) {
    const std::size_t bytes = thread_bytes<C>(p, t);
    parallel_for(context, t.tiles_m * t.tiles_n, [&](std::int64_t tile, int thread) {
      compute_tile<C>(p, t, tile, Scratch::of_thread(context, p.op, thread, bytes));
    });
  });
}

Product product_of(const LinearForward& args) {
  return {"linear_forward",
          args.rows,
          args.out_features,
          args.in_features,
          {args.input, Layout::kPlain},
          {args.weight, Layout::kTransposed},
          args.output,
          false};
}

Product product_of(const LinearBackwardInput& args) {
  return {"linear_backward_input",
          args.rows,
          args.in_features,
          args.out_features,
          {args.grad_output, Layout::kPlain},
          {args.weight, Layout::kPlain},
          args.grad_input,
          args.accumulate};
}

Product product_of(const LinearBackwardWeight& args) {
  return {"linear_backward_weight",
          args.out_features,
          args.in_features,
          args.rows,
          {args.grad_output, Layout::kTransposed},
          {args.input, Layout::kPlain},
          args.grad_weight,
          args.accumulate};
}

}  // namespace

std::size_t workspace_bytes(const LinearForward& args, int threads) {
  return product_workspace(product_of(args), threads);
}
std::size_t workspace_bytes(const LinearBackwardInput& args, int threads) {
  return product_workspace(product_of(args), threads);
}
std::size_t workspace_bytes(const LinearBackwardWeight& args, int threads) {
  return product_workspace(product_of(args), threads);
}

void run(const LinearForward& args, const Context& context) { multiply(product_of(args), context); }
void run(const LinearBackwardInput& args, const Context& context) { multiply(product_of(args), context); }
void run(const LinearBackwardWeight& args, const Context& context) { multiply(product_of(args), context); }

}  // namespace llama_zero::cpu
