"""`python -m benchmarks.tuning [TABLE ...] [--draws 25]`: what forecast settings cost on public grids."""

from __future__ import annotations

import argparse
import os
import sys
import time

import numpy as np

from . import tables
from .steplaw import FOLDER

KINDS = {
    "regret": tables.regret,
    "exponents": tables.exponents,
    "widths": tables.widths,
    "speed": tables.speed,
    "variants": tables.variants,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*KINDS, []], default=[])
    parser.add_argument("--draws", type=int, default=25, help="random subsets of split 1; split 2 takes 8/5 as many")
    asked = parser.parse_args()
    print(f"`python -m benchmarks.tuning {' '.join(sys.argv[1:])}`, NumPy {np.__version__}, {os.cpu_count()} CPUs, one thread.")
    for name in asked.tables or KINDS:
        if name != "speed" and not FOLDER.is_dir():
            print(f"\n### {name}\n\nSkipped: no public measurements in {FOLDER}; set SCALELAW_REFERENCE_DATA to their folder.")
            continue
        start = time.perf_counter()
        lines = KINDS[name](asked.draws)
        print(f"\n### {name}, {time.perf_counter() - start:.0f} s\n\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
