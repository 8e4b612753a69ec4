"""The labelled off-law set: ladders in which exactly one knob stays at its small-scale best, and controls in which none does.

Two folders: `sweep` looks for the best of four knobs jointly at every size. From the surface fitted to it, `ladders` trains
the best of all knobs at every size (the control) and, for each knob, the same with that knob kept at the smallest size's
best. The label is the knob, the excess what it costs against the control's mean at that size. Runs are judged from the
smaller sizes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scalelaw import Grid, ScalelawError, Study, Trials, check, drift, frontier, load, optimum
from scalelaw.trial import Trial

from .record import ROOT, Part, write_toml

ABOUT = (__doc__ or "").splitlines()[0]
NAME = "offlaw"
# Width -> (depth, steps). Depth grows with the width, so that the size of the initial weights has something to drift for, and the
# run grows too, from 1.6 to 13 passes over the same pictures, so that the weight decay has.
SIZES = {
    8: (1, 200),
    12: (2, 300),
    16: (2, 400),
    20: (3, 500),
    32: (4, 800),
    45: (4, 1100),
    64: (5, 1600),
    90: (5, 1600),
    128: (6, 1600),
}
# Settings tried at each size; fewer where a run is dear.
POINTS = {width: 320 if width < 90 else 128 for width in SIZES}
SEEDS = (0, 1, 2)
# A run is judged where so many smaller sizes were searched.
LEAST = 4
OPTIONS = {"pixels": 14}
COMMON = {"batch_size": (128,), "schedule": ("cosine",)}
# Ranges that are searched, evenly in the logarithm; of beta2, that of 1 - beta2.
RANGES = {
    "learning_rate": (1.5e-3, 0.06),
    "weight_decay": (0.01, 2.0),
    "init_scale": (0.08, 2.0),
    "beta2": (1e-3, 0.2),
}


def parts() -> Iterator[Part]:
    """The sweep, and, when that is recorded, the ladders that follow from it."""
    sweep = Part(ROOT / NAME / "sweep", study=_sweep())
    write_toml(sweep, ABOUT)
    yield sweep
    plan, culprits = _ladders(load(sweep.folder))
    ladders = Part(ROOT / NAME / "ladders", study=plan, labels=lambda trials: _labels(trials, culprits))
    write_toml(ladders, ABOUT)
    yield ladders


def tables() -> None:
    """What each kept knob costs at each size, and whether the tools name it."""
    sweep, ladders = load(ROOT / NAME / "sweep"), load(ROOT / NAME / "ladders", where="culprit != ''")
    widths = list(SIZES)
    _moved(sweep)
    print("| kept at its small-scale best | " + " | ".join(f"width {width}" for width in widths) + " |")
    print("|" + "---|" * (len(widths) + 1))
    for culprit in ("control", *RANGES):
        cells = [_excess(ladders, culprit, width) for width in widths]
        print(f"| {culprit} | " + " | ".join(cells) + " |")
    print("\nExcess over the control's mean, %, with the standard error of the difference.\n")
    target = {"width": float(max(SIZES))}
    ranked = drift(sweep.where(f"width < {max(SIZES)}"), target)
    print(
        f"Ranked for width {max(SIZES)} from the smaller sizes: "
        + ", ".join(f"{each.name} {each.score:.2f}" for each in ranked.hyperparameters)
        + ".\n"
    )
    _named(sweep, ladders)


def _moved(sweep: Trials) -> None:
    """The best of each knob at every size, by which the labels were made, and the exponent of its law."""
    laws, best = optimum(sweep, over="width", hyper=tuple(RANGES)), _best(sweep)
    print("| knob | exponent of its best in width, 90 % | " + " | ".join(f"best at width {width}" for width in SIZES) + " |")
    print("|---" * (2 + len(SIZES)) + "|")
    for name in RANGES:
        each = laws[name].exponent()
        values = " | ".join(f"{best[width][name]:.3g}" for width in SIZES)
        print(f"| {name} | {each.value:+.3f} ({each.low:+.3f} to {each.high:+.3f}) | {values} |")
    print("\nThe exponent of beta2 is that of 1 - beta2.\n")


def _named(sweep: Trials, ladders: Trials) -> None:
    """Whether `check` calls the runs off the law, and whom it suspects first."""
    print("| culprit | width | excess | OFF_LAW | UNDECIDED | ON_LAW | first suspect |\n|---|---|---|---|---|---|---|")
    judged: dict[str, list[tuple[str, str]]] = {culprit: [] for culprit in ("control", *RANGES)}
    for culprit, all_of in judged.items():
        for width in list(SIZES)[LEAST:]:
            rows = ladders.where(f"width == {width} and culprit == '{culprit}'")
            below = sweep.where(f"width < {width}")
            found = [_judged(below, rows.where(np.arange(len(rows)) == place)) for place in range(len(rows))]
            suspects = ", ".join(sorted({suspect for _, suspect in found} - {""}))
            print(f"| {culprit} | {width} | {_excess(ladders, culprit, width)} | {_counts(found)} | {suspects} |")
            all_of += found
    print("\n| culprit | runs | OFF_LAW | UNDECIDED | ON_LAW | of those off the law, the culprit is the first suspect in |")
    print("|---|---|---|---|---|---|")
    for culprit, found in judged.items():
        off = [suspect for ruling, suspect in found if ruling == "OFF_LAW"]
        told = "" if culprit == "control" else f"{off.count(culprit)} of {len(off)}"
        print(f"| {culprit} | {len(found)} | {_counts(found)} | {told} |")
    print()


def _judged(below: Trials, run: Trials) -> tuple[str, str]:
    """The verdict on one run, and its first suspect."""
    try:
        verdict = check(below, run)
    except ScalelawError as error:
        return str(error), ""
    return verdict.verdict.name, verdict.suspects[0].hyperparameter if verdict.suspects else ""


def _counts(found: list[tuple[str, str]]) -> str:
    rulings = [ruling for ruling, _ in found]
    return " | ".join(str(rulings.count(name)) for name in ("OFF_LAW", "UNDECIDED", "ON_LAW"))


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
    rows = _halton(max(POINTS.values()), len(RANGES))
    settings = [{name: (_at(name, share),) for name, share in zip(RANGES, row, strict=True)} for row in rows]
    grids = [Grid(_scale(width), {**setting, **COMMON}) for width, points in POINTS.items() for setting in settings[:points]]
    return Study("offlaw_sweep", "fashion_mnist", tuple(grids), task_options=OPTIONS)


def _scale(width: int) -> dict[str, tuple[int]]:
    depth, steps = SIZES[width]
    return {"width": (width,), "depth": (depth,), "steps": (steps,)}


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


def _best(sweep: Trials) -> dict[int, dict[str, float]]:
    """The best settings of each size, by the surface. One outside what was searched is kept to its edge."""
    rows = frontier(sweep, over="width", hyper=tuple(RANGES)).trials
    return {
        int(width): {name: _within(name, float(rows[name][place])) for name in RANGES}
        for place, width in enumerate(rows.numbers("width"))
    }


def _within(name: str, value: float) -> float:
    low, high = RANGES[name]
    low, high = (1 - high, 1 - low) if name == "beta2" else (low, high)
    return float(f"{min(max(value, low), high):.6g}")


def _ladders(sweep: Trials) -> tuple[Study, dict[tuple[int, tuple[tuple[str, float], ...]], str]]:
    """The ladders, and the culprit by (width, settings)."""
    culprits: dict[tuple[int, tuple[tuple[str, float], ...]], str] = {}
    grids: list[Grid] = []
    best = _best(sweep)
    for width, tuned in best.items():
        for culprit in ("control", *RANGES):
            settings = tuned if culprit == "control" else {**tuned, culprit: best[min(SIZES)][culprit]}
            if width == min(SIZES) and culprit != "control":
                continue
            culprits[width, tuple(sorted(settings.items()))] = culprit
            values = {**{name: (value,) for name, value in settings.items()}, **COMMON}
            grids.append(Grid(_scale(width), values, SEEDS))
    return Study("offlaw_ladders", "fashion_mnist", tuple(grids), task_options=OPTIONS), culprits


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
