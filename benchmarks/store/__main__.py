"""`python -m benchmarks.store [--sizes 1000 10000 100000] [--largest]`: what a store costs, against how many trials it holds.

Each trial has a curve of 100 points. `ingest` reads result files as a driver does, in a process that does only this: its memory
is the driver's. `put` writes the same trials into a new store, ten thousand a call. `list`, `filter` and `statuses` open the
store, read and close it; `trials` is the command line with a filter, from its start to its end. Seconds are by the clock, in
brackets those of the processor; those of reading are the lowest of three.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from scalelaw import spool
from scalelaw.store import Store, load
from scalelaw.trial import Curve, Status, Trial, TrialSpec

POINTS = 100
FILTER = "width == 64 and learning_rate < 1e-3 and status == 'COMPLETE'"
STEPS = tuple(range(10, 10 * POINTS + 1, 10))


def trials(count: int) -> Iterator[Trial]:
    """Trials of a study: seven widths, rates on a grid, two decays, and as many seeds as it takes."""
    generator = np.random.default_rng(0)
    rates = [float(f"{rate:.4g}") for rate in np.geomspace(1e-4, 1e-1, 25)]
    settings = list(itertools.product((8, 16, 32, 64, 128, 256, 512), rates, (0.0, 0.1)))
    for place in range(count):
        seed, (width, rate, decay) = place // len(settings), settings[place % len(settings)]
        scale, given = (
            {"width": width, "depth": 3, "steps": 1000},
            {"learning_rate": rate, "weight_decay": decay, "batch_size": 32},
        )
        spec = TrialSpec("teacher_student", scale, given, seed)
        losses = (2 + 10 / np.arange(1, POINTS + 1) + 0.01 * generator.standard_normal(POINTS)).tolist()
        curve = Curve(STEPS, tuple(losses))
        if rate > 0.08:
            yield Trial(spec, Status.DIVERGED, curve=curve, initial_loss=losses[0], last_loss=losses[-1], diverged_step=900)
            continue
        size = 3 * width * width
        counts = (size, 0, 32e3, 6.0 * size * 32e3, "6ND")
        yield Trial(spec, Status.COMPLETE, losses[-1], *counts, curve, losses[0], metrics={"accuracy": 0.5}, seconds=1.0)


def lists(count: int) -> Iterator[list[Trial]]:
    """The same in lists of ten thousand."""
    made = trials(count)
    while some := list(itertools.islice(made, 10_000)):
        yield some


@dataclass(frozen=True, order=True)
class Taken:
    """What an action took: seconds by the clock, and of the processor, which other programs do not lengthen."""

    clock: float
    processor: float

    def __str__(self) -> str:
        return f"{self.clock:.3g} ({self.processor:.3g})"


def timed(action: Callable[[], object], times: int = 1) -> Taken:
    """What an action takes, the quickest of so many times."""
    taken: list[Taken] = []
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        action()
        taken.append(Taken(time.perf_counter() - began, time.process_time() - used))
    return min(taken)


def ingest(path: Path) -> None:
    """What the driver does, in a process of its own; prints seconds and the memory it came to need above that of its imports."""
    with Store(path.with_name("first.db")) as store:
        store.put(trials(1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Store(path) as store:
        taken = timed(lambda: [None for _ in store.ingesting()])
    print(json.dumps([taken.clock, taken.processor, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))


def measure(count: int, folder: Path) -> str:
    """A row of the table."""
    path = folder / "study.db"
    with Store(path) as store:
        place = store.spool
    place.mkdir()
    for trial in trials(count):  # as `spool.write` does, without waiting for the disk each time
        (place / f"{trial.id}{spool.SUFFIX}").write_text(json.dumps(trial.to_dict()), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.store", "--ingest", str(path)]
    *read, memory = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    load(path, where=FILTER)  # imports

    def listing() -> None:
        with Store(path, read_only=True) as store:
            assert len(store.table()) == count

    def statuses() -> None:
        with Store(path, read_only=True) as store:
            assert len(store.statuses()) == count

    shown, found = timed(listing, 3), timed(lambda: load(path, where=FILTER), 3)
    ended = timed(statuses, 3)
    command = [sys.executable, "-c", "from scalelaw.cli import main; main()", "trials", str(path), "--where", FILTER]
    printed = timed(lambda: subprocess.run(command, capture_output=True, check=True), 3)
    size = path.stat().st_size
    with Store(folder / "put.db") as store:
        puts = [timed(partial(store.put, some)) for some in lists(count)]
    put = Taken(sum(each.clock for each in puts), sum(each.processor for each in puts))
    seconds = " | ".join(map(str, (put, Taken(*read), shown, found, ended)))
    return f"| {count:,} | {seconds} | {printed.clock:.3g} | {size / 1e6:,.1f} | {memory:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--sizes", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--largest", action="store_true", help="also a million trials")
    parser.add_argument("--ingest", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ingest:
        ingest(arguments.ingest)
        return
    print(f"{os.cpu_count()} cores; seconds; a trial has a curve of {POINTS} points")
    print("| trials | put | ingest | list | filter | statuses | `trials` | size, MB | driver's memory, MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count in (*arguments.sizes, *([1_000_000] if arguments.largest else [])):
        with tempfile.TemporaryDirectory() as folder:
            print(measure(count, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
