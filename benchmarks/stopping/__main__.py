"""How safe it is to stop runs that rise, and what it saves.

    python -m benchmarks.stopping [--runs FOLDER] [--tasks teacher_student,...]     # trains the runs where FOLDER lacks them

Runs across the cliff (`runs.py`) are replayed as a training program would report them: the loss of every n-th step alone, as
noisy as it is, or the mean since the last report. Each replay goes through the very code that a worker runs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scalelaw.train.recipe import Recipe
from scalelaw.trainers import Order, Record, Rules
from scalelaw.trial import Status, Trial, TrialSpec

from . import runs as made
from .runs import Run

EVERY = (("each", 1), ("every 4th", 4), ("every 10th", 10), ("mean of 4", -4), ("mean of 10", -10))
SIMULATED = 2000
STUDIES = Path(__file__).resolve().parents[2] / "studies"


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stopping", description="Stopping runs that rise.")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "scalelaw-stopping", help="folder of runs")
    parser.add_argument("--tasks", default=",".join(made.TASKS), help="of the runs, separated by commas")
    options = parser.parse_args()
    everything: list[tuple[str, list[Run]]] = []
    for task in options.tasks.split(","):
        path = options.runs / f"{task}.npz"
        if not path.exists():
            options.runs.mkdir(parents=True, exist_ok=True)
            seeds = 2 if task == "teacher_student" else 1
            made.save(list(made.trained(made.specs(10 if task == "zipf_markov" else 12, seeds, tasks=(task,)))), path)
        everything.append((task, made.read(path)))
    measured(everything)
    rises(everything)
    recorded()
    simulated()


def replayed(spec: TrialSpec, losses: NDArray[Any], every: int, chance: float | None = None) -> tuple[Trial, int]:
    """A run as its program would report it, and the step at which it was over.

    Args:
        every: steps from report to report; below 0, each is the mean since the last. chance: what it reports as `chance_loss`.
    """
    record = Record(spec, Rules(), Order(Path()))
    since = 0
    for step in range(1, len(losses) + 1):
        if step == 1 or step % abs(every) == 0 or not np.isfinite(losses[step - 1]):
            told = losses[since:step].mean(dtype=float) if every < 0 else losses[step - 1]
            since = step
            if not record.note(step, told, {} if chance is None else {"chance_loss": chance}):
                return record.end(None), step
    return record.end(None), len(losses)


def measured(everything: list[tuple[str, list[Run]]]) -> None:
    """Of the trained runs: who is stopped, and what is saved."""
    print("| task | reports | ended well | stopped | judged diverged | diverged | stopped | steps saved | known | with chance |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for task, runs in everything:
        for word, every in EVERY:
            good = [run for run in runs if run.status is Status.COMPLETE]
            bad = [run for run in runs if run.status is Status.DIVERGED]
            chance = Recipe.of(runs[0].spec).loaded().chance_loss
            ended = [replayed(run.spec, run.losses, every) for run in good]
            wrong = sum(last < len(run.losses) for run, (_, last) in zip(good, ended, strict=True))
            judged = sum(trial.status is Status.DIVERGED for trial, _ in ended)
            saved, caught, known, more = [], 0, 0, 0
            for run in bad:
                steps = int(run.spec.scale["steps"])
                trial, last = replayed(run.spec, run.losses, every)
                saved.append(1 - last / steps)
                caught += last < steps
                known += trial.status is Status.DIVERGED
                more += replayed(run.spec, run.losses, every, chance)[0].status is Status.DIVERGED
            shares = f"{np.mean(saved):.0%} | {known / len(bad):.0%} | {more / len(bad):.0%}"
            print(f"| {task} | {word} | {len(good)} | {wrong} | {judged} | {len(bad)} | {caught} | {shares} |")


def rises(everything: list[tuple[str, list[Run]]]) -> None:
    """How long and how high runs that ended well were above their start."""
    print("\n| task | runs that ended well | longest above the start by 5 %, share of the steps | highest, times the start |")
    print("|---|---|---|---|")
    for task, runs in everything:
        longest, highest = 0.0, 0.0
        for run in runs:
            if run.status is Status.COMPLETE:
                longest = max(longest, _stretch(run.losses > 1.05 * run.losses[0]) / len(run.losses))
                highest = max(highest, float(run.losses.max() / run.losses[0]))
        print(f"| {task} | {sum(run.status is Status.COMPLETE for run in runs)} | {longest:.2f} | {highest:.1f} |")


def _stretch(high: NDArray[np.bool_]) -> int:
    """The longest stretch of true values; one low value in ten does not end it, as a program that reports seldom may miss it."""
    ends = np.flatnonzero(~high)
    gaps = np.diff(np.concatenate([[-1], ends[9::10], [len(high)]]))
    return int(gaps.max()) if len(ends) else len(high)


def recorded() -> None:
    """The curves of our studies of transformers, as they were kept: about a hundred means, log-spaced."""
    print("\n| curves of | runs that ended well | stopped | judged diverged |\n|---|---|---|---|")
    for name in ("language", "schedules"):
        folder = STUDIES / name
        steps = dict(pl.read_parquet(folder / "trials.parquet").select("id", "steps").iter_rows())
        stopped = judged = 0
        curves = pl.read_parquet(folder / "curves.parquet").sort("id", "step").partition_by("id", as_dict=True)
        for (key,), rows in curves.items():
            record = Record(TrialSpec(name, {"steps": steps[key]}, {}), Rules(), Order(Path()))
            stopped += not all(record.note(step, loss, {}) for step, loss in rows.select("step", "loss").iter_rows())
            judged += record.end(None).status is Status.DIVERGED
        print(f"| studies/{name} | {len(curves)} | {stopped} | {judged} |")


def courses(random: np.random.Generator, count: int) -> Iterator[tuple[TrialSpec, NDArray[np.float64], bool]]:
    """Simulated courses: a power law with noise, most with a rise early or late that goes away again; whether it ends well."""
    for _ in range(count):
        steps = int(10 ** random.uniform(2, 4))
        x = np.arange(1, steps + 1) / steps
        noise = 10 ** random.uniform(-2.5, -0.5)
        course = 0.3 + 0.7 * (1 + 50 * x) ** -(10 ** random.uniform(-2, 0))
        if random.random() < 0.7:
            height, at, length = 10 ** random.uniform(-1, 6), random.uniform(0, 0.8), 10 ** random.uniform(-2.5, -0.3)
            course = course + height * np.clip(1 - (2 * (x - at) / length) ** 2, 0, None)
        losses = course * np.exp(noise * random.standard_normal(steps) - noise**2 / 2)
        spec = TrialSpec("simulated", {"steps": steps}, {}, int(random.integers(1 << 40)))
        yield spec, losses, bool(course[-1] < course[0])


def simulated() -> None:
    """Courses with rises of up to half the run and a million times the start, and noise of up to 30 % in each report."""
    print("\n| simulated, reports | runs that end well | stopped | judged diverged |")
    print("|---|---|---|---|")
    for reports in (20, 50, 200, 1000):
        random = np.random.default_rng(reports)
        count = wrong = judged = 0
        for spec, losses, well in courses(random, SIMULATED):
            every = max(len(losses) // reports, 1)
            if well:
                count += 1
                trial, last = replayed(spec, losses, every)
                wrong += last < len(losses)
                judged += trial.status is Status.DIVERGED
        print(f"| {reports} | {count} | {wrong} | {judged} |")


if __name__ == "__main__":
    main()
