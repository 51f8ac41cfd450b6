#!/usr/bin/env python3
"""The peer of `kernel_bench host_adam`: PyTorch's fused CPU AdamW and the casts that offloading needs around it.

An offloaded step reads 16-bit gradients and leaves 16-bit weights. torch.optim.AdamW(fused=True) works on fp32 alone, so
the gradient is widened before it and the master narrowed after it. Bytes are counted as for host_adam: 28 an element,
what one pass over the data must move. Prints the same columns. PyTorch is needed by this script only.
"""

import argparse
import os
import time

import torch

BYTES = 28  # fp32 master, m and v read and written; 16-bit gradient read, 16-bit weight written
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def sample(count, work):
    """Median seconds, and (90th - 10th percentile) / median."""
    work()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    seconds.sort()
    at = lambda q: seconds[int(q * (count - 1))]
    return at(0.5), (at(0.9) - at(0.1)) / at(0.5)


def print_row(name, what, dtype, elements, threads, time_taken, copy_rate):
    median, spread = time_taken
    rate = BYTES * elements / median
    print(
        f"{'torch':<10} {name:<9} {what:<9} {dtype:<5} {elements:>11} {threads:>7} {median * 1e3:>9.2f} "
        f"{50 * spread:>7.0f} {rate * 1e-9:>7.1f} {100 * rate / copy_rate:>9.0f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=int, default=64 << 20)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", default=list(DTYPES))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    source = torch.rand(3 * args.elements)
    target = torch.empty_like(source)
    copy_seconds, _ = sample(args.samples, lambda: target.copy_(source))
    copy_rate = 2 * 4 * source.numel() / copy_seconds
    print(f"torch {torch.__version__}, host copy by {args.threads} threads, read + write: {copy_rate * 1e-9:.1f} GB/s")
    del source, target

    print(
        f"{'':<10} {'path':<9} {'what':<9} {'dtype':<5} {'elements':>11} {'threads':>7} {'ms':>9} "
        f"{'+-%':>7} {'GB/s':>7} {'% of copy':>9}"
    )
    for dtype in args.dtype:
        master = torch.nn.Parameter(torch.rand(args.elements))
        master.grad = torch.empty_like(master)
        gradient = torch.rand(args.elements).to(DTYPES[dtype])
        weight = torch.empty(args.elements, dtype=DTYPES[dtype])
        adamw = torch.optim.AdamW([master], lr=1e-4, weight_decay=0.01, fused=True)

        def step():
            master.grad.copy_(gradient)
            adamw.step()
            weight.copy_(master.detach())

        print_row("fused", "no casts", dtype, args.elements, args.threads, sample(args.samples, adamw.step), copy_rate)
        print_row("fused", "+ casts", dtype, args.elements, args.threads, sample(args.samples, step), copy_rate)


if __name__ == "__main__":
    main()
