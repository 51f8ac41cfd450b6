#!/usr/bin/env python3
"""Traces of every learning-rate schedule, for tests/unit/launcher/test_schedule_traces.cpp.

    scripts/trace_schedules.py [--deepspeed FOLDER] > tests/data/traces/schedules.json

An independent derivation from the description of DeepSpeed's schedules and not from the C++ code: 300 applied updates of
each type with 12 sets of random parameters, computed with 40 decimal digits, so that what is written is the exact value
rounded once. With --deepspeed (an unpacked source of DeepSpeed; nothing of it is installed or needed) every value of
DeepSpeed's own types is also compared with its classes, and the version is written down.

Each trace is a scheduler section as a config has it, the optimizer's learning rate, and the rates (and, where the momentum
cycles, the momenta) of all 300 updates: doubles, little endian, in base64.
"""
import argparse
import base64
import importlib.util
import json
import math
import random
import re
import struct
import sys
import types
from decimal import Decimal, getcontext
from pathlib import Path

getcontext().prec = 40
UPDATES = 300
SETS = 12
PI = Decimal("3.14159265358979323846264338327950288419716939937510582")


def cosine(x):
    """Taylor's series of cos x for 0 <= x <= pi, folded into [0, pi / 2]."""
    if x > PI / 2:
        return -cosine(PI - x)
    term = total = Decimal(1)
    n = 0
    while abs(term) > Decimal("1e-45"):
        n += 2
        term *= -x * x / (n * (n - 1))
        total += term
    return total


def d(value):
    """The decimal number that a JSON reader rounds to the double `value`: the double itself, exactly."""
    return Decimal(float(value))


def rise(params, t):
    """Warm-up's factor for 0 <= t < Wh."""
    steps = max(2, params["warmup_num_steps"])
    if params["warmup_type"] == "linear":
        return Decimal(t) / steps
    return Decimal(t + 1).ln() / Decimal(steps).ln()


def constant(params, lr, t):
    return d(lr)


def linear(params, lr, t):
    """Hugging Face's: its counter is 0 at the first update, where DeepSpeed's is -1."""
    total = params["total_num_steps"]
    return d(lr) * max(0, total - (t + 1)) / max(1, total)


def warmup_lr(params, lr, t, after=lambda t: Decimal(1)):
    low, high = d(params["warmup_min_lr"]), d(params.get("warmup_max_lr", lr))
    if t < 0:
        return low
    return low + (high - low) * (rise(params, t) if t < max(2, params["warmup_num_steps"]) else after(t))


def warmup_decay_lr(params, lr, t):
    total, steps = params["total_num_steps"], max(2, params["warmup_num_steps"])
    return warmup_lr(params, lr, t, lambda t: max(Decimal(0), Decimal(total - t) / max(1, total - steps)))


def warmup_cosine_lr(params, lr, t):
    if t < 0:
        return Decimal(0)
    steps = max(2, params["warmup_num_steps"])
    if t < steps:
        low = d(params["warmup_min_ratio"])
        return d(lr) * (low + (1 - low) * rise(params, t))
    low = d(params["cos_min_ratio"])
    q = min(Decimal(1), Decimal(t - steps + 1) / max(1, params["total_num_steps"] - steps))
    return d(lr) * max(Decimal(0), low + (1 - low) * (1 + cosine(PI * q)) / 2)


def cycle_position(params, t):
    """(height in the triangle, None) within the cycle, (None, d) after it."""
    first = params["cycle_first_step_size"]
    second = params.get("cycle_second_step_size", first)
    if t >= first + second:
        return None, t - (first + second) + 1
    b = (t + 1) % (first + second)
    stairs = params.get("cycle_first_stair_count", 0)
    if b <= first:
        height = Decimal(b) / first
    else:
        height = Decimal(first + second - b) / second
        stairs = params.get("cycle_second_stair_count", stairs)
    if stairs > 0:
        exact = b * stairs // first if b <= first else (first + second - b) * stairs // second
        height = Decimal(exact) / stairs
    return height, None


def one_cycle(params, lr, t):
    low, high = d(params["cycle_min_lr"]), d(params["cycle_max_lr"])
    if t < 0:
        return low
    height, after = cycle_position(params, t)
    if after is None:
        return low + (high - low) * height
    if params.get("decay_step_size", 0) == 0:
        return low
    return low / (1 + d(params.get("decay_lr_rate", 0)) * after / params["decay_step_size"])


def cycle_momentum(params, t):
    low, high = d(params.get("cycle_min_mom", 0.8)), d(params.get("cycle_max_mom", 0.9))
    if t < 0:
        return low
    height, after = cycle_position(params, t)
    if after is None:
        return high - (high - low) * height
    if params.get("decay_step_size", 0) == 0:
        return high
    return high * (1 + d(params.get("decay_mom_rate", 0)) * after / params["decay_step_size"])


def range_test(params, lr, t):
    low, rate, size = d(params["lr_range_test_min_lr"]), d(params["lr_range_test_step_rate"]), \
        params["lr_range_test_step_size"]
    if t < 0:
        return low
    interval = Decimal((t + 1) // size) if params["lr_range_test_staircase"] else Decimal(t + 1) / size
    return low * (1 + rate * interval)


RATES = {"constant": constant, "linear": linear, "WarmupLR": warmup_lr, "WarmupDecayLR": warmup_decay_lr,
         "WarmupCosineLR": warmup_cosine_lr, "OneCycle": one_cycle, "LRRangeTest": range_test}


def number(rng, low, high):
    """A random number of three digits between the two, evenly over their magnitudes."""
    return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")


def maybe(rng, params, name, value):
    if rng.random() < 0.6:
        params[name] = value


def warmup_params(rng):
    return {"warmup_num_steps": rng.choice([1, 2, 3, rng.randint(4, 120), rng.randint(120, 500)]),
            "warmup_type": rng.choice(["log", "linear"])}


def parameters(kind, rng):
    if kind == "constant":
        return {}
    if kind == "linear":
        return {"total_num_steps": rng.choice([1, 299, 300, rng.randint(2, 600)])}
    if kind == "LRRangeTest":
        return {"lr_range_test_min_lr": number(rng, 1e-6, 1e-2), "lr_range_test_step_size": rng.randint(1, 150),
                "lr_range_test_step_rate": number(rng, 1e-2, 20), "lr_range_test_staircase": rng.random() < 0.5}
    if kind == "OneCycle":
        return cycle_params(rng)
    params = warmup_params(rng)
    if kind != "WarmupLR":
        params["total_num_steps"] = rng.choice([params["warmup_num_steps"], rng.randint(1, 299), rng.randint(300, 900)])
    if kind == "WarmupCosineLR":
        params["warmup_min_ratio"] = rng.choice([0.0, number(rng, 1e-3, 1)])
        params["cos_min_ratio"] = rng.choice([0.0, 1e-4, number(rng, 1e-3, 1)])
        return params
    params["warmup_min_lr"] = rng.choice([0.0, number(rng, 1e-7, 1e-3)])
    if kind == "WarmupDecayLR" or rng.random() < 0.7:
        params["warmup_max_lr"] = number(rng, 1e-6, 1e-2)
    return params


def cycle_params(rng):
    params = {"cycle_min_lr": number(rng, 1e-7, 1e-4), "cycle_max_lr": number(rng, 1e-4, 1e-2),
              "cycle_first_step_size": rng.randint(1, 150)}
    maybe(rng, params, "cycle_second_step_size", rng.randint(1, 200))
    if rng.random() < 0.5:
        params["cycle_first_stair_count"] = rng.randint(1, 12)
        maybe(rng, params, "cycle_second_stair_count", rng.randint(0, 12))
    maybe(rng, params, "decay_step_size", rng.randint(1, 60))
    maybe(rng, params, "decay_lr_rate", number(rng, 1e-2, 3))
    params["cycle_momentum"] = rng.random() < 0.8
    if params["cycle_momentum"]:
        maybe(rng, params, "cycle_min_mom", round(rng.uniform(0.5, 0.85), 3))
        maybe(rng, params, "cycle_max_mom", round(rng.uniform(0.86, 0.97), 3))
        maybe(rng, params, "decay_mom_rate", number(rng, 1e-5, 1e-4))
    return params


def packed(values):
    return base64.b64encode(struct.pack(f"<{len(values)}d", *map(float, values))).decode()


def load_deepspeed(folder):
    """DeepSpeed's schedules out of their source file, with stand-ins for all that the file imports."""
    def module(name, **members):
        made = types.ModuleType(name)
        made.__dict__.update(members)
        sys.modules[name] = made

    class Optimizer:
        def __init__(self, lr):
            self.defaults = {"lr": lr, "betas": (0.9, 0.999)}
            self.param_groups = [dict(self.defaults)]

    module("torch", is_tensor=lambda _: False)
    module("torch.optim", Optimizer=Optimizer)
    module("deepspeed")
    module("deepspeed.utils", logger=types.SimpleNamespace(warning=lambda *_: None))
    spec = importlib.util.spec_from_file_location("lr_schedules", Path(folder) / "deepspeed/runtime/lr_schedules.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded, Optimizer, re.sub(r"\s", "", (Path(folder) / "version.txt").read_text())


def compare_with_deepspeed(original, kind, params, lr, rates, momenta):
    """DeepSpeed rounds within its formulas: values agree to 1e-12 of the largest."""
    schedules, optimizer_class, _ = original
    optimizer = optimizer_class(lr)
    scheduler = getattr(schedules, kind)(optimizer, **params)
    group = optimizer.param_groups[0]
    for update, rate in enumerate(rates):
        if abs(group["lr"] - float(rate)) > 1e-12 * float(max(rates)):
            sys.exit(f"{kind} {params}: update {update + 1} has {rate}, DeepSpeed {group['lr']}")
        if momenta and (abs(group["betas"][0] - float(momenta[update])) > 1e-12 or group["betas"][1] != 0.99):
            sys.exit(f"{kind} {params}: update {update + 1} has momentum {momenta[update]}, DeepSpeed {group['betas']}")
        scheduler.step()


def make_trace(kind, rng, original):
    params, lr = parameters(kind, rng), number(rng, 1e-6, 1e-2)
    rates = [RATES[kind](params, lr, update - 2) for update in range(1, UPDATES + 1)]
    momenta = [cycle_momentum(params, k - 2) for k in range(1, UPDATES + 1)] if params.get("cycle_momentum") else []
    if original and kind not in ("constant", "linear"):
        compare_with_deepspeed(original, kind, params, lr, rates, momenta)
    trace = {"type": kind, "params": params, "lr": lr, "rates": packed(rates)}
    if momenta:
        trace["momenta"] = packed(momenta)
    return trace


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deepspeed", help="folder with DeepSpeed's source")
    arguments = parser.parse_args()
    original = load_deepspeed(arguments.deepspeed) if arguments.deepspeed else None
    compared = f"every value of DeepSpeed's types equals DeepSpeed {original[2]}'s to 1e-12 of the largest" if original \
        else "no: run with --deepspeed"
    rng = random.Random(20)
    traces = [make_trace(kind, rng, original) for kind in RATES for _ in range(2 if kind == "constant" else SETS)]
    print(json.dumps({"compared": compared, "total_updates": UPDATES})[:-1] + ', "traces": [')
    print(",\n".join(json.dumps(trace, separators=(",", ":")) for trace in traces) + "]}")


if __name__ == "__main__":
    main()
