"""The cheapest experiment that settles a drift: how large a model shows it, at how many seeds, and which settings to run in turn.

A value that is off at the target is off at a smaller scale N too, by less, back to where it was right. So at N it stands at

    z*_j(N) + d_j(N),     d_j(N) = used_j - z*_j(N), held between 0 and d_j(target)

which is the value itself where it was kept while its best moved on, and the best at N where it was right at the target. With
X(N) the cost of d(N), two arms of r runs each - these settings, and all moved to their predicted best - tell the difference where

    X(N) >= (z_{1 - alpha / m} + z_{1 - beta}) sigma sqrt(2 / r),     alpha = 0.05, power 1 - beta = 0.8

for m hyperparameters and one run's noise sigma in ln loss. If moving all closes the gap, halves of the suspects are put back in
order of their Shapley value (`suspects.apportion`) until one is left: at most ceil(log2 m) + 1 configurations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from .axis import axis_of
from .estimate import number
from .forecast import Forecast
from .response import Array, Response
from .suspects import apportion
from .trials import Trials

__all__ = ["Configuration", "Experiment", "experiment"]

Point = Mapping[str, float]

_ALPHA, _POWER = 0.05, 0.8
_SEEDS = (1, 2, 3)
# Sizes looked at between those of the data and on the way to the target: factors of the square root of two.
_STEP = 0.5 * math.log(2.0)
# A hyperparameter that bears less of the cost is no suspect.
_LEAST = 0.01


@dataclass(frozen=True)
class Configuration:
    """Settings to run.

    Args:
        moved: hyperparameters at their predicted best; the others stay as they are.
        settings: all values.
        cost: ln loss that these settings are predicted to lose against the best.
        difference: predicted loss less that of the settings in question, in units of the loss.
    """

    moved: tuple[str, ...]
    settings: Mapping[str, float]
    cost: float
    difference: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "moved": list(self.moved),
            "settings": dict(self.settings),
            "cost": self.cost,
            "difference": number(self.difference),
        }


@dataclass(frozen=True, eq=False)
class Experiment:
    """The cheapest experiment, or why there is none.

    Args:
        at: the scale; None where no scale below the target shows the difference. message: what to do, or why not.
        seeds: runs of each configuration. cost: of the first two arms, in runs at the target; cost_by: by what it is counted.
        needed: least difference in ln loss that it sees. predicted: that of the settings in question from the best.
        noise: sigma, and noise_from where it comes from.
        kept: the settings in question.
        order: suspects, the largest predicted cost first, with their Shapley values at `at`.
        configurations: in order, as far as each answer is the expected one: that the largest suspect is at fault.
    """

    at: Point | None
    message: str
    seeds: int
    cost: float
    cost_by: str
    needed: float
    predicted: float
    noise: float
    noise_from: str
    kept: Mapping[str, float]
    order: Mapping[str, float]
    configurations: tuple[Configuration, ...]
    _settle: Callable[[tuple[str, ...]], Configuration] = field(repr=False)

    def suspected(self, closed: Sequence[bool]) -> tuple[str, ...]:
        """Who is left under suspicion after these answers, in the order that `next` asks; one name is the culprit.

        Nobody is left where moving all did not close the gap: the cause was not screened, or the law is wrong.

        Args:
            closed: for each configuration run so far, whether it gained more than half of what the first was predicted to gain,
                from the second on more than half of what the first gained.
        """
        left = tuple(self.order)
        for place, answer in enumerate(closed):
            if place == 0:
                left = left if answer else ()
                continue
            half = left[: math.ceil(len(left) / 2)]
            left = half if answer else left[len(half) :]
        return left

    def next(self, closed: Sequence[bool] = ()) -> Configuration | None:
        """The next configuration to run after these answers; None where the question is settled."""
        if self.at is None or not self.order:
            return None
        left = self.suspected(closed)
        if not closed:
            return self._settle(left)
        return self._settle(left[: math.ceil(len(left) / 2)]) if len(left) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("message", "seeds", "cost", "cost_by", "needed", "predicted", "noise", "noise_from")
        return {
            "at": None if self.at is None else dict(self.at),
            **{name: getattr(self, name) for name in names},
            "kept": dict(self.kept),
            "order": dict(self.order),
            "configurations": [each.to_dict() for each in self.configurations],
            "most": 0 if self.at is None else 1 + math.ceil(math.log2(max(len(self.order), 1))),
        }


def experiment(expected: Forecast, target: Point, used: Array, names: Sequence[str]) -> Experiment:
    """Choose the scale and the seeds that cost least, and order the configurations.

    Args:
        expected: the forecast at the target, with the frontier and its response.
        target: the scale at which the settings are off.
        used: their coordinates, NaN for a hyperparameter that is set to its best, `(hyperparameters,)`.
        names: hyperparameters that may be moved.
    """
    response, edge = expected.frontier.response, expected.frontier
    assert response is not None
    price, cost_by = _price(edge.source, response.over, target)
    noise = max(edge.run_sd, 1e-4)
    noise_from = "seeds at the largest size" if edge.seed_sd is not None else "scatter of single runs about the surface"
    allowed = np.array([name in names and bool(np.isfinite(used[j])) for j, name in enumerate(response.hyper)])
    off = _Off(response, np.where(allowed, used - response.trend.best(target), 0.0), np.where(allowed, used, 0.0))
    quantiles = NormalDist().inv_cdf(1 - _ALPHA / max(int(allowed.sum()), 1)) + NormalDist().inv_cdf(_POWER)
    needed = {seeds: quantiles * noise * math.sqrt(2 / seeds) for seeds in _SEEDS}
    best: tuple[float, int, Point] | None = None
    largest = 0.0
    for point in _points(response, target):
        seen = float(response.cost(point, off(point)))
        largest = max(largest, seen)
        for seeds in _SEEDS:
            cost = 2 * seeds * price(point)
            if seen >= needed[seeds] and (best is None or cost < best[0]):
                best = (cost, seeds, point)
    told = (noise, noise_from)
    if best is None:
        most = _SEEDS[-1]
        text = (
            "At no size below the target would the difference show: the most that moving all hyperparameters is predicted to "
            f"gain there is {_percent(largest)} of the loss, and with {most} seeds {_percent(needed[most])} would be seen."
        )
        settle = _Settler(expected, off, target)
        return Experiment(None, text, 0, 0.0, cost_by, needed[most], largest, *told, settle(()).settings, {}, (), settle)
    cost, seeds, point = best
    settle = _Settler(expected, off, point)
    phi = apportion(response, point, off(point))
    order = {response.hyper[j]: float(phi[j]) for j in np.argsort(-phi) if phi[j] > _LEAST * phi.sum()}
    predicted = float(response.cost(point, off(point)))
    text = (
        f"At {', '.join(f'{name} {value:g}' for name, value in point.items())} run these settings and all at their predicted "
        f"best, {_runs(seeds)} each: {_percent(predicted)} of the loss is predicted between them, and {_percent(needed[seeds])} "
        f"would be seen four times out of five. Both together cost {_cost(cost)} at the target, counted by {cost_by}."
    )
    kept = settle(()).settings
    plan = Experiment(point, text, seeds, cost, cost_by, needed[seeds], predicted, *told, kept, order, (), settle)
    listed: list[Configuration] = []
    while (following := plan.next([True] * len(listed))) is not None:
        listed.append(following)
    return replace(plan, configurations=tuple(listed))


@dataclass(frozen=True, eq=False)
class _Off:
    """How far the settings in question stand from the best of a scale, `(hyperparameters,)`: see above."""

    response: Response
    there: Array
    used: Array

    def __call__(self, point: Point) -> Array:
        here = self.used - self.response.trend.best(point)
        return np.clip(here, np.minimum(self.there, 0.0), np.maximum(self.there, 0.0))


@dataclass(frozen=True, eq=False)
class _Settler:
    """Makes a configuration out of the names that are moved."""

    expected: Forecast
    off: _Off
    point: Point

    def __call__(self, moved: tuple[str, ...]) -> Configuration:
        response, off = self.off.response, self.off(self.point)
        away = np.where([name in moved for name in response.hyper], 0.0, off)
        values = response.trend.best(self.point) + away
        settings = {name: axis_of(name).setting(float(value)) for name, value in zip(response.hyper, values, strict=True)}
        cost, kept = (float(response.cost(self.point, each)) for each in (away, off))
        tuned = float(self.expected.stack.predict(self.point).loss(0.5)[0])
        return Configuration(moved, settings, cost, tuned * (math.exp(cost) - math.exp(kept)))


def _points(response: Response, target: Point) -> list[dict[str, float]]:
    """The scales of the data, sizes between them, and sizes on the way from the largest to the target, all below the target."""
    over = response.over
    logs = [np.log([bowl.point[name] for name in over]) for bowl in response.bowls]
    goal = np.log([target[name] for name in over])
    found = [dict(bowl.point) for bowl in response.bowls]
    last = max(logs, key=lambda each: float(each.sum()))
    stops = [*sorted(logs, key=lambda each: float(each[0])), goal] if len(over) == 1 else [last, goal]
    for low, high in itertools.pairwise(stops):
        count = math.floor(float(np.max(np.abs(high - low))) / _STEP + 1e-9)
        steps = [low + (high - low) * k * _STEP / float(np.max(np.abs(high - low))) for k in range(1, count + 1)]
        found += [{name: _round(math.exp(value)) for name, value in zip(over, each, strict=True)} for each in steps]
    below = [
        point
        for point in found
        if all(point[name] <= target[name] * 1.0001 for name in over) and any(point[name] < 0.99 * target[name] for name in over)
    ]
    return list({tuple(point.values()): point for point in below}.values())


def _round(value: float) -> float:
    """Two digits, but a power of two of a size that is one."""
    whole = round(math.log2(value), 3)
    return 2.0**whole if whole.is_integer() else float(f"{value:.2g}")


def _price(trials: Trials, over: Sequence[str], target: Point) -> tuple[Callable[[Point], float], str]:
    """Cost of a run in runs at the target, and by what it is counted: the compute of the data as a power law in the scales, else
    6 ND, else the product of the scales."""
    finished = trials.finished
    sizes = np.stack([finished.numbers(name) for name in over], axis=1)
    if "compute" not in over and "compute" in finished and finished["compute"].dtype != object:
        spent = finished.numbers("compute")
        known = np.isfinite(spent) & (spent > 0) & np.all(sizes > 0, axis=1)
        X = np.column_stack([np.ones(int(known.sum())), np.log(sizes[known])])
        if known.any() and np.linalg.matrix_rank(X) == X.shape[1]:
            powers = np.asarray(np.linalg.lstsq(X, np.log(spent[known]), rcond=None)[0][1:], dtype=np.float64)
            return lambda point: _product(point, target, over, powers), "the compute of the data"
    label = "6 x parameters x tokens" if set(over) == {"parameters", "tokens"} else " x ".join(over)
    return lambda point: _product(point, target, over, np.ones(len(over))), label


def _product(point: Point, target: Point, over: Sequence[str], powers: Array) -> float:
    return math.exp(sum(p * math.log(point[name] / target[name]) for name, p in zip(over, powers, strict=True)))


def _runs(seeds: int) -> str:
    return "one run" if seeds == 1 else f"{seeds} seeds"


def _cost(cost: float) -> str:
    return "as much as a run" if f"{cost:.2g}" == "1" else f"{cost:.2g} of a run" if cost < 1 else f"{cost:.2g} times a run"


def _percent(log: float) -> str:
    return f"{100 * math.expm1(log):.2g} %"
