"""The law of the best setting against scale: where to set a hyperparameter at a size that was never tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from .cells import default_over
from .errors import DataError
from .estimate import Effects, Estimate, quantile_t, random_effects
from .fit import Fit, fit
from .frontier import Frontier, frontier
from .response import Array
from .trials import Trials, place

__all__ = ["Optima", "Optimum", "optimum"]


@dataclass(frozen=True, eq=False)
class Optimum:
    """The law of one hyperparameter's best value against scale.

    Args:
        hyper: the hyperparameter.
        fit: of the law `optimum`, c x^-p, to the best values, weights 1 / (tau^2 + standard error^2).
        level: of the intervals.
        tau: standard deviation, between scales, of ln best about the law.
        frontier: the best values with their errors.
        effects: the pooled line and its covariance; intervals come from here.
    """

    hyper: str
    fit: Fit
    level: float
    tau: float
    frontier: Frontier = field(repr=False)
    effects: Effects = field(repr=False)

    def _estimate(self, point: Mapping[str, float], level: float | None, extra: float) -> Estimate:
        level = self.level if level is None else level
        row = _row(self.frontier.over, point)
        mean = float(row @ self.effects.beta)
        se = math.sqrt(float(row @ self.effects.covariance @ row) + extra**2)
        half = quantile_t(0.5 + 0.5 * level, self.effects.degrees) * se
        return Estimate(math.exp(mean), _exp(mean - half), _exp(mean + half), level, se)

    def at(self, point: Mapping[str, float], level: float | None = None) -> Estimate:
        """The law's own value at a scale, with a random-effects interval, t(scales - coefficients)."""
        return self._estimate(point, level, 0.0)

    def run_at(self, point: Mapping[str, float], level: float | None = None) -> Estimate:
        """The best value of one scale itself: the law's value and the scatter of scales about it."""
        return self._estimate(point, level, self.tau)

    def band(self, points: Mapping[str, Any], level: float | None = None) -> tuple[Array, Array, Array]:
        """Value, low and high of `at` at arrays of points, for drawing."""
        columns = np.broadcast_arrays(*(np.asarray(points[name], dtype=np.float64) for name in self.frontier.over))
        found = [
            self.at(dict(zip(self.frontier.over, map(float, point), strict=True)), level) for point in zip(*columns, strict=True)
        ]
        return tuple(np.array([getattr(each, name) for each in found]) for name in ("value", "low", "high"))  # pyright: ignore[reportReturnType]

    def safe_ratio(self, tolerance: float = 0.02) -> Estimate:
        """How much larger (in the first scale column) a model may be before a setting kept from the smaller one costs
        `tolerance`.

        With curvature H = d2 ln loss / d (ln h)^2 and exponent p, the excess of keeping h over a ratio r is 1/2 H (p ln r)^2, so
        r = exp(sqrt(2 tolerance / H) / |p|). The interval is that of p; high is infinite where p may be zero.
        """
        curvature = self.frontier.curvature[self.hyper]
        p, se = float(self.effects.beta[1]), math.sqrt(float(self.effects.covariance[1, 1]))
        half = quantile_t(0.5 + 0.5 * self.level, self.effects.degrees) * se
        reach = math.sqrt(2.0 * tolerance / curvature)
        least = 0.0 if abs(p) <= half else abs(p) - half
        value, low, high = (_exp(reach / size) if size > 0 else math.inf for size in (abs(p), abs(p) + half, least))
        return Estimate(value, low, high, self.level)

    def to_dict(self) -> dict[str, Any]:
        """`coefficients` and their `interval`, in the signs of best = c x^-p."""
        names = list(self.fit.theta)
        half = quantile_t(0.5 + 0.5 * self.level, self.effects.degrees) * np.sqrt(np.diag(self.effects.covariance))
        interval = {names[0]: [_exp(float(self.effects.beta[0] + sign * half[0])) for sign in (-1, 1)]}
        for k, name in enumerate(names[1:], start=1):
            interval[name] = [float(-self.effects.beta[k] + sign * half[k]) for sign in (-1, 1)]
        return {"coefficients": dict(self.fit.theta), "interval": interval, "tau": self.tau, "scales": len(self.frontier.trials)}


@dataclass(frozen=True, eq=False)
class Optima:
    """The laws of all tuned hyperparameters, and their values at one scale where one was asked for."""

    optima: Mapping[str, Optimum]
    frontier: Frontier
    at: Mapping[str, float] | None = None
    level: float = 0.9

    def __getitem__(self, hyper: str) -> Optimum:
        return self.optima[hyper]

    def estimates(self, point: Mapping[str, float]) -> dict[str, Estimate]:
        """The law's value of each hyperparameter at a scale."""
        return {name: each.at(point, self.level) for name, each in self.optima.items()}

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw optimum`."""
        at: dict[str, Any] | None = None
        if self.at is not None:
            at = {**self.at, **{name: each.to_dict() for name, each in self.estimates(self.at).items()}}
        return {
            "over": list(self.frontier.over),
            "law": {name: each.to_dict() for name, each in self.optima.items()},
            "per_scale": self.frontier.trials.rows(),
            "at": at,
            "safe_ratio": {name: each.safe_ratio().to_dict() for name, each in self.optima.items()},
            "level": self.level,
        }


def optimum(
    data: Trials | Frontier,
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    at: Mapping[str, float] | None = None,
    level: float = 0.9,
) -> Optima:
    """Fit the law of each tuned hyperparameter's best value against scale.

    A best value at the edge of its grid takes part with the place its bowl points to (its curvature is shared with the other
    scales) and a standard error widened by the distance beyond the outermost run: neither taken as exact nor dropped.

    Raises:
        DataError: no hyperparameter varies within a scale, or fewer scales than coefficients.
    """
    over = default_over(data, at) if over is None and isinstance(data, Trials) else over
    edge = data if isinstance(data, Frontier) else frontier(data, over=over, hyper=hyper)
    if not edge.tuned:
        raise DataError(
            "no hyperparameter takes three values within a scale, so no best value can be told",
            edge.source.source,
            "Run at least three learning rates at two sizes or more",
        )
    if len(edge.trials) < 1 + len(edge.over):
        raise DataError(
            f"{len(edge.trials)} tuned size(s), too few for a law", edge.source.source, "Tune at one more size at least"
        )
    X = np.concatenate([np.ones((len(edge.trials), 1)), edge.scales], axis=1)
    found: dict[str, Optimum] = {}
    for name in edge.hyper:
        se = edge.trials.numbers(f"{name}_se")
        effects = random_effects(X, np.log(edge.trials.numbers(name)), se)
        weights = 1.0 / (effects.tau**2 + se**2)
        fitted = fit("optimum", edge.trials, over=edge.over, outcome=name, weights=weights)
        found[name] = Optimum(name, fitted, level, effects.tau, edge, effects)
    return Optima(MappingProxyType(found), edge, None if at is None else place(edge.over, at), level)


def _row(over: tuple[str, ...], point: Mapping[str, Any]) -> Array:
    return np.array([1.0, *map(math.log, place(over, point).values())])


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
