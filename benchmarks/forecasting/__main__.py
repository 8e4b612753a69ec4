"""`python -m benchmarks.forecasting [TABLE ...] [--replicates N] [--jobs N]`: are the intervals of forecasts to be believed?"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

from . import figure, prior, speed, tables

KINDS = {
    "prior": lambda _: prior.prior(),
    "synthetic": lambda asked: tables.synthetic(asked.replicates, asked.jobs),
    "points": lambda _: tables.points(),
    "curves": lambda asked: tables.curves(asked.replicates),
    "collapse": lambda _: tables.collapse(),
    "speed": lambda _: speed.speed(),
    "figure": lambda _: figure.figure(),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecasting", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*KINDS, []], default=list(KINDS))
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=1, help="processes of the table of known worlds")
    arguments = parser.parse_args()
    names = " ".join(arguments.tables)
    print(f"`python -m benchmarks.forecasting {names}`, NumPy {np.__version__}, {os.cpu_count()} CPUs, one thread.", flush=True)
    for name in arguments.tables:
        start = time.perf_counter()
        lines = KINDS[name](arguments)
        print(f"\n### {name}, {time.perf_counter() - start:.0f} s\n\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
