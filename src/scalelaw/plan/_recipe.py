"""The runs one may make: sizes up to the target, settings about the predicted best, and the rest of the recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..axis import axis_of
from ..errors import DataError, InputError
from ..frontier import Frontier
from ..notation import HYPERPARAMETERS, SCALES
from ..response import Response
from ..trials import Trials
from ._candidates import Candidates
from ._costs import Costs

__all__ = ["Limits", "Recipe", "free", "ladder", "recipe_of", "within"]

Array: TypeAlias = NDArray[np.float64]

# Cost of one rung over the one below, at least; and how many settings a size is offered.
_STEP, _SETTINGS, _SEEDS = 2.0, 4096, 3
# Settings are offered where the bowl is expected to cost up to this much, and its best to lie within so many deviations.
_FAR, _DEVIATIONS = 0.06, 2.0
_WHOLE = frozenset({"batch_size", "warmup_steps"})
# Settings offered at each size while nothing is known of them.
_BLIND = 64
_NONE = "no size is both allowed and within the largest run"
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


@dataclass(frozen=True)
class Limits:
    """What runs are allowed.

    Args:
        sizes: values of the first scale column that may be used; None for any.
        largest: FLOPs of one run at most.
        slots: runs at a time; a plan's runs are cut to as many.
    """

    sizes: tuple[float, ...] | None = None
    largest: float = math.inf
    slots: int | None = None

    def __post_init__(self) -> None:
        if self.sizes is not None and (not self.sizes or min(self.sizes) <= 0):
            raise InputError("no size is allowed", "--sizes", "Give sizes above 0, such as --sizes 128,256,512")
        if not self.largest > 0:
            raise InputError(f"a largest run of {self.largest:g} FLOPs", "--largest", "Give a number above 0")
        if self.slots is not None and self.slots < 1:
            raise InputError(f"{self.slots} slots", "--slots", "Give a whole number of 1 or more")


def within(pool: Candidates, limits: Limits) -> Candidates:
    """The candidates that the limits allow.

    Raises:
        InputError: none is left.
    """
    first = np.array([point[pool.over[0]] for point in pool.points])[pool.cell]
    allowed = pool.cost <= limits.largest
    if limits.sizes is not None:
        allowed &= np.isclose(first[:, None], limits.sizes).any(axis=1)
    if not allowed.any():
        raise InputError(_NONE, "--sizes, --largest", "Allow more sizes, or larger runs")
    if allowed.all():
        return pool
    left = pool.only(np.flatnonzero(allowed))
    used, cell = np.unique(left.cell, return_inverse=True)
    return replace(left, points=tuple(pool.points[int(c)] for c in used), cell=cell.reshape(-1))


def ladder(edge: Frontier, target: Mapping[str, float], costs: Costs, limits: Limits) -> list[dict[str, float]]:
    """The scales a run may be made at: those measured, and rungs from the costliest of them towards the target.

    Each rung costs at least twice the one below, and the target itself is none. Allowed sizes take their place where given.

    Raises:
        InputError: no scale is left within the limits.
    """
    over = edge.over
    made = [{name: float(row[name]) for name in over} for row in edge.trials.rows()]
    top = max(made, key=costs.at)
    along = {name: math.log(target[name] / top[name]) for name in over}
    growth = math.log(costs.at(target) / costs.at(top))
    if limits.sizes is not None:
        first = over[0]
        length = along[first]
        shares = [math.log(size / top[first]) / length for size in limits.sizes] if length else []
        made = [point for point in made if any(math.isclose(point[first], size) for size in limits.sizes)]
    else:
        count = max(int(growth / math.log(_STEP)), 0)
        shares = [k / count for k in range(1, count)] if count > 1 else []
    counted = _counted(edge.trials, over)
    rungs = [
        _rounded({name: top[name] * math.exp(share * along[name]) for name in over}, counted) for share in shares if 0 < share < 1
    ]
    found = [point for point in (*made, *rungs) if costs.at(point) <= limits.largest]
    unique = {tuple(point.values()): point for point in found}
    if not unique:
        cheapest = min((*made, *rungs), key=costs.at, default=None)
        least = "" if cheapest is None else f"; the cheapest costs {costs.at(cheapest):.3g} FLOPs"
        raise InputError(f"{_NONE}{least}", "--sizes, --largest", "Allow more sizes, or larger runs")
    return list(unique.values())


def _counted(trials: Trials, over: Sequence[str]) -> frozenset[str]:
    """Scale columns that are counts: every size measured is whole."""
    return frozenset(name for name in over if np.all(np.mod(trials.numbers(name)[np.isfinite(trials.numbers(name))], 1.0) == 0))


def _rounded(point: Mapping[str, float], counted: frozenset[str]) -> dict[str, float]:
    """Widths as multiples of 8 (or whole), small counts whole, other sizes to three digits."""
    found: dict[str, float] = {}
    for name, value in point.items():
        if name == "width":
            step = 8 if value >= 64 else 1
            found[name] = float(max(round(value / step) * step, 1))
        elif name not in counted or value >= 1000:
            found[name] = float(f"{value:.3g}")
        else:
            found[name] = float(max(round(value), 1))
    return found


def free(
    response: Response,
    points: Sequence[Mapping[str, float]],
    costs: Costs,
    offered: int = 12_000,
) -> Candidates:
    """Settings about the predicted best of each scale, evenly spread (Halton), and those that were run there, with more seeds."""
    m = len(response.hyper)
    each = int(min(max(offered // len(points), 8), _SETTINGS))
    made = {tuple(cell.point.values()): cell for cell in response.cells if cell.levels == response.level}
    parts: list[tuple[Array, Array, Array, Array]] = []
    for c, point in enumerate(points):
        sd = np.sqrt(np.diag(response.trend.covariance(point)))
        reach = np.sqrt(2 * _FAR / np.maximum(np.diag(response.hessian_at(point)), 1e-6)) + _DEVIATIONS * sd
        z = response.trend.best(point) + reach * (2 * _halton(each, m) - 1)
        z = np.stack([_settings(name, z[:, j]) for j, name in enumerate(response.hyper)], axis=1)
        cell = made.get(tuple(point.values()))
        z, repeats = _with_made(z, cell.z if cell else z[:0], cell.count if cell else np.zeros(0))
        parts.append((np.full(len(z), c), z, np.full(len(z), costs.at(point)), repeats))
    cell, z, cost, repeats = (np.concatenate(column) for column in zip(*parts, strict=True))
    left = np.maximum(_SEEDS - repeats, 0.0)
    return Candidates(response.over, response.hyper, tuple(points), cell.astype(np.intp), z, cost, repeats, left)


def _with_made(z: Array, made: Array, count: Array) -> tuple[Array, Array]:
    """Settings once each with the runs made there: those that are as good as a made one give way to it."""
    z = np.unique(np.round(z, 9), axis=0)
    if len(made):
        z = z[np.all(np.max(np.abs(z[:, None] - made[None]), axis=2) > 1e-6, axis=1)]
    return np.concatenate([z, made]), np.concatenate([np.zeros(len(z)), count])


def _settings(name: str, z: Array) -> Array:
    """Coordinates of settings as one would write them: three digits, whole where they count."""
    axis = axis_of(name)
    values = np.array([axis.setting(float(each)) for each in z])
    rounded = np.maximum(np.round(values), 1.0) if name in _WHOLE else np.array([float(f"{value:.3g}") for value in values])
    return axis.coordinate(np.where(np.isfinite(axis.coordinate(rounded)), rounded, values))


def _halton(count: int, m: int) -> Array:
    """Points of the unit cube that fill it evenly at every count, `(count, m)`: Halton's radical inverses in the first primes.

    Written out because the library that has them takes seconds to load.
    """
    columns: list[Array] = []
    for base in _PRIMES[:m]:
        left, share, value = np.arange(1, count + 1), 1.0, np.zeros(count)
        while left.any():
            share /= base
            value += share * (left % base)
            left //= base
        columns.append(value)
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Recipe:
    """What a new run takes over from those there are.

    Args:
        kept: scale and hyperparameter columns that are the same in every run, or the best levels of those that were compared.
        moving: columns that vary with scale alone, as (intercept, slopes) of their logarithms.
        over: scale columns.
    """

    kept: Mapping[str, Any]
    moving: Mapping[str, Array]
    over: tuple[str, ...]

    def at(self, point: Mapping[str, float]) -> dict[str, Any]:
        """The columns of a run at a scale, beside its settings."""
        x = np.concatenate([[1.0], np.log([point[name] for name in self.over])])
        moved = {name: float(f"{math.exp(float(x @ theta)):.3g}") for name, theta in self.moving.items()}
        whole = {name: float(round(value)) if name in SCALES or name in _WHOLE else value for name, value in moved.items()}
        return {**point, **self.kept, **whole}


def recipe_of(edge: Frontier, skip: Sequence[str] = ("compute", "embedding_parameters", "parameters", "tokens")) -> Recipe:
    """The recipe of the runs behind a frontier; counted sizes (`skip`) follow from the others and are left out."""
    trials, over, hyper = edge.source.finished, edge.over, edge.hyper
    levels = dict(zip(edge.response.factors, edge.response.level, strict=True)) if edge.response is not None else {}
    kept: dict[str, Any] = {}
    moving: dict[str, Array] = {}
    x = np.concatenate([np.ones((len(trials), 1)), np.log(np.stack([trials.numbers(name) for name in over], axis=1))], axis=1)
    for name in (*SCALES, *HYPERPARAMETERS):
        if name not in trials or name in over or name in hyper or name in skip:
            continue
        column = trials[name]
        if name in levels:
            kept[name] = levels[name] if column.dtype == object else float(levels[name])
        elif column.dtype == object:
            words = [value for value in column.tolist() if value]
            if words:
                kept[name] = max(set(words), key=words.count)
        elif np.isfinite(column).all() and len(column):
            if np.ptp(column) == 0 or np.any(column <= 0):
                kept[name] = float(column[np.argmax(x[:, 1:].sum(axis=1))])
            else:
                moving[name] = np.asarray(np.linalg.lstsq(x, np.log(column))[0], dtype=np.float64)
    return Recipe(kept, moving, over)


def blind(
    trials: Trials,
    columns: tuple[Sequence[str], Sequence[str]],
    target: Mapping[str, float],
    costs: Costs,
    limits: Limits,
) -> Candidates:
    """Runs to begin with, when no bowl is known: settings over the range tried, at least a hundredfold, at the sizes so far.

    Where fewer sizes were run than a law needs, sizes between them and the target come in, each at twice the cost of the last.

    Raises:
        InputError: no size within the limits.
        DataError: no hyperparameter is known.
    """
    finished, (over, hyper) = trials.finished, columns
    names = tuple(hyper) or tuple(name for name in ("learning_rate",) if name in finished)
    if not names:
        what = "no hyperparameter is told, so there is nothing to tune"
        raise DataError(what, trials.source, "Give a column learning_rate, or name one with --hyper")
    sizes = np.unique(np.stack([finished.numbers(name) for name in over], axis=1), axis=0)
    points = [dict(zip(over, map(float, row), strict=True)) for row in sizes if np.all(np.isfinite(row))]
    points = [
        point for point in points if limits.sizes is None or any(math.isclose(point[over[0]], each) for each in limits.sizes)
    ]
    top = max(points, key=costs.at, default=None)
    while top is not None and len(points) < 2 + len(over):
        share = (len(points) + 1) / (4 + len(over))
        point = _rounded({name: top[name] ** (1 - share) * target[name] ** share for name in over}, _counted(finished, over))
        if point in points or costs.at(point) > limits.largest:
            break
        points.append(point)
    points = [point for point in points if costs.at(point) <= limits.largest]
    if not points:
        raise InputError(_NONE, "--sizes, --largest", "Allow more sizes, or larger runs")
    z0 = np.stack([axis_of(name).coordinate(finished.numbers(name)) for name in names], axis=1)
    low, high = np.nanmin(z0, axis=0), np.nanmax(z0, axis=0)
    wide = np.maximum(0.5 * (high - low), 0.5 * math.log(100.0))
    z = 0.5 * (low + high) + wide * (2 * _halton(_BLIND, len(names)) - 1)
    z = np.stack([_settings(name, z[:, j]) for j, name in enumerate(names)], axis=1)
    parts = [_with_made(z, *_made(trials, names, point)) for point in points]
    cell = np.repeat(np.arange(len(points)), [len(each) for each, _ in parts]).astype(np.intp)
    rows, repeats = (np.concatenate(column) for column in zip(*parts, strict=True))
    cost = np.array([costs.at(point) for point in points])[cell]
    return Candidates(tuple(over), names, tuple(points), cell, rows, cost, repeats, (repeats == 0).astype(float))


def _made(trials: Trials, names: tuple[str, ...], point: Mapping[str, float]) -> tuple[Array, Array]:
    """Settings that were run at a scale, whatever came of them, and how often."""
    here = np.ones(len(trials), dtype=bool)
    for name, value in point.items():
        here &= np.isclose(trials.numbers(name), value, rtol=1e-9)
    z = np.stack([axis_of(name).coordinate(trials.numbers(name)) for name in names], axis=1)[here]
    z, count = np.unique(np.round(z[np.all(np.isfinite(z), axis=1)], 9), axis=0, return_counts=True)
    return z, count.astype(np.float64)
