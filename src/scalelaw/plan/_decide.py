"""Extrapolate or evaluate: what further runs are worth, in FLOPs of the target.

A share X of the loss lost at the target is worth the compute that would win it back,

    dlnC = X / slope,    slope = - dlnL / dlnC along the way from the data to the target

(with L = E + k C^-alpha the slope is alpha (L - E) / L), hence after spending s

    total(s) = s + C_T R(s) / slope        stop where it is least

With a goal for the loss the run is worth making only if it is reached: b = C_T ln(goal / L) / slope ~ N(m, v), and runs that
tell L better are worth s [phi(|m| / s) - |m| / s (1 - Phi(|m| / s))] with s^2 the variance they take from b (the knowledge
gradient: Frazier, Powell and Dayanik 2008). Model error is not priced by the model: the largest finished rung must be predicted
by the rest, |z| < 2, and the target may lie no farther beyond the data than forecasts were checked over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._student import quantile
from ..backtest import Backtest
from ..forecast import Forecast
from ._costs import Costs

__all__ = ["FAR", "Goal", "Worth", "rung_rule", "too_far", "worth_of"]

Array: TypeAlias = NDArray[np.float64]

_Z = 2.0
# Rounding of a ratio of sizes; and the share by which totals must differ not to count as equal.
FAR = 1.001
_EQUAL = 0.03


@dataclass(frozen=True)
class Goal:
    """A loss that makes the target's run worth its cost: ln goal - forecast's mean, and its standard deviation."""

    margin: float
    sd: float

    @property
    def probability(self) -> float:
        """That the run reaches it."""
        return _normal_cdf(self.margin / self.sd)

    @property
    def omega(self) -> float:
        """Worth of a unit of variance of ln loss: d/dv of s [phi(m / s) - |m| / s (1 - Phi)], phi(m / s) / (2 s)."""
        return math.exp(-0.5 * (self.margin / self.sd) ** 2) / math.sqrt(2 * math.pi) / (2 * self.sd)

    def value(self, variance_now: float, variance_then: float) -> float:
        """Expected gain in ln loss from knowing L better: the knowledge gradient."""
        s = self.sd * math.sqrt(max(1.0 - variance_then / max(variance_now, 1e-300), 0.0))
        if s <= 0:
            return 0.0
        m = abs(self.margin) / s
        return s * max(math.exp(-0.5 * m * m) / math.sqrt(2 * math.pi) - m * _normal_cdf(-m), 0.0)


@dataclass(frozen=True)
class Worth:
    """What ln loss at the target is worth.

    Args:
        cost: C_T, FLOPs of the target's run. slope: -dlnL / dlnC there.
    """

    cost: float
    slope: float

    def flops(self, excess: float) -> float:
        """FLOPs that so much of the loss is worth, to first order."""
        return self.cost * excess / self.slope

    def times(self, excess: float) -> float:
        """How many times less compute, well spent, reaches the same loss."""
        return math.exp(min(excess / self.slope, 700.0))


def worth_of(found: Forecast, costs: Costs, target: Mapping[str, float]) -> Worth:
    """The price of ln loss at the target: the forecast's slope along the way from the largest scale to it."""
    over = found.frontier.over
    scales = [{name: float(row[name]) for name in over} for row in found.frontier.trials.rows()]
    top = max(scales, key=costs.at)
    along = np.log([target[name] / top[name] for name in over])
    if np.all(np.abs(along) < 1e-6) or costs.slope(target, along) <= 0:
        along = np.ones(len(over))
    x = np.log([target[name] for name in over])
    points = {name: np.exp(x[k] + along[k] * np.array([-0.05, 0.05])) for k, name in enumerate(over)}
    mean = found.stack.predict(points)
    value = mean.weights @ mean.mean
    slope = -float(value[1] - value[0]) / 0.1 / costs.slope(target, along)
    return Worth(costs.at(target), max(slope, 1e-4))


def rung_rule(checks: Backtest, level: float) -> tuple[bool | None, str]:
    """Whether the largest finished rung was predicted by the rest, and a sentence; None where it could not be asked."""
    if not checks.n:
        return None, "No rung could be held out: three sizes at least are needed."
    last = max(checks.rows, key=lambda row: (row.sizes, tuple(row.at.values())))
    half = 0.5 * math.log(last.high / last.low)
    z = last.error / max(half / quantile(0.5 + level / 2, 30.0), 1e-12)
    where = ", ".join(f"{name} {value:g}" for name, value in last.at.items())
    if abs(z) < _Z:
        return True, f"The largest finished rung ({where}) was predicted by the rest: z = {z:+.1f}."
    return False, f"The largest finished rung ({where}) is not predicted by the rest: z = {z:+.1f}, beyond 2."


def too_far(found: Forecast) -> bool:
    """Whether the target lies farther beyond the data than forecasts were checked over."""
    return found.reach.ratio > found.reach.checked * FAR


def stop_at(spend: Sequence[float], total: Sequence[float]) -> int:
    """Place of the least total; the earliest of those that are as good as equal to it."""
    least = min(total)
    return next(k for k in range(len(spend)) if total[k] <= least + _EQUAL * abs(least))


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))
