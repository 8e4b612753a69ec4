"""The screen before a large run: what keeping each tuned hyperparameter will cost there, and whether its best moves at all."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from ._evidence import adjusted
from ._student import cdf
from .estimate import Estimate, number
from .forecast import Forecast
from .lookahead import Kept, keep
from .response import Array, Response

__all__ = ["Loss", "Motion", "Screened", "losses", "screen"]

_TEN = math.log(10.0)


class Motion(enum.Enum):
    """What the data show of a hyperparameter's best setting. The value is the sentence a user needs."""

    MOVES = "Its best setting moves with size."
    UNSHOWN = "That its best setting moves is not shown."
    INSENSITIVE = "At these sizes ten times more or less costs no more than the noise of one run."


@dataclass(frozen=True, eq=False)
class Screened:
    """One tuned hyperparameter.

    Args:
        name: its column.
        kept, best: its best at the start, and at the target with its interval.
        exponents: of its best in each scale column.
        motion: what the data show; p_value: of no movement from start to target; adjusted: for the number of hyperparameters.
        excess: ln loss lost at the target where it alone is kept. For one that is INSENSITIVE, by its curvature
            without the surface's floor.
        score: excess in standard deviations of the forecast.
        probability: that the excess is beyond the tolerance.
        growth: change of ln curvature per nat of each scale column; those that the data tell.
        noise_at_ten: cost in ln loss of ten times more or less, in standard deviations of one run's noise.
    """

    name: str
    kept: float
    best: Estimate
    exponents: Mapping[str, Estimate]
    motion: Motion
    p_value: float
    adjusted: float
    excess: Estimate
    score: float
    probability: float
    growth: Mapping[str, Estimate]
    noise_at_ten: float
    _kept: Kept = field(repr=False)
    _tolerance: float = field(repr=False)

    @property
    def safe_ratio(self) -> Estimate:
        """How many times larger, in the first scale column, a model may be before the excess passes the tolerance."""
        return self._kept.safe_ratio(self._tolerance)

    @property
    def exponent(self) -> Estimate:
        """In the first scale column."""
        return next(iter(self.exponents.values()))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; `exponent` and `interval` are those of the first scale column."""
        return {
            "name": self.name,
            "exponent": self.exponent.value,
            "interval": [number(self.exponent.low), number(self.exponent.high)],
            "exponents": {column: each.to_dict() for column, each in self.exponents.items()},
            "motion": self.motion.name,
            "message": self.motion.value,
            "p_value": self.p_value,
            "adjusted": self.adjusted,
            "predicted_excess": self.excess.value,
            "excess_interval": [number(self.excess.low), number(self.excess.high)],
            "score": self.score,
            "probability": self.probability,
            "curvature_trend": {column: each.to_dict() for column, each in self.growth.items()},
            "safe_ratio": self.safe_ratio.to_dict(),
            "kept": self.kept,
            "best": self.best.to_dict(),
        }


def screen(expected: Forecast, response: Response, start: Mapping[str, float], tolerance: float) -> tuple[Screened, ...]:
    """Every tuned hyperparameter of a surface, the highest score first.

    Args:
        expected: the forecast at the target, whose level all intervals have.
        start: the scale whose best settings are kept. tolerance: as a share of the loss.
    """
    trend, point, level = response.trend, expected.at, expected.level
    step = trend.place(point) - trend.place(start)
    p_values = [_still(response, j, step) for j in range(len(response.hyper))]
    lost = losses(response, point, start, level)
    found = [
        Screened(
            name=each.name,
            kept=each.kept.settings[each.name],
            best=expected.optimum[each.name],
            exponents={column: trend.exponent(each.name, column, level) for column in response.over},
            motion=Motion.INSENSITIVE if each.flat else Motion.MOVES if least <= 1 - level else Motion.UNSHOWN,
            p_value=p,
            adjusted=least,
            excess=each.excess,
            score=each.excess.value / expected.sd_log,
            probability=each.kept.chance(point, tolerance / each.part),
            growth=each.growth,
            noise_at_ten=each.at_ten / response.noise,
            _kept=each.kept,
            _tolerance=tolerance / each.part,
        )
        for each, p, least in zip(lost, p_values, adjusted(p_values), strict=True)
    ]
    return tuple(sorted(found, key=lambda each: -each.score))


@dataclass(frozen=True, eq=False)
class Loss:
    """What keeping one hyperparameter costs, before it is held against a forecast: see `Screened`.

    Args:
        flat: it is insensitive. part: its own curvature over the surface's, where it is. at_ten: cost of ten times more or less.
    """

    name: str
    kept: Kept
    excess: Estimate
    flat: bool
    part: float
    at_ten: float
    growth: Mapping[str, Estimate]


def losses(response: Response, point: Mapping[str, float], start: Mapping[str, float], level: float) -> tuple[Loss, ...]:
    """Of every tuned hyperparameter, in their order."""
    found: list[Loss] = []
    for j, name in enumerate(response.hyper):
        kept = keep(response, (name,), start, level=level)
        curvature, error, growth = _curvature(response, j, level)
        at_ten = 0.5 * max(curvature, 0.0) * _TEN**2
        flat = at_ten < response.noise and 0.5 * error * _TEN**2 < 2 * response.noise
        # The surface holds its curvature above a floor; a hyperparameter without detectable curvature is charged its own.
        part = float(np.clip(curvature / response.hessian_at(point)[j, j], 1e-3, 1.0)) if flat else 1.0
        whole = kept.excess(point)
        excess = Estimate(part * whole.value, part * whole.low, part * whole.high, level, part * whole.stderr)
        found.append(Loss(name, kept, excess, flat, part, at_ten, growth))
    return tuple(found)


def _still(response: Response, j: int, step: Array) -> float:
    """P-value of no movement over a step in ln scale, two-sided, by the straight law."""
    path = response.trend.paths[j]
    moved, variance = float(step @ path.beta[1:]), float(step @ path.covariance[1:, 1:] @ step)
    return 1.0 if variance <= 0 else 2 * (1 - cdf(abs(moved) / math.sqrt(variance), path.degrees))


def _curvature(response: Response, j: int, level: float) -> tuple[float, float, dict[str, Estimate]]:
    """Curvature of ln loss in the middle of the values tried, before it is held above the floor, its standard error, and its
    relative change per nat of each scale column where the data tell it better than its prior does.

    Not at the best: without a bowl to be seen that runs away from the values tried, and the cubic terms with it.
    """
    solver, m = response.solver, len(response.hyper)
    pairs, first = solver.pairs, m * solver.X.shape[2]
    place = first + pairs.index((j, j))
    theta, covariance = solver.theta[0], solver.cov[0]
    tried = float(np.mean([cell.z[:, j].mean() for cell in response.cells if len(np.unique(cell.z[:, j])) > 1]))
    row = np.zeros(len(theta))
    row[place] = 1.0
    if solver.cubes:
        away = tried - float(solver.state.centre[0, :, j].mean())
        row[first + len(pairs) * (1 + solver.steep.shape[2]) + solver.cubes.index((j, j))] = 6 * away
    value, error = float(row @ theta), math.sqrt(float(row @ covariance @ row))
    growth: dict[str, Estimate] = {}
    for column, slope, se in zip(response.over, response.growth.value[j], response.growth.sd[j], strict=True):
        # Told where the data halve the prior's variance.
        if value > 2 * error and se < math.sqrt(0.5) * solver.p.growth:
            half = NormalDist().inv_cdf(0.5 + 0.5 * level) * float(se)
            growth[column] = Estimate(float(slope), float(slope) - half, float(slope) + half, level, float(se))
    return value, error, growth
