"""What is known of the watched run besides its curve: its length, its schedule, and the runs that share it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._transport import same_plan
from .curves import Plan, Runs, TrainingCurve, plan_of
from .errors import DataError, RunError

__all__ = ["plan_for", "plans", "total_of", "under"]

_NAMES = ("schedule", "warmup", "warmup_steps", "final_fraction")
# A logged rate fits a schedule where it differs from it by this share of the peak on average.
_FITS = 0.03


def total_of(runs: Runs, total: float | None) -> float:
    """The watched run's steps: as given, or those of the smaller runs where they are all alike.

    Raises:
        DataError: they differ and none are given. RunError: a number that is no length.
    """
    if total is not None:
        if not (math.isfinite(total) and total >= 2):
            raise RunError(f"a run of {total:g} steps cannot be watched", "--total", "Give its number of optimiser steps")
        return float(total)
    lengths = {curve.total for curve in runs.curves if curve is not None and curve.total > 0}
    if len(lengths) == 1:
        return float(lengths.pop())
    text = f"the smaller runs have {len(lengths)} different lengths" if lengths else "no run says its length"
    raise DataError(f"how long the run will be is not known: {text}", "--total", "Give its number of steps: --total STEPS")


def plans(runs: Runs) -> list[Plan | None]:
    """The plan of each run; None where it has no curve."""
    names = [name for name in _NAMES if name in runs.table]
    return [
        None if curve is None else plan_of({name: runs.table[name][row] for name in names}, curve.total, runs.table.source)
        for row, curve in enumerate(runs.curves)
    ]


def plan_for(runs: Runs, settings: Mapping[str, Any], total: float, curve: TrainingCurve | None) -> Plan:
    """The watched run's plan: as its settings say, or its logged rates, or that of all smaller runs.

    Raises:
        DataError: the smaller runs have several schedules and nothing tells which one this run has.
        RunError: its logged rates fit none of theirs.
    """
    if any(name in settings for name in _NAMES):
        # What is not said is as in the smaller runs, where they agree.
        known = _agreed(runs, plan_of(settings, total).schedule if "schedule" in settings else None)
        return plan_of({**known, **settings}, total, "the watched run")
    found = list(dict.fromkeys(each for each in plans(runs) if each is not None))
    if curve is not None and curve.rates is not None and np.isfinite(curve.rates).any():
        return _fitting(found, curve, total)
    if len(found) == 1:
        return found[0]
    text = "; ".join(str(each) for each in found[:4])
    raise DataError(
        f"the runs have {len(found)} schedules ({text})",
        "schedule",
        "Say which the watched run has: --schedule cosine --warmup 0.05",
    )


def _agreed(runs: Runs, schedule: str | None) -> dict[str, Any]:
    found = {each for each in plans(runs) if each is not None and schedule in (None, each.schedule)}
    known: dict[str, Any] = {}
    if len({each.schedule for each in found}) == 1:
        known["schedule"] = next(iter(found)).schedule
    if len({each.warmup for each in found}) == 1:
        known["warmup"] = next(iter(found)).warmup
    if len({each.final_fraction for each in found}) == 1:
        known["final_fraction"] = next(iter(found)).final_fraction
    return known


def _fitting(found: Sequence[Plan], curve: TrainingCurve, total: float) -> Plan:
    """The plan that the logged rates follow, with the peak that suits each best."""
    assert curve.rates is not None
    told = np.isfinite(curve.rates)
    at = np.clip(np.round(curve.steps[told]).astype(int) - 1, 0, round(total) - 1)
    rates = curve.rates[told]
    best: tuple[float, int] = (math.inf, 0)
    for place, plan in enumerate(found):
        u = plan.shares(round(total))[at]
        peak = float(rates @ u) / max(float(u @ u), 1e-12)
        best = min(best, (float(np.mean(np.abs(rates / max(peak, 1e-300) - u))), place))
    if best[0] > _FITS:
        text = "; ".join(str(each) for each in found[:4])
        raise RunError(
            f"its learning rates follow no schedule of the runs ({text})",
            "curve",
            "Say which it has: --schedule cosine --warmup 0.05",
        )
    return found[best[1]]


def under(runs: Runs, plan: Plan, over: Sequence[str]) -> Runs:
    """The runs under a plan, where three sizes or more have it with curves; else all."""
    same = np.array([each is not None and same_plan(each, plan) for each in plans(runs)])
    sizes = {tuple(float(runs.table[name][row]) for name in over) for row in np.flatnonzero(same)}
    if len(sizes) < 3:
        return runs
    # Runs without a curve still speak for the law where they name the same schedule.
    names = [name for name in _NAMES if name in runs.table]
    bare = np.array(
        [
            curve is None and same_plan(plan_of({name: runs.table[name][row] for name in names}, math.nan), plan)
            for row, curve in enumerate(runs.curves)
        ]
    )
    return runs.where(np.flatnonzero(same | bare))
