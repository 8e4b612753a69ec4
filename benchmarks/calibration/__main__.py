"""`python -m benchmarks.calibration [TABLE ...] [--replicates N]`: do intervals hold in worlds whose truth is known?"""

from __future__ import annotations

import argparse
import time

from . import tables
from .ahead import ahead
from .drift import drifts
from .regrets import regrets
from .surfaces import surfaces

KINDS = {
    "bowls": tables.bowls,
    "optima": tables.optima,
    "forecasts": tables.forecasts,
    "verdicts": tables.verdicts,
    "surfaces": surfaces,
    "regrets": regrets,
    "drift": drifts,
    "lookahead": ahead,
}
REPLICATES = {"surfaces": 500, "drift": 500, "lookahead": 500, "regrets": 40}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*KINDS, []], default=list(KINDS))
    parser.add_argument("--replicates", type=int, help="default: 200, surfaces, drift and lookahead 500, regrets 40")
    arguments = parser.parse_args()
    for name in arguments.tables:
        start = time.perf_counter()
        replicates = arguments.replicates or REPLICATES.get(name, 200)
        lines = KINDS[name](replicates)
        print(
            f"\n### {name}: {replicates} replicates, {time.perf_counter() - start:.0f} s\n\n" + "\n".join(lines),
            flush=True,
        )


if __name__ == "__main__":
    main()
