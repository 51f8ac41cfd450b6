#!/usr/bin/env python3
"""Reads a run's event file with the real TensorBoard and compares it with metrics.jsonl, step by step.

    pip install tensorboard
    llama_zero --max-steps 5 --output RUN --set 'tensorboard={"enabled": true, "output_path": "LOGS"}'
    scripts/check_tensorboard.py LOGS/DeepSpeedJobName RUN

Exits with 1 when a curve is missing or a value differs by more than the rounding to fp32, in which TensorBoard stores
scalars.
"""
import argparse
import json
import math
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.version import VERSION

# Curve: what metrics.jsonl calls it, and the factor between them.
CURVES = {
    "Train/Samples/train_loss": ("loss", 1.0),
    "Train/Samples/grad_norm": ("grad_norm", 1.0),
    "Train/Samples/tokens_per_second": ("tokens_per_s", 1.0),
    "Train/Samples/max_memory_gb": ("mem_peak_bytes", 1.0 / 2**30),
}


def as_fp32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def same(stored, value):
    # metrics.jsonl writes null for what is not finite.
    if value is None:
        return not math.isfinite(stored)
    return stored == as_fp32(value)


def check_curve(points, steps, key, factor, batch_size):
    problems = []
    if len(points) != len(steps):
        return [f"{len(points)} points for {len(steps)} steps"]
    for point, step in zip(points, steps):
        value = None if step[key] is None else step[key] * factor
        if not same(point.value, value):
            problems.append(f"step {step['step']}: {point.value!r} for {value!r}")
        if point.step != step["step"] * batch_size:
            problems.append(f"step {step['step']}: at sample {point.step}, not {step['step'] * batch_size}")
    return problems


def check_next_lr(points, steps):
    # The curve holds the next update's learning rate: the one that the next step has, unless this step was skipped.
    problems = []
    for point, following in zip(points, steps[1:]):
        if not math.isclose(point.value, following["lr"], rel_tol=2**-22, abs_tol=1e-45):
            problems.append(f"before step {following['step']}: {point.value!r} for {following['lr']!r}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=pathlib.Path, help="folder of the event file")
    parser.add_argument("run", type=pathlib.Path, help="folder of the run")
    arguments = parser.parse_args()

    steps = [json.loads(line) for line in (arguments.run / "metrics.jsonl").read_text().splitlines()]
    accumulator = EventAccumulator(str(arguments.logs), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    print(f"TensorBoard {VERSION} reads {len(tags)} curves from {arguments.logs}:")
    batch_size = accumulator.Scalars("Train/Samples/lr")[0].step // steps[0]["step"]
    failed = False
    for tag in sorted(tags):
        points = accumulator.Scalars(tag)
        agreed = "as in metrics.jsonl"
        if tag in CURVES:
            problems = check_curve(points, steps, *CURVES[tag], batch_size)
        elif tag == "Train/Samples/lr":
            problems = check_next_lr(points, steps)
        else:
            agreed = "one a step"  # metrics.jsonl does not have it
            problems = [] if len(points) == len(steps) else [f"{len(points)} points for {len(steps)} steps"]
        failed |= bool(problems)
        print(f"  {tag}: {len(points)} points, {'; '.join(problems) if problems else agreed}")
    for tag in CURVES.keys() - set(tags):
        failed = True
        print(f"  {tag}: missing")
    print("FAILED" if failed else f"all curves agree with {len(steps)} steps")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
