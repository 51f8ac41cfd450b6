// Flat element-wise ops: cast, add, fill.
#include <algorithm>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"

namespace llama_zero::cpu {

void run(const Cast& args, const Context& context) {
  with_compute_type(wider(args.source.dtype(), args.destination.dtype()), [&]<typename C>(C) {
    const C factor = static_cast<C>(args.factor);
    parallel_blocks(context, args.source.numel(), [&](std::int64_t offset, std::int64_t count) {
      C buffer[kBlock];
      C result[kBlock];
      const C* source = read(args.source, offset, count, buffer);
      for (std::int64_t i = 0; i < count; ++i) result[i] = source[i] * factor;
      store(args.destination, offset, count, result);
    });
  });
}

void run(const Add& args, const Context& context) {
  with_compute_type(wider(args.source.dtype(), args.destination.dtype()), [&]<typename C>(C) {
    parallel_blocks(context, args.source.numel(), [&](std::int64_t offset, std::int64_t count) {
      C buffer[kBlock];
      C total[kBlock];
      load(ConstView(args.destination), offset, count, total);
      const C* source = read(args.source, offset, count, buffer);
      for (std::int64_t i = 0; i < count; ++i) total[i] += source[i];
      store(args.destination, offset, count, total);
    });
  });
}

void run(const Fill& args, const Context& context) {
  with_compute_type(args.destination.dtype(), [&]<typename C>(C) {
    C values[kBlock];
    std::fill_n(values, kBlock, static_cast<C>(args.value));
    parallel_blocks(context, args.destination.numel(),
                    [&](std::int64_t offset, std::int64_t count) { store(args.destination, offset, count, values); });
  });
}

}  // namespace llama_zero::cpu
