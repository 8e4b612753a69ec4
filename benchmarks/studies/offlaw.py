"""The labelled off-law set: ladders in which exactly one knob stays at its small-scale best, and controls in which none does.

Two folders: `sweep` looks for the best of five knobs jointly at every size. A law is fitted to them, and `ladders` trains, at
every size and one beyond, the law's best of all knobs (the control) and, for each knob, the same with that knob kept at the
smallest size's best. The label is the knob, the excess what it costs against the control's mean at that size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scalelaw import Grid, Optima, ScalelawError, Study, Trials, check, drift, load, optimum
from scalelaw.trial import Trial

from .record import ROOT, Part

NAME = "offlaw"
# The run grows with the width, as a compute-optimal ladder's does: knobs that count in steps have something to drift for.
SIZES = {8: 100, 16: 200, 32: 400, 64: 800, 128: 1600}
BEYOND = {256: 3200}
POINTS = 96
SEEDS = (0, 1, 2)
OPTIONS = {"pixels": 14, "shift": 2, "clutter": 0.8}
COMMON = {"batch_size": (128,), "schedule": ("cosine",)}
# Ranges that are searched, evenly in the logarithm; of beta2, that of 1 - beta2.
RANGES = {
    "learning_rate": (1e-3, 0.1),
    "weight_decay": (1e-3, 3.0),
    "epsilon": (1e-9, 0.03),
    "beta2": (3e-4, 0.3),
    "init_scale": (0.2, 2.0),
}


def parts() -> list[Part]:
    """The sweep, and the ladders that follow from it."""
    sweep = Part(ROOT / NAME / "sweep", study=_sweep())
    _write(sweep)
    found = [sweep]
    if (sweep.folder / "trials.parquet").exists():
        plan, culprits = _ladders(_best(load(sweep.folder)))
        ladders = Part(ROOT / NAME / "ladders", study=plan, labels=lambda trials: _labels(trials, culprits))
        _write(ladders)
        found.append(ladders)
    else:
        print("Run this once more when the sweep is there: the ladders follow from it.\n")
    return found


def tables() -> None:
    """What each kept knob costs at each size, and whether the tools name it."""
    sweep, ladders = load(ROOT / NAME / "sweep"), load(ROOT / NAME / "ladders", where="culprit != ''")
    widths = [*SIZES, *BEYOND]
    print("| kept at its small-scale best | " + " | ".join(f"width {width}" for width in widths) + " |")
    print("|" + "---|" * (len(widths) + 1))
    for culprit in ("control", *RANGES):
        cells = [_excess(ladders, culprit, width) for width in widths]
        print(f"| {culprit} | " + " | ".join(cells) + " |")
    print("\nExcess over the control's mean, %, with the standard error of the difference.\n")
    target = {"width": float(max(BEYOND))}
    ranked = drift(sweep, target)
    print("Ranked before the runs: " + ", ".join(f"{each.name} {each.score:.2f}" for each in ranked.hyperparameters) + ".\n")
    _named(sweep, ladders)


def _named(sweep: Trials, ladders: Trials) -> None:
    """Whether `check` calls the runs off the law, and whom it suspects first."""
    print("| culprit | width | excess | OFF_LAW | UNDECIDED | ON_LAW | first suspect |\n|---|---|---|---|---|---|---|")
    for culprit in ("control", *RANGES):
        for width in (max(SIZES), *BEYOND):
            rows = ladders.where(f"width == {width} and culprit == '{culprit}'")
            below = sweep.where(f"width < {width}")
            rulings: list[str] = []
            suspects: list[str] = []
            for place in range(len(rows)):
                one = rows.where(np.arange(len(rows)) == place)
                try:
                    verdict = check(below, one)
                except ScalelawError as error:
                    rulings.append(str(error))
                    continue
                rulings.append(verdict.verdict.name)
                suspects += [verdict.suspects[0].hyperparameter] if verdict.suspects else []
            counts = " | ".join(str(rulings.count(name)) for name in ("OFF_LAW", "UNDECIDED", "ON_LAW"))
            print(f"| {culprit} | {width} | {_excess(ladders, culprit, width)} | {counts} | {', '.join(sorted(set(suspects)))} |")
    print()


def _excess(ladders: Trials, culprit: str, width: float) -> str:
    losses = {name: ladders.where(f"width == {width} and culprit == '{name}'").numbers("loss") for name in {culprit, "control"}}
    kept, control = losses[culprit], losses["control"]
    if not len(kept):
        return "-"
    value = 100 * (kept.mean() / control.mean() - 1)
    if culprit == "control":
        return f"0 (loss {control.mean():.4f})"
    error = 100 * math.hypot(*(each.std(ddof=1) / math.sqrt(len(each)) for each in losses.values())) / control.mean()
    return f"{value:+.2f} ({error:.2f})"


def _sweep() -> Study:
    """The same scrambled points at every size, one seed: a Halton sequence in the ranges' logarithms."""
    settings = [{name: _at(name, share) for name, share in zip(RANGES, row, strict=True)} for row in _halton(POINTS, len(RANGES))]
    grids = [
        Grid({"width": (width,), "steps": (steps,)}, {**{name: (value,) for name, value in setting.items()}, **COMMON})
        for width, steps in SIZES.items()
        for setting in settings
    ]
    return Study("offlaw_sweep", "fashion_mnist", tuple(grids), task_options=OPTIONS)


def _at(name: str, share: float) -> float:
    low, high = (math.log(value) for value in RANGES[name])
    value = math.exp(low + (high - low) * share)
    return float(f"{1 - value if name == 'beta2' else value:.6g}")


def _halton(count: int, axes: int) -> list[list[float]]:
    """Points of [0, 1]^axes, each axis the radical inverse in another prime, shifted by a half turn of the golden ratio."""
    primes = (2, 3, 5, 7, 11, 13)[:axes]
    rows: list[list[float]] = []
    for number in range(1, count + 1):
        row: list[float] = []
        for axis, base in enumerate(primes):
            left, digit, value = number, 1.0 / base, 0.0
            while left:
                value, left, digit = value + digit * (left % base), left // base, digit / base
            row.append((value + 0.618 * axis) % 1.0)
        rows.append(row)
    return rows


def _best(sweep: Trials) -> Optima:
    return optimum(sweep, over="width", hyper=tuple(RANGES))


def _ladders(best: Optima) -> tuple[Study, dict[tuple[int, tuple[tuple[str, float], ...]], str]]:
    """The ladders, and the culprit by (width, settings). A best value outside what was searched is kept to its edge."""
    culprits: dict[tuple[int, tuple[tuple[str, float], ...]], str] = {}
    grids: list[Grid] = []
    small = _settings(best, min(SIZES))
    for width, steps in {**SIZES, **BEYOND}.items():
        tuned = _settings(best, width)
        for culprit in ("control", *RANGES):
            settings = tuned if culprit == "control" else {**tuned, culprit: small[culprit]}
            if width == min(SIZES) and culprit != "control":
                continue
            culprits[width, tuple(sorted(settings.items()))] = culprit
            values = {**{name: (value,) for name, value in settings.items()}, **COMMON}
            grids.append(Grid({"width": (width,), "steps": (steps,)}, values, SEEDS))
    return Study("offlaw_ladders", "fashion_mnist", tuple(grids), task_options=OPTIONS), culprits


def _settings(best: Optima, width: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, (low, high) in RANGES.items():
        value = best[name].at({"width": float(width)}).value
        edges = sorted((1 - low, 1 - high)) if name == "beta2" else (low, high)
        found[name] = float(f"{min(max(value, edges[0]), edges[1]):.6g}")
    return found


def _labels(trials: list[Trial], culprits: Mapping[Any, str]) -> Mapping[str, Mapping[str, Any]]:
    named: dict[str, str] = {}
    for trial in trials:
        settings = {name: float(trial.spec.hyperparameters[name]) for name in RANGES}
        named[trial.id] = culprits[int(trial.spec.scale["width"]), tuple(sorted(settings.items()))]
    control: dict[Any, list[float]] = {}
    for trial in trials:
        if named[trial.id] == "control" and trial.loss is not None:
            control.setdefault(trial.spec.scale["width"], []).append(trial.loss)
    means = {width: math.fsum(losses) / len(losses) for width, losses in control.items()}
    return {
        trial.id: {
            "culprit": named[trial.id],
            "excess": None if trial.loss is None else trial.loss / means[trial.spec.scale["width"]] - 1,
        }
        for trial in trials
    }


def _write(part: Part) -> None:
    """The study as the TOML that `scalelaw run` takes."""
    assert part.study is not None
    study, lines = (
        part.study,
        [f"# {(__doc__ or '').splitlines()[0]}", f'name = "{part.study.name}"', f'task = "{part.study.task}"'],
    )
    lines += ["", "[task_options]", *(f"{name} = {value}" for name, value in study.task_options.items())]
    for grid in study.grids:
        lines += ["", "[[grid]]", f"seeds = {list(grid.seeds)}", f"scale = {_inline(grid.scale)}"]
        lines += [f"hyperparameters = {_inline(grid.hyperparameters)}"]
    part.folder.mkdir(parents=True, exist_ok=True)
    Path(part.folder / "study.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _inline(axes: Mapping[str, tuple[Any, ...]]) -> str:
    told = (f"{name} = {values[0]!r}".replace("'", '"') for name, values in axes.items())
    return "{ " + ", ".join(told) + " }"
