"""What a trial costs beside its training: trials of a trainer that does nothing, on each engine.

    python -m benchmarks.engines local --trials 10000
    python -m benchmarks.engines ray --trials 10000 [--option address=auto]     (without an address it starts its own)
    python -m benchmarks.engines instant --trials 1000,10000,100000 --folder /dev/shm

Each size runs in a process of its own, into a store of its own. Wall time is that of the whole run, the start of the workers
and the opening of the store counted in; memory is the driver's highest resident size, its modules counted in. The engine
`instant` trains in the driver's own process, so that with a folder in memory only the driver's work is left.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scalelaw.run import run
from scalelaw.study import Grid, Study, log_spaced

from .nothing import Instant

RATES = 10
SIZES = 10


def study(trials: int) -> Study:
    """So many trials: sizes and rates on a grid, and as many seeds as it takes."""
    seeds = -(-trials // (SIZES * RATES))
    sizes = tuple(round(size) for size in log_spaced(1e6, 1e9, SIZES))
    grid = Grid({"parameters": sizes}, {"learning_rate": log_spaced(1e-4, 1e-2, RATES)}, tuple(range(seeds)))
    return Study("nothing", "nothing", (grid,), trainer={"function": "benchmarks.engines.nothing:train"})


def measure(engine: str, trials: int, options: dict[str, str], batch: int | None, where: str | None) -> dict[str, Any]:
    """One run, in this process."""
    asked = study(trials)
    with tempfile.TemporaryDirectory(prefix="scalelaw-", dir=where) as folder:
        began, used = time.perf_counter(), time.process_time()
        given: Any = Instant() if engine == "instant" else engine
        summary = run(asked, Path(folder) / "study.db", engine=given, options=options, batch=batch)
        wall, processor = time.perf_counter() - began, time.process_time() - used
        size = (Path(folder) / "study.db").stat().st_size
    assert summary.complete
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"trials": summary.trained, "wall": wall, "processor": processor, "peak": peak, "store": size}


def main() -> None:
    """Measure each size in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__.partition("\n")[0])
    parser.add_argument("engine", choices=["local", "ray", "futures", "slurm", "instant"])
    parser.add_argument("--trials", default="10000", help="numbers, separated by commas")
    parser.add_argument("--option", action="append", default=[], help="of the engine, NAME=VALUE")
    parser.add_argument("--batch", type=int, help="trials that are sent to a worker at once")
    parser.add_argument("--folder", help="where the stores are made; default: the system's folder for temporary files")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    options = dict(each.split("=", 1) for each in asked.option)
    if asked.engine == "ray":
        options.setdefault("address", "local")
    sizes = [int(float(size)) for size in asked.trials.split(",")]
    if asked.here:
        print(json.dumps(measure(asked.engine, sizes[0], options, asked.batch, asked.folder)))
        return
    print("| engine | trials | ms per trial | driver, ms of processor per trial | driver, peak MiB | store, bytes per trial |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.engines", asked.engine, f"--trials={size}", "--here"]
        command += [f"--option={each}" for each in asked.option] + ([f"--batch={asked.batch}"] if asked.batch else [])
        command += [f"--folder={asked.folder}"] if asked.folder else []
        told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        each = 1e3 / told["trials"]
        cells = (f"{told['wall'] * each:.2f}", f"{told['processor'] * each:.2f}", f"{told['peak'] / 2**20:.0f}")
        print(
            "|", " | ".join((asked.engine, str(told["trials"]), *cells, f"{told['store'] / told['trials']:.0f}")), "|", flush=True
        )


if __name__ == "__main__":
    main()
