#!/usr/bin/env python3
"""Traces of the dynamic loss scale, for tests/unit/launcher/test_loss_scale_traces.cpp.

    scripts/trace_loss_scale.py [--deepspeed FOLDER] > tests/data/traces/loss_scale.json

An independent derivation of DeepSpeed's rule for fp16 in ZeRO stages 1 to 3, from its description and not from the C++
code: 200 random overflow patterns, each run with every combination of the fp16 section's options below. With
--deepspeed (an unpacked source of DeepSpeed; nothing of it is installed or needed) every trace is also compared with
DeepSpeed's own DynamicLossScaler and the version is written down.

The file holds the patterns, as hexadecimal numbers (bit i, from the lowest, is step i: 1 = the gradients overflow), and
for each pattern and each group of GROUP combinations the FNV-1a hash (32 bits) of their traces one after the other.
Every fiftieth pattern also has every seventeenth trace itself, as [step, scale, hysteresis left] wherever one of the
two changes, so that a difference can be read; its last entry is [steps, -1 where the run ended else 0, 0].

One step of a trace is hashed as 10 bytes: the scale after the step (fp64, little endian), the hysteresis left (one
byte), and 0 for a clean step, 1 for an overflow, 2 for one that ends the run (the scale was at its minimum); the trace
ends there. It also ends when the scale passes 2^100, which no gradient in fp16 survives.
"""
import argparse
import importlib.util
import itertools
import json
import random
import re
import struct
import sys
import types
from pathlib import Path

PATTERNS = 200
SHORT, LONG = 160, 2400  # steps; every twentieth pattern is long, so that a window of 1000 doubles
WINDOWS = (1, 2, 7, 30, 1000)
HYSTERESES = (1, 2, 3)
MINIMA = (1, 3, 4096)
POWERS = (2, 10, 16)
GROUP = len(MINIMA) * len(POWERS)
STRIDE = 17
CEILING = 2.0 ** 100


def combinations():
    moving = [
        dict(loss_scale=0, initial_scale_power=power, loss_scale_window=window, hysteresis=hysteresis,
             consecutive_hysteresis=consecutive, min_loss_scale=minimum)
        for window, hysteresis, consecutive, minimum, power in itertools.product(
            WINDOWS, HYSTERESES, (False, True), MINIMA, POWERS)]
    fixed = [dict(loss_scale=scale, initial_scale_power=16, loss_scale_window=1000, hysteresis=2,
                  consecutive_hysteresis=False, min_loss_scale=1) for scale in (1, 128, 1000)]
    return moving + fixed


def patterns():
    rng = random.Random(20261124)
    for index in range(PATTERNS):
        steps = LONG if index % 20 == 19 else SHORT
        # From almost never to almost always, in runs of some length: overflows come in bursts.
        rate, stay = rng.choice((0.002, 0.02, 0.1, 0.3, 0.6, 0.95)), rng.choice((0.0, 0.5, 0.9))
        bits, previous = [], False
        for _ in range(steps):
            previous = previous if rng.random() < stay else rng.random() < rate
            bits.append(previous)
        yield bits


class Scaler:
    """The rule as the contract states it: scale, hysteresis left, steps since the last overflow."""

    def __init__(self, options):
        self.options = options
        self.static = options["loss_scale"] > 0
        self.scale = float(options["loss_scale"] if self.static else 2 ** options["initial_scale_power"])
        self.left = options["hysteresis"]
        self.clean = 0  # clean steps since the last overflow, or since the start

    def step(self, overflow):
        """False when the run ends here."""
        if self.static:
            return True
        return self.overflow() if overflow else self.clean_step()

    def overflow(self):
        self.clean = 0
        if self.options["hysteresis"] > 1 and self.left > 1:
            self.left -= 1  # tolerated: the scale stays
            return True
        if self.scale == self.options["min_loss_scale"]:
            return False
        self.scale = max(self.scale / 2, float(self.options["min_loss_scale"]))
        return True

    def clean_step(self):
        if self.options["consecutive_hysteresis"]:
            self.left = self.options["hysteresis"]
        # The first doubling needs window + 1 clean steps, every later one window more.
        if self.clean > 0 and self.clean % self.options["loss_scale_window"] == 0:
            self.scale *= 2
            self.left = self.options["hysteresis"]
        self.clean += 1
        return True


def trace(scaler, bits):
    """[(scale, hysteresis left, 0 clean | 1 overflow | 2 end)]"""
    out = []
    for overflow in bits:
        goes_on = scaler.step(overflow)
        out.append((scaler.scale, scaler.left, (1 if goes_on else 2) if overflow else 0))
        if not goes_on or scaler.scale > CEILING:
            break
    return out


def fnv1a(steps):
    value = 0x811c9dc5
    for scale, left, event in steps:
        for byte in struct.pack("<dBB", scale, left, event):
            value = (value ^ byte) * 0x01000193 & 0xffffffff
    return value


def changes(steps):
    out = []
    for index, (scale, left, event) in enumerate(steps):
        if not out or out[-1][1:] != [scale, left]:
            out.append([index, scale, left])
    return out + [[len(steps), -1 if steps[-1][2] == 2 else 0, 0]]


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def load_deepspeed(folder):
    """DeepSpeed's scaler class out of its source file, with stand-ins for all that the file imports."""
    def module(name, **members):
        made = types.ModuleType(name)
        made.__dict__.update(members)
        sys.modules[name] = made
        return made

    module("torch", half="half", float16="half", bfloat16="bfloat16", float32="float32")
    comm = types.SimpleNamespace(get_rank=lambda: 1)
    quiet = types.SimpleNamespace(info=lambda *_: None, warning=lambda *_: None)
    module("deepspeed", comm=comm)
    module("deepspeed.runtime")
    module("deepspeed.runtime.config_utils", DeepSpeedConfigObject=object)
    module("deepspeed.runtime.utils", has_inf_or_nan=None)
    module("deepspeed.utils", log_dist=lambda *_, **__: None, logger=quiet)
    source = Path(folder) / "deepspeed/runtime/fp16/loss_scaler.py"
    spec = importlib.util.spec_from_file_location("deepspeed_loss_scaler", source)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["deepspeed_loss_scaler"] = loaded
    spec.loader.exec_module(loaded)
    version = re.sub(r"\s", "", (Path(folder) / "version.txt").read_text())
    return loaded.DynamicLossScaler, version


class DeepSpeedScaler:
    def __init__(self, cls, options):
        self.inner = cls(init_scale=2 ** options["initial_scale_power"], scale_window=options["loss_scale_window"],
                         min_scale=options["min_loss_scale"], delayed_shift=options["hysteresis"],
                         consecutive_hysteresis=options["consecutive_hysteresis"])
        self.scale, self.left = float(self.inner.cur_scale), self.inner.cur_hysteresis

    def step(self, overflow):
        try:
            self.inner.update_scale(overflow)
        except Exception as error:  # DeepSpeed raises the bare class
            assert "already at minimum" in str(error), error
            return False
        self.scale, self.left = float(self.inner.cur_scale), self.inner.cur_hysteresis
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deepspeed", help="folder with DeepSpeed's source")
    arguments = parser.parse_args()
    checked = "no: run with --deepspeed"
    original = None
    if arguments.deepspeed:
        original, version = load_deepspeed(arguments.deepspeed)
        checked = f"every dynamic trace equals DynamicLossScaler of DeepSpeed {version}"
    options = combinations()
    rows = []
    for index, bits in enumerate(patterns()):
        traces = [trace(Scaler(o), bits) for o in options]
        if original:
            for o, mine in zip(options, traces):
                if o["loss_scale"] == 0 and mine != trace(DeepSpeedScaler(original, o), bits):
                    sys.exit(f"pattern {index}, {o}: DeepSpeed's scaler differs")
        row = {"steps": len(bits), "overflows": f"{sum(bit << i for i, bit in enumerate(bits)):x}"}
        groups = [sum(traces[first:first + GROUP], []) for first in range(0, len(traces), GROUP)]
        row["hashes"] = [f"{fnv1a(group):08x}" for group in groups]
        if index % 50 == 0:
            row["traces"] = [changes(t) for t in traces[::STRIDE]]
        rows.append(row)
    head = {"compared": checked, "group": GROUP, "stride": STRIDE, "ceiling": CEILING}
    print(compact(head)[:-1] + ",")
    print('"options":[\n' + ",\n".join(compact(o) for o in options) + "],")
    print('"patterns":[\n' + ",\n".join(compact(r) for r in rows) + "]}")


if __name__ == "__main__":
    main()
