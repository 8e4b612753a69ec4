"""`python -m benchmarks.watch [TABLE ...] [--storage FILE]`: false alarms and power of `scalelaw watch`."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from . import simulated


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=["trained", "known", "ladders", []], default=["trained", "known", "ladders"])
    parser.add_argument("--storage", type=Path, default=Path(tempfile.gettempdir()) / "scalelaw-watch.db", help="keeps the runs")
    parser.add_argument("--teacher", type=int, default=0, help="another task of the same kind for the trained ladder")
    parser.add_argument("--replicates", type=int, default=20, help="of the simulated ladders")
    arguments = parser.parse_args()
    for name in arguments.tables:
        start = time.process_time()
        if name == "trained":
            from .ladder import Ladder
            from .trained import tables, watch_all

            lines = tables(watch_all(Ladder(arguments.storage, arguments.teacher)))
        else:
            lines = simulated.known() if name == "known" else simulated.ladders(arguments.replicates)
        print(f"\n### {name}: {time.process_time() - start:.0f} s of CPU\n\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
