"""`python -m benchmarks.verdicts [TABLE ...] [--replicates N]`: verdicts on public grids and in simulated worlds."""

from __future__ import annotations

import argparse
import os
import sys
import time

import numpy as np

from ..tuning.steplaw import FOLDER
from . import public, simulated

KINDS = {
    "steplaw": public.steplaw,
    "widths": public.widths,
    "tuned": simulated.tuned,
    "mistuned": simulated.mistuned_ladders,
    "unseen": simulated.unseen_excess,
    "widened": simulated.widened,
}
REPLICATES = {"tuned": 1000, "mistuned": 500, "unseen": 200, "widened": 40}
PUBLIC = ("steplaw", "widths")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*KINDS, []], default=list(KINDS))
    parser.add_argument("--replicates", type=int, help="default: 1,000 tuned worlds, 500 mistuned ladders, 200 unseen excesses")
    asked = parser.parse_args()
    print(f"`python -m benchmarks.verdicts {' '.join(sys.argv[1:])}`, NumPy {np.__version__}, {os.cpu_count()} CPUs, one thread.")
    for name in asked.tables:
        if name in PUBLIC and not FOLDER.is_dir():
            print(f"\n### {name}\n\nSkipped: no public measurements in {FOLDER}; set SCALELAW_REFERENCE_DATA to their folder.")
            continue
        start = time.process_time()
        lines = KINDS[name](asked.replicates or REPLICATES.get(name, 0))
        print(f"\n### {name}, {time.process_time() - start:.0f} s\n\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
