"""`python -m benchmarks.replay [TABLE ...] [--seeds 20]`: what chosen runs tell, replayed on runs whose losses are known."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings

import numpy as np

from . import allocation, decision, tables

KINDS = {
    "steplaw": tables.steplaw_table,
    "studies": tables.studies_table,
    "worlds": tables.worlds_table,
    "policies": tables.policies_table,
    "allocation": allocation.allocation,
    "allocation_worlds": allocation.allocation_worlds,
    "band": decision.band,
    "stop": decision.stop,
    "speed": decision.speed,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*KINDS, []], default=[])
    parser.add_argument("--seeds", type=int, default=20, help="games per policy; each plays the same pool by all policies")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"`python -m benchmarks.replay {' '.join(sys.argv[1:])}`, NumPy {np.__version__}, {os.cpu_count()} CPUs, one thread.")
    for name in asked.tables or KINDS:
        start = time.perf_counter()
        lines = KINDS[name](asked.seeds)
        print(f"\n### {name}, {time.perf_counter() - start:.0f} s\n\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
