"""What a watched run is held against: the law of final losses, tuned runs with curves, and how a tuned run's test would go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._sequential import Noise, evidence, fit_noise
from ._transport import Course, Transported, same_plan, transport
from .axis import axis_of
from .curves import Looks, Plan, Runs, TrainingCurve, looks_of, plan_of
from .errors import DataError, RunError
from .frontier import Frontier
from .response import Bowl
from .stack import Ladder

__all__ = ["EARLY", "References", "few", "law_without", "own_noise", "peaks", "references", "tuned_rows"]

Array: TypeAlias = NDArray[np.float64]

# Runs whose setting costs less than this in ln loss, by the response, stand for tuned ones.
_TUNED = 0.002
# No look is taken before this share of the run, nor in warmup.
EARLY = 0.05
_LOOKS = (8, 80)


@dataclass(frozen=True, eq=False)
class References:
    """Tuned runs on common looks.

    Args:
        edges: of the looks, in progress, `(J + 1,)`. x: their centres, `(J,)`.
        slope: d ln loss / d ln x at each look.
        plan: the watched run's.
        courses: one per tuned run. scales: its point.
        carried: what they say of the watched run.
    """

    edges: Array
    x: Array
    slope: Array
    plan: Plan
    courses: tuple[Course, ...]
    scales: tuple[Mapping[str, float], ...]
    carried: Transported


def tuned_rows(edge: Frontier, runs: Runs) -> NDArray[np.intp]:
    """Rows of finished runs with curves at tuned settings: those that cost less than 0.2 % of the loss by the response.

    A size without one gives the runs of its best setting. Without a response, the rows at the kept setting.
    """
    numbered = runs.table.with_column("_place", np.arange(len(runs.table)))
    done = [int(row) for row in numbered.finished["_place"] if runs.curves[int(row)] is not None]
    table, response = runs.table, edge.response
    if response is None or not edge.tuned:
        kept = [
            row
            for row in done
            if all(math.isclose(float(table[name][row]), value, rel_tol=1e-6) for name, value in edge.settings.items())
        ]
        return np.array(kept, dtype=np.intp)
    bowls: dict[tuple[float, ...], list[Bowl]] = {}
    for bowl in response.bowls:
        bowls.setdefault(_key(bowl.point, edge.over), []).append(bowl)
    cost: dict[int, float] = {}
    groups: dict[tuple[float, ...], list[int]] = {}
    for row in done:
        point = {name: float(table[name][row]) for name in edge.over}
        here = bowls.get(_key(point, edge.over))
        if here is None:
            continue
        # Several bowls at one size are those of levels (schedules); a run belongs to its own.
        levels = tuple(str(table[name][row]) for name in response.factors)
        bowl = next((each for each in here if each.levels == levels), here[0])
        z = np.array([float(axis_of(name).coordinate(np.array([table[name][row]]))[0]) for name in response.hyper])
        cost[row] = float(response.cost(bowl.point, np.nan_to_num(z - bowl.pooled)))
        groups.setdefault(_key(point, edge.over), []).append(row)
    kept = []
    for rows in groups.values():
        least = min(cost[row] for row in rows)
        kept += [row for row in rows if cost[row] <= max(_TUNED, least + 1e-9)]
    return np.array(sorted(kept), dtype=np.intp)


def _key(point: Mapping[str, float], over: Sequence[str]) -> tuple[float, ...]:
    return tuple(round(math.log(point[name]), 6) for name in over)


def references(
    runs: Runs,
    rows: Sequence[int] | NDArray[np.intp],
    over: Sequence[str],
    target: tuple[Mapping[str, float], Plan, float, float],
) -> References:
    """Lay the runs of `rows` over common looks and carry them to the target: (its point, plan, total steps, ln final loss).

    Raises:
        DataError: fewer than three sizes have curves that say anything of this schedule.
    """
    point, plan, total, log_final = target
    curves = [(row, curve) for row in rows if (curve := runs.curves[row]) is not None]
    plans = {row: _plan(runs, row, curve) for row, curve in curves}
    same = [(row, curve) for row, curve in curves if same_plan(plans[row], plan)]
    told = len({_point(runs, row, over) for row, _ in same}) >= 3
    warmups = [plan.warmup, *(plans[row].warmup for row, _ in curves)]
    start = max(EARLY, (max(warmups) if not told else plan.warmup) + 0.01)
    enough = [int(np.sum(curve.middle / curve.total > start)) for _, curve in (same if told else curves)]
    if start >= 0.8 or not enough:
        raise DataError("no run has a curve after its warmup", runs.table.source, "Add runs with their curves")
    J = int(np.clip(np.median(enough), *_LOOKS))
    edges = np.geomspace(start, 1.0, J + 1)
    x = np.sqrt(edges[1:] * edges[:-1])
    rough = np.array([looks_of(curve, edges, whole=True).log for _, curve in curves])
    slope = _slope(rough[np.isfinite(rough).all(axis=1)], np.log(x))
    courses: list[Course] = []
    scales: list[Mapping[str, float]] = []
    for row, curve in curves:
        log = looks_of(curve, edges, slope, whole=True).log
        if not np.isfinite(log).all():
            continue
        final = math.log(float(runs.table["loss"][row]))
        where = _point(runs, row, over)
        courses.append(Course(_size(where), plans[row], curve.total, final, log - final))
        scales.append(dict(zip(over, where, strict=True)))
    asked = Course(_size(tuple(point[name] for name in over)), plan, total, log_final, np.zeros(J))
    carried = transport(courses, asked, x)
    if carried is None:
        raise DataError(
            "fewer than three sizes have curves of tuned runs",
            runs.table.source,
            "Add tuned runs with their curves at three sizes or more",
        )
    return References(edges, x, slope, plan, tuple(courses), tuple(scales), carried)


def _plan(runs: Runs, row: int, curve: TrainingCurve) -> Plan:
    names = ("schedule", "warmup", "warmup_steps", "final_fraction")
    return plan_of({name: runs.table[name][row] for name in names if name in runs.table}, curve.total, runs.table.source)


def _point(runs: Runs, row: int, over: Sequence[str]) -> tuple[float, ...]:
    return tuple(float(runs.table[name][row]) for name in over)


def _size(where: Sequence[float]) -> Array:
    return np.array([1.0, *(math.log(value) for value in where)])


def _slope(logs: Array, log_x: Array) -> Array:
    """d ln loss / d ln x of the mean curve, by lines over five looks."""
    if not len(logs):
        return np.zeros(len(log_x))
    mean = logs.mean(axis=0)
    found = np.zeros(len(log_x))
    for j in range(len(log_x)):
        near = slice(max(j - 2, 0), j + 3)
        found[j] = np.polyfit(log_x[near], mean[near], 1)[0]
    return found


def law_without(edge: Frontier, point: Mapping[str, float] | None, at: Mapping[str, float]) -> tuple[float, float]:
    """Mean and standard deviation of ln final loss of one tuned run at `at`, from the frontier without the size `point`.

    Raises:
        DataError: what is left carries no law.
    """
    if point is not None:
        keep = np.zeros(len(edge.trials), dtype=bool)
        for name, value in point.items():
            keep |= ~np.isclose(edge.trials.numbers(name), value, rtol=1e-6)
        edge = replace(edge, trials=edge.trials.where(keep))
    mixture = Ladder(edge).stack().predict(at, edge.run_sd**2)
    return float(mixture.quantile(0.5)[0]), float(mixture.sd()[0])


def peaks(found: References, edge: Frontier) -> Array:
    """The largest ln E that each tuned run reaches when its size is left out of law, course and noise, `(runs,)`.

    Runs of sizes without which there is no law are left out.
    """
    carried = found.carried
    scales = {course.place: scale for course, scale in zip(found.courses, found.scales, strict=True)}
    heights: list[float] = []
    for place in np.unique(carried.places):
        mine = carried.places == place
        others = ~mine
        point = scales[carried.judged[int(np.flatnonzero(mine)[0])].place]
        try:
            mu, s = law_without(edge, point, point)
        except (DataError, RunError):
            continue
        noise = fit_noise(carried.errors[others], carried.places[others], found.x)
        C = s**2 + noise.covariance(found.x, stretch=few(len(np.unique(carried.places[others]))))
        for row in np.flatnonzero(mine):
            e = carried.judged[row].log_final - mu + carried.errors[row]
            heights.append(float(evidence(e, C, found.x).max()))
    return np.array(heights)


def few(sizes: int) -> float:
    """Variance of Student's t with as many degrees of freedom as sizes told the error: few of them promise too little."""
    return sizes / max(sizes - 2, 1)


def own_noise(curve: TrainingCurve, looks: Looks, noise: Noise, x: Array) -> Array:
    """Variance to add to each look because this curve is noisier, or logged more rarely, than those it is held against, `(J,)`.

    One record's variance is that of its distance from the line through its neighbours, over 1.5.
    """
    y, t = np.log(curve.losses), np.log(curve.middle)
    late = np.flatnonzero(curve.middle / curve.total >= EARLY)
    if len(late) < 6:
        return np.zeros(len(x))
    y, t = y[late], t[late]
    share = (t[1:-1] - t[:-2]) / np.maximum(t[2:] - t[:-2], 1e-12)
    off = y[1:-1] - (1 - share) * y[:-2] - share * y[2:]
    one = float(np.median(off**2)) / 0.455 / 1.5
    return np.maximum(one / np.maximum(looks.count, 1.0) - noise.sd(x) ** 2, 0.0)
