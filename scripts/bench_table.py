#!/usr/bin/env python3
"""Prints what scripts/bench_step measured: our step op by op against its limit, and every program's speed."""

import json
import sys


def load(paths):
    results = []
    for path in paths:
        with open(path) as file:
            results += [json.loads(line) for line in file if line.startswith("{")]
    return results


def print_ops(own):
    print(
        f"{own['card']} | {own['shape']}, {own['parameters'] / 1e6:.0f}M parameters, {own['dtype']} | "
        f"{own['tokens_per_step']} tokens a step, passes of {own['micro_batch']} x {own['sequence']} | "
        f"copy {own['copy_gb_s']:.0f} GB/s | limit with {own['limit_attention']}"
    )
    print(f"{'op':<24}{'calls':>7}{'limit ms':>11}{'ours ms':>11}{'lost ms':>11}")
    rows = sorted(own["ops"].items(), key=lambda row: -row[1]["ours_ms"])
    for name, row in rows:
        lost = row["ours_ms"] - row["limit_ms"]
        print(f"{name:<24}{row['calls']:>7}{row['limit_ms']:>11.3f}{row['ours_ms']:>11.3f}{lost:>11.3f}")
    limit, ours = own["limit_ms"], own["step_ms"]
    print(f"{'whole step':<24}{'':>7}{limit:>11.3f}{ours:>11.3f}{ours - limit:>11.3f}")
    print(f"step efficiency {own['step_efficiency']:.3f}; spread of the limit {100 * own['limit_spread']:.1f} %")


def print_programs(results):
    print(f"\n{'program':<26}{'tokens/s':>10}{'MFU %':>8}{'step ms':>10}{'spread %':>10}{'GB':>8}{'ours over it':>14}")
    own = next(result for result in results if "ops" in result)
    for result in results:
        if result.get("out_of_memory"):
            print(f"{result['program']:<26}  out of memory")
            continue
        ratio = own["tokens_per_s"] / result["tokens_per_s"]
        print(
            f"{result['program']:<26}{result['tokens_per_s']:>10.0f}{100 * result['mfu']:>8.1f}{result['step_ms']:>10.1f}"
            f"{100 * result['step_spread']:>10.1f}{result['memory_gb']:>8.1f}{ratio:>13.2f}x"
        )


def main():
    results = load(sys.argv[1:])
    print_ops(next(result for result in results if "ops" in result))
    print_programs(sorted(results, key=lambda result: "ops" not in result))


if __name__ == "__main__":
    main()
