#!/usr/bin/env python3
"""What DeepSpeed's own code makes of "elasticity" sections, for tests/unit/launcher/test_config_elasticity.cpp.

    scripts/trace_elasticity.py DEEPSPEED_SOURCE > tests/data/traces/elasticity.json

DEEPSPEED_SOURCE is an unpacked source of a release that still has elasticity (0.19.5); nothing of it is installed, numpy
and packaging are needed. Each line is [section, ranks, [train_batch_size, micro batch] or the name of its error].
"""
import importlib
import json
import random
import sys
import types
from pathlib import Path

SECTIONS = (
    {}, {"version": 0.1}, {"version": 0.1, "prefer_larger_batch": False}, {"prefer_larger_batch": False},
    {"min_gpus": 4, "max_gpus": 16}, {"num_gpus_per_node": 8}, {"micro_batch_sizes": [1, 3, 5]},
    {"micro_batch_sizes": [8, 12, 16, 17], "max_train_batch_size": 10000, "min_gpus": 32, "max_gpus": 1500},
    {"micro_batch_sizes": [7, 11, 13], "max_train_batch_size": 500},
    {"max_train_batch_size": 97, "micro_batch_sizes": [4]}, {"version": 0.1, "min_gpus": 3, "max_gpus": 5})


def load(folder):
    """Its elasticity module, with stand-ins for the rest of the package."""
    def package(name, **members):
        made = types.ModuleType(name)
        made.__path__ = [str(Path(folder, *name.split(".")))]
        made.__dict__.update(members)
        sys.modules[name] = made

    quiet = types.SimpleNamespace(info=lambda *_: None, warning=lambda *_: None)
    version = Path(folder, "version.txt").read_text().strip()
    for name in ("deepspeed", "deepspeed.elasticity"):
        package(name)
    package("deepspeed.git_version_info", version=version)
    package("deepspeed.utils", logger=quiet)
    return importlib.import_module("deepspeed.elasticity.elasticity"), version


def cases():
    for section in SECTIONS:
        for ranks in (1, 4, 5, 16, 96):
            yield {"max_train_batch_size": 2000, "micro_batch_sizes": [2, 4, 6], **section}, ranks
    rng = random.Random(3)
    for _ in range(150):
        yield {"max_train_batch_size": rng.choice((16, 100, 256, 1000, 4096)),
               "micro_batch_sizes": rng.sample(range(1, 17), rng.randint(1, 4)),
               "prefer_larger_batch": rng.random() < 0.5, "version": rng.choice((0.1, 0.2)),
               "min_gpus": rng.choice((1, 2, 4)), "max_gpus": rng.choice((64, 1000)),
               "num_gpus_per_node": rng.choice((1, 1, 2, 8))}, rng.choice((1, 2, 3, 4, 6, 8, 16, 24))


def main():
    module, version = load(sys.argv[1])
    lines = []
    for section, ranks in cases():
        section = {"enabled": True, **section}
        try:
            batch, _, micro = module.compute_elastic_config({"elasticity": section}, version, world_size=ranks)
            result = [int(batch), int(micro)]
            if batch == 0:
                result = "NoBatch"  # refused a little later, by the check of the batch triad
        except Exception as error:  # of several unrelated classes
            result = type(error).__name__
        lines.append(json.dumps([section, ranks, result], separators=(",", ":")))
    print(f'{{"deepspeed":"{version}","cases":[\n' + ",\n".join(lines) + "]}")


if __name__ == "__main__":
    main()
