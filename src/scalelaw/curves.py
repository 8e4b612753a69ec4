"""Training curves: runs with their losses on the way, mended and brought onto common looks.

A curve comes as means between steps (scalelaw's own trials) or as single values (a log). It may have been restarted, hold NaN,
or change how often it was logged. A look is a window of the run's progress x = step / total; curves are compared look by look.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, RunError
from .schedule import matching, shares, warmup_share
from .trial import Origin, Trial
from .trials import Trials

__all__ = ["Plan", "Runs", "TrainingCurve", "after_restarts", "looks_of", "mend", "plan_of"]

Array: TypeAlias = NDArray[np.float64]

# Non-finite records at the end of a curve that mean that the run is lost, not that a record is.
_LOST = 3


@dataclass(frozen=True)
class Plan:
    """A learning-rate schedule up to its length: its name, share of warmup and final share of the peak rate."""

    schedule: str = "constant"
    warmup: float = 0.0
    final_fraction: float = 0.0

    def shares(self, steps: int) -> Array:
        """Rate over peak rate of each step, `(steps,)`."""
        return shares(self.schedule, steps, warmup=self.warmup, final_fraction=self.final_fraction)

    def __str__(self) -> str:
        more = [f"{self.warmup:.3g} warmup"] if self.warmup else []
        more += [f"down to {self.final_fraction:.3g}"] if self.final_fraction else []
        return f"{self.schedule} ({', '.join(more)})" if more else self.schedule


def plan_of(settings: Mapping[str, Any], total: float, where: str = "schedule") -> Plan:
    """The plan that a run's settings describe; a run that names no schedule kept its rate.

    Raises:
        RunError: a schedule nobody knows.
    """
    name = settings.get("schedule") or "constant"
    known = matching(str(name))
    if known is None:
        raise RunError(f"unknown schedule {name!r}", where, "Use constant, linear, cosine, wsd or inverse_sqrt")
    final = settings.get("final_fraction")
    final = float(final) if isinstance(final, int | float) and math.isfinite(final) else 0.0
    warmup = round(warmup_share(settings, total), 4)
    return Plan(known, warmup, 0.0 if known == "constant" else round(final, 4))


@dataclass(frozen=True, eq=False)
class TrainingCurve:
    """A mended curve.

    Args:
        steps: last step of each record, ascending, `(n,)`.
        middle: the step at which each record's loss stands, `(n,)`.
        losses: positive and finite, `(n,)`.
        total: steps of the whole run; NaN where unknown.
        notes: what was mended, a sentence each.
        lost: the step from which on no loss is finite; None where the run goes on.
        rates: learning rate at each record; None where it was not logged.
        settings: hyperparameters of the run that came with the curve.
    """

    steps: Array
    middle: Array
    losses: Array
    total: float = math.nan
    notes: tuple[str, ...] = ()
    lost: float | None = None
    rates: Array | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __len__(self) -> int:
        return len(self.steps)

    def upto(self, step: float) -> TrainingCurve:
        """The curve as it stood after `step`."""
        keep = self.steps <= step
        lost = self.lost if self.lost is not None and self.lost <= step else None
        rates = None if self.rates is None else self.rates[keep]
        return replace(self, steps=self.steps[keep], middle=self.middle[keep], losses=self.losses[keep], lost=lost, rates=rates)


def mend(
    steps: Any, losses: Any, *, means: bool = False, total: float = math.nan, rates: Any = None, source: str = "curve"
) -> TrainingCurve:
    """A curve from records in the order in which they were written.

    - Where steps go back the run was restarted: what was written before from that step on is dropped.
    - A record without a finite positive loss is dropped; three at the end in a row mean that the run is lost.
    - Records of one step count once, the last.

    Args:
        means: the losses are means over the steps since the record before, not values at a step.

    Raises:
        RunError: no step is left with a finite loss, or a step is not a number of at least 0.
    """
    s, y = np.asarray(steps, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    r = None if rates is None else np.asarray(rates, dtype=np.float64)
    known = np.isfinite(s)
    s, y, r = s[known], y[known], None if r is None else r[known]
    if len(s) and s.min() < 0:
        raise RunError(f"step {s.min():g} is below 0", source, "Count steps from 0 or 1")
    keep, back = after_restarts(s)
    s, y, r = s[keep], y[keep], None if r is None else r[keep]
    good = np.isfinite(y) & (y > 0) & (s > 0)
    notes: list[str] = []
    if back:
        notes.append(f"The steps go back {back} times: the run was restarted, and what was logged twice counts once.")
    bad = int(np.sum(~good & (s > 0)))
    lost: float | None = None
    if len(good) and not good[-1]:
        tail = len(good) - (int(np.flatnonzero(good)[-1]) + 1 if good.any() else 0)
        if tail >= min(_LOST, len(good)):
            lost = float(s[len(s) - tail])
    if bad:
        notes.append(f"{bad} records have no finite positive loss and are left out.")
    if not good.any() and lost is None:
        raise RunError("the curve holds no finite loss", source, "Give steps and losses, one record per line")
    # Where a mean begins is the record before, even one that is left out.
    begin = np.concatenate([[0.0], s[:-1]])
    middle = 0.5 * (begin + 1.0 + s) if means else s
    s, y, middle = s[good], y[good], np.maximum(middle[good], 0.5)
    gaps = np.diff(s)
    if not means and len(gaps) >= 8 and _changed(gaps):
        notes.append("The logging interval changes on the way; each look counts its own records.")
    return TrainingCurve(s, middle, y, total, tuple(notes), lost, None if r is None else r[good])


def after_restarts(steps: Array) -> tuple[NDArray[np.intp], int]:
    """Records that were not written again later, and how often the steps went back."""
    back = int(np.sum(np.diff(steps) < 0))
    if not back and (len(steps) < 2 or np.all(np.diff(steps) > 0)):
        return np.arange(len(steps)), 0
    # A record stands if every later one has a later step.
    later = np.minimum.accumulate(steps[::-1])[::-1]
    after = np.concatenate([later[1:], [math.inf]])
    return np.flatnonzero(steps < after), back


def _changed(gaps: Array) -> bool:
    """Whether even spacing changed: the first third's median gap is twice the last's or half of it, each being even."""
    third = max(len(gaps) // 3, 2)
    first, last = gaps[:third], gaps[-third:]
    even = all(np.median(np.abs(part - np.median(part))) <= 0.05 * np.median(part) for part in (first, last))
    return bool(even and not 0.55 < np.median(first) / np.median(last) < 1.8)


@dataclass(frozen=True, eq=False)
class Runs:
    """A table of runs, each with its curve where it has one.

    Args:
        table: one row per run.
        curves: in the order of the rows; None where a run has none.
    """

    table: Trials
    curves: tuple[TrainingCurve | None, ...]

    @classmethod
    def of(cls, trials: Iterable[Trial], source: str = "trials") -> Runs:
        """From trials; a curve's length is its spec's `steps`, or its last step where the run is complete."""
        listed = list(trials)
        return cls(Trials.from_trials(listed, source), tuple(_curve(trial) for trial in listed))

    def where(self, condition: NDArray[np.intp] | str) -> Runs:
        """The runs at these places, in their order, or those that meet a condition: see `Trials.where`."""
        if isinstance(condition, str):
            condition = self.table.with_column("_place", np.arange(len(self.table))).where(condition)["_place"].astype(np.intp)
        keep = np.isin(np.arange(len(self.table)), condition)
        return Runs(self.table.where(keep), tuple(self.curves[i] for i in np.flatnonzero(keep)))

    @property
    def known(self) -> int:
        """How many runs have a curve."""
        return sum(curve is not None for curve in self.curves)


def _curve(trial: Trial) -> TrainingCurve | None:
    if trial.curve is None or not trial.curve.steps:
        return None
    steps = trial.spec.scale.get("steps", trial.curve.steps[-1])
    total = float(steps) if not isinstance(steps, str) else float(trial.curve.steps[-1])
    try:
        # scalelaw keeps means between records; trackers keep the value at a step.
        means = trial.origin is Origin.TRAINED
        return mend(trial.curve.steps, trial.curve.losses, means=means, total=total, source=trial.id)
    except RunError:
        return None


@dataclass(frozen=True, eq=False)
class Looks:
    """A curve on common looks.

    Args:
        log: ln mean loss of each look at its centre; NaN where the curve has no record in it or has not passed it, `(J,)`.
        count: records in each look, `(J,)`.
    """

    log: Array
    count: Array


def looks_of(curve: TrainingCurve, edges: Array, slope: Array | None = None, *, whole: bool = False) -> Looks:
    """A curve on looks with these edges of progress, `(J + 1,)`.

    A look's value is the mean of its records, moved to the look's centre (in ln x) along `slope`.

    Args:
        slope: d ln loss / d ln x at each centre; default the curve's own, by interpolation between looks.
        whole: fill looks without a record by interpolation; for finished curves.

    Raises:
        DataError: the curve's length is unknown.
    """
    if not curve.total > 0:
        raise DataError("the length of a run is not known", "total", "Add a column of steps")
    J = len(edges) - 1
    log_edges = np.log(edges)
    centre = 0.5 * (log_edges[1:] + log_edges[:-1])
    x = np.log(curve.middle / curve.total)
    place = np.searchsorted(log_edges, x, side="right") - 1
    inside = (place >= 0) & (place < J)
    count = np.bincount(place[inside], minlength=J).astype(np.float64)
    here = count > 0
    total = np.maximum(count, 1.0)
    mean = np.bincount(place[inside], curve.losses[inside], J) / total
    at = np.bincount(place[inside], x[inside], J) / total
    # A look is over when the run has passed its end; the last one when the run is.
    passed = edges[1:] <= (curve.steps[-1] / curve.total if len(curve) else 0.0) * (1 + 1e-9)
    log = np.where(here & passed, np.log(np.where(here, mean, 1.0)), np.nan)
    told = np.isfinite(log)
    if slope is not None:
        log = log + slope * (centre - at)
    elif told.sum() >= 2:
        log[told] = np.interp(centre[told], at[told], log[told])
    if whole and told.sum() >= 2:
        log[~told] = np.interp(centre[~told], centre[told], log[told])
    return Looks(log, np.where(told, count, 0.0))
