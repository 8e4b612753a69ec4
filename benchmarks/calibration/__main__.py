"""`python -m benchmarks.calibration [TABLE ...] [--replicates N]`: do intervals hold in worlds whose truth is known?"""

from __future__ import annotations

import argparse
import time

from . import tables

KINDS = {"bowls": tables.bowls, "optima": tables.optima, "forecasts": tables.forecasts, "verdicts": tables.verdicts}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*KINDS, []], default=list(KINDS))
    parser.add_argument("--replicates", type=int, default=200)
    arguments = parser.parse_args()
    for name in arguments.tables:
        start = time.perf_counter()
        lines = KINDS[name](arguments.replicates)
        print(
            f"\n### {name}: {arguments.replicates} replicates, {time.perf_counter() - start:.0f} s\n\n" + "\n".join(lines),
            flush=True,
        )


if __name__ == "__main__":
    main()
