#!/usr/bin/env python3
"""Traces of the optimizers, for tests/unit/launcher/test_optimizer_traces.cpp.

    pip install torch        # the CPU build does
    scripts/trace_optimizers.py > tests/data/traces/optimizers.json

100 updates of a vector of three fp64 weights by torch.optim's AdamW, Adam, Adagrad and SGD, on gradients that are
written down too. torch has no Lion: its trace is computed here in fp64 from algorithm 2 of Chen et al., "Symbolic
Discovery of Optimization Algorithms" (2023), with sign(0) = 0.

Each trace is an optimizer section as a config has it, the learning rate (and for Adam and Lion the betas) of each update
where they change, the weights after every update, and the optimizer's states at the end by torch's names. Gradients and
first weights are multiples of 2^-12, so that fp32 has them exactly. Every weight's first gradients: one is ordinary, one
is far smaller, one is zero for the first 20 updates.
"""
import json
import math
import random

import torch

UPDATES = 100
STEP = 4096.0


def gradients():
    rng = random.Random(4)
    rows = []
    for update in range(UPDATES):
        ordinary = rng.gauss(0.3, 1.0)
        small = rng.gauss(0.0, 0.01)
        late = 0.0 if update < 20 else rng.gauss(-0.5, 2.0)
        rows.append([round(g * STEP) / STEP for g in (ordinary, small, late)])
    return rows


FIRST = [0.75, -1.25, 0.5]


class Lion:
    """Algorithm 2, element by element in Python's fp64."""

    def __init__(self, weights, lr, betas=(0.9, 0.999), weight_decay=0.0):
        self.theta, self.m = list(weights), [0.0] * len(weights)
        self.lr, self.betas, self.weight_decay = lr, betas, weight_decay

    def step(self, gradient):
        b1, b2 = self.betas
        for i, g in enumerate(gradient):
            mixed = b1 * self.m[i] + (1 - b1) * g
            sign = 0.0 if mixed == 0 else math.copysign(1.0, mixed)
            self.theta[i] -= self.lr * (sign + self.weight_decay * self.theta[i])
            self.m[i] = b2 * self.m[i] + (1 - b2) * g


def torch_optimizer(kind, params, weights):
    known = {k: v for k, v in params.items() if k not in ("adam_w_mode", "torch_adam")}
    if kind == "Adam" and not params.get("adam_w_mode", True):
        return torch.optim.Adam([weights], **known)
    if kind in ("Adam", "AdamW"):
        return torch.optim.AdamW([weights], **({"weight_decay": 0.0} | known))
    return getattr(torch.optim, kind)([weights], **known)


def falling_rate(update):
    return 0.02 * (1 - update / UPDATES)


def cycling_betas(update):
    return [0.85 + 0.1 * abs(1 - update / 50), 0.99]


def run_torch(kind, params, rate, betas, rows):
    weights = torch.tensor(FIRST, dtype=torch.float64, requires_grad=True)
    optimizer = torch_optimizer(kind, params, weights)
    group, out = optimizer.param_groups[0], []
    for update, gradient in enumerate(rows):
        if rate:
            group["lr"] = rate(update)
        if betas:
            group["betas"] = tuple(betas(update))
        weights.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        out.append(weights.tolist())
    state = optimizer.state[weights]
    return out, {name: value.tolist() for name, value in state.items() if torch.is_tensor(value) and value.numel() > 1}


def run_lion(params, rate, betas, rows):
    lion, out = Lion(FIRST, params["lr"], params.get("betas", (0.9, 0.999)), params.get("weight_decay", 0.0)), []
    for update, gradient in enumerate(rows):
        if rate:
            lion.lr = rate(update)
        if betas:
            lion.betas = betas(update)
        lion.step(gradient)
        out.append(list(lion.theta))
    return out, {"exp_avg": lion.m}


CASES = [
    ("AdamW", {"lr": 1e-2}, None, None),
    ("AdamW", {"lr": 1e-2, "torch_adam": True, "weight_decay": 0.01}, None, None),
    ("AdamW", {"lr": 2e-2, "betas": [0.9, 0.95], "eps": 1e-3, "weight_decay": 0.1}, falling_rate, None),
    ("AdamW", {"lr": 1e-2, "weight_decay": 0.05}, None, cycling_betas),
    ("Adam", {"lr": 1e-2, "weight_decay": 0.1}, None, None),
    ("Adam", {"lr": 1e-2, "weight_decay": 0.1, "adam_w_mode": False}, None, None),
    ("Adam", {"lr": 1e-2, "betas": [0.8, 0.9], "adam_w_mode": False}, falling_rate, None),
    ("Lion", {"lr": 1e-3}, None, None),
    ("Lion", {"lr": 1e-3, "betas": [0.95, 0.98], "weight_decay": 0.5}, falling_rate, None),
    ("Lion", {"lr": 1e-3, "weight_decay": 0.1}, None, cycling_betas),
    ("Adagrad", {"lr": 5e-2}, None, None),
    ("Adagrad", {"lr": 5e-2, "lr_decay": 0.1, "weight_decay": 0.02, "initial_accumulator_value": 0.25, "eps": 1e-6},
     None, None),
    ("SGD", {"lr": 1e-2}, None, None),
    ("SGD", {"lr": 1e-2, "weight_decay": 0.1, "momentum": 0.9}, None, None),
    ("SGD", {"lr": 1e-2, "momentum": 0.8, "dampening": 0.5}, falling_rate, None),
    ("SGD", {"lr": 1e-2, "weight_decay": 0.05, "momentum": 0.9, "nesterov": True}, None, None),
]


def main():
    rows = gradients()
    traces = []
    for kind, params, rate, betas in CASES:
        run = run_lion(params, rate, betas, rows) if kind == "Lion" else run_torch(kind, params, rate, betas, rows)
        trace = {"type": kind, "params": params, "weights": run[0], "states": run[1]}
        if rate:
            trace["rates"] = [rate(update) for update in range(UPDATES)]
        if betas:
            trace["betas"] = [betas(update) for update in range(UPDATES)]
        traces.append(trace)
    head = {"torch": torch.__version__, "first_weights": FIRST, "gradients": rows}
    print(json.dumps(head, separators=(",", ":"))[:-1] + ',"traces":[')
    print(",\n".join(json.dumps(trace, separators=(",", ":")) for trace in traces) + "]}")


if __name__ == "__main__":
    main()
