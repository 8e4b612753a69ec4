"""Looking ahead: what a setting that was tuned at one scale and kept will cost at a larger one, and how far it may be kept.

With z the kept setting's coordinate and z*(s) the law of the best (`trend.py`),

    excess(s) = cost(z - z*(s)),   cost(d) = 1/2 H d^2 and the bowl's skew (`response.skewed`), in ln loss

so a setting leaves the law quadratically in ln scale: 1/2 H (p ln r)^2 for an exponent p and a ratio r, and the furthest safe
ratio for a tolerance e is exp(sqrt(2 e / H) / |p|). H is that of the larger scale, carried on along its trend. Intervals come
from draws of the law (straight or bent), of the curvature's trend, and of a scale's own scatter about both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .axis import axis_of
from .errors import InputError
from .estimate import Estimate
from .response import Response
from .trials import place

__all__ = ["Kept", "keep"]

Array: TypeAlias = NDArray[np.float64]

_DRAWS = 2000
# How far ahead a safe ratio is looked for.
_FURTHEST, _POINTS = 1e6, 200


@dataclass(frozen=True, eq=False)
class Kept:
    """Settings kept from one scale, seen from others.

    Args:
        settings: hyperparameter -> kept value; hyperparameters left out are tuned at every scale.
        start: the scale from which ratios count.
        level: of the intervals.
    """

    response: Response = field(repr=False)
    settings: Mapping[str, float]
    start: Mapping[str, float]
    level: float
    _away: Array = field(repr=False)

    def excess(self, point: Mapping[str, float]) -> Estimate:
        """ln loss lost at a scale: median and interval."""
        return _estimate(self.draws(point), self.level)

    def curve(self, points: Sequence[Mapping[str, float]]) -> tuple[Array, Array, Array]:
        """Median, low and high of the excess at each point, for drawing."""
        draws = self._draws([place(self.response.over, point) for point in points])
        low, value, high = np.quantile(draws, [0.5 - self.level / 2, 0.5, 0.5 + self.level / 2], axis=0)
        return value, low, high

    def mean(self, point: Mapping[str, float]) -> float:
        """Expected excess at a scale, the mean of the draws."""
        return float(self.draws(point).mean())

    def chance(self, point: Mapping[str, float], tolerance: float = 0.01) -> float:
        """Probability that the excess at a scale is beyond a tolerance."""
        return float(np.mean(self.draws(point) > tolerance))

    def safe_ratio(self, tolerance: float = 0.02) -> Estimate:
        """How many times larger than the start, in the first scale column, a model may be before the excess passes a tolerance.

        A model there has its own scatter: at the low end the excess is beyond the tolerance with probability (1 - level) / 2.
        Infinite where it is not within a factor of a million.
        """
        if not tolerance > 0:
            raise InputError(f"a tolerance of {tolerance:g}", "tolerance", "Give a share of the loss above 0, such as 0.02")
        column = self.response.over[0]
        grid = np.log(np.geomspace(1.0, _FURTHEST, _POINTS))
        cost = self._draws([{**self.start, column: self.start[column] * math.exp(each)} for each in grid])
        over = cost > tolerance
        first = np.argmax(over, axis=1)
        never = ~over.any(axis=1)
        # Between the grid's points the square root of the cost is near linear in ln ratio.
        rows = np.arange(len(first))
        before = np.maximum(first - 1, 0)
        low, high = np.sqrt(cost[rows, before]), np.sqrt(cost[rows, first])
        share = np.where(first > 0, (math.sqrt(tolerance) - low) / np.maximum(high - low, 1e-12), 0.0)
        reach = grid[before] + np.clip(share, 0.0, 1.0) * (grid[first] - grid[before])
        reach = np.sort(np.where(never, np.inf, reach))
        ends = [_order(reach, each) for each in (0.5, 0.5 - self.level / 2, 0.5 + self.level / 2)]
        value, least, most = (math.exp(each) if math.isfinite(each) else math.inf for each in ends)
        return Estimate(value, least, most, self.level)

    def draws(self, point: Mapping[str, float]) -> Array:
        """Draws of the excess at a scale; those of several kept settings share their curvature."""
        return self._draws([place(self.response.over, point)])[:, 0]

    def _draws(self, points: Sequence[Mapping[str, float]]) -> Array:
        """Excess of every draw at each point, `(draws, points)`; a draw is one law, one scatter about it, one curvature."""
        trend, response = self.response.trend, self.response
        random = np.random.default_rng(0)
        best = trend.draw(_DRAWS, random)(np.stack([trend.place(point) for point in points]))
        away = np.where(np.isfinite(self._away), self._away - best, 0.0)
        sharpness = response.sharpness(points, _DRAWS, random)
        return np.stack([response.cost(point, away[:, k], sharpness[:, k]) for k, point in enumerate(points)], axis=1)


def keep(
    response: Response,
    settings: Mapping[str, float] | Sequence[str],
    start: Mapping[str, float] | None = None,
    *,
    level: float = 0.9,
) -> Kept:
    """Look ahead from a kept setting.

    Args:
        response: the surface.
        settings: the kept values; or names of hyperparameters, whose best at the start is kept.
        start: the scale they were tuned at; default the largest of the data in the first scale column.

    Raises:
        InputError: a hyperparameter that was not tuned, or a value that has no place on its axis.
    """
    trend = response.trend
    start = place(response.over, start or max((bowl.point for bowl in response.bowls), key=lambda each: each[response.over[0]]))
    for name in settings:
        if name not in response.hyper:
            raise InputError(f"{name} was not tuned in these runs", "settings", f"Tuned are {', '.join(response.hyper)}")
    away = np.full(len(response.hyper), np.nan)
    best = trend.best(start)
    values: dict[str, float] = {}
    given = settings if isinstance(settings, Mapping) else {}
    for j, name in enumerate(response.hyper):
        if name not in settings:
            continue
        axis = axis_of(name)
        away[j] = float(axis.coordinate(np.array(given[name]))) if name in given else best[j]
        if not math.isfinite(away[j]):
            raise InputError(f"{name} = {given[name]} has no place on its axis", "settings", "Give a value within its range")
        values[name] = axis.setting(float(away[j]))
    return Kept(response, values, start, level, away)


def _order(ordered: Array, probability: float) -> float:
    """An order statistic: infinities are values like others."""
    return float(ordered[min(int(probability * len(ordered)), len(ordered) - 1)])


def _estimate(draws: Array, level: float) -> Estimate:
    low, value, high = (float(each) for each in np.quantile(draws, [0.5 - level / 2, 0.5, 0.5 + level / 2]))
    return Estimate(value, low, high, level, float(draws.std()))
