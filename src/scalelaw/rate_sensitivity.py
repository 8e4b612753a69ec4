"""Learning-rate sensitivity: how much loss is at stake when the rate is not tuned.

    LRS = E [ min(l(rate), l0) - l* ],    ln rate uniform between two rates

with l the loss of the fitted surface, l* its lowest and l0 the loss before training (Wortsman et al. 2023, arXiv:2309.14322; the
range 3e-4 to 3e-1 is quoted from memory). The surface is integrated, not the grid, so it does not depend on which rates were run;
other hyperparameters stay at their best. Where runs diverged, rates from half way to the lowest diverged one on count as l0.

It depends on the range. Beside it stands the width that needs none: sqrt(2 e / H) nats of ln rate on either side of the best lie
within e of the lowest ln loss, H the curvature at the best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .axis import axis_of
from .errors import InputError
from .estimate import Estimate, number
from .response import FORM, Bowl, Response, skewed
from .trials import place

__all__ = ["RateSensitivity", "learning_rate_sensitivity"]

Array: TypeAlias = NDArray[np.float64]

_DRAWS = 500
_RATES = 81


@dataclass(frozen=True)
class RateSensitivity:
    """Learning-rate sensitivity at one scale.

    Args:
        point: the scale. low, high: the range of rates.
        initial_loss: l0, in nats.
        nats, share: the sensitivity, in nats and as a share of the lowest loss.
        hessian: second derivative of ln loss in ln rate at the best, with its interval.
    """

    point: Mapping[str, float]
    low: float
    high: float
    initial_loss: float
    nats: Estimate
    share: Estimate
    hessian: Estimate

    def width(self, tolerance: float = 0.01) -> Estimate:
        """Nats of ln rate on either side of the best that lie within a tolerance of the lowest ln loss: sqrt(2 e / H)."""
        if not tolerance > 0:
            raise InputError(f"a tolerance of {tolerance:g}", "tolerance", "Give a share of the loss above 0, such as 0.01")
        H = self.hessian
        value, least, most = (math.sqrt(2 * tolerance / each) for each in (H.value, H.high, H.low))
        return Estimate(value, least, most, H.level)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, with the width at 1 %."""
        return {
            "point": dict(self.point),
            "range": [self.low, self.high],
            "initial_loss": number(self.initial_loss),
            "nats": self.nats.to_dict(),
            "share": self.share.to_dict(),
            "width_1_percent": self.width().to_dict(),
        }


def learning_rate_sensitivity(
    response: Response,
    point: Mapping[str, float],
    *,
    low: float = 3e-4,
    high: float = 3e-1,
    initial_loss: float | None = None,
    best_loss: float | None = None,
    hyper: str = "learning_rate",
    level: float = 0.9,
) -> RateSensitivity:
    """Integrate the surface over a range of rates.

    Args:
        response: the surface.
        point: the scale.
        low, high: the range.
        initial_loss: l0, in nats; default the highest mean loss of any setting that finished, which is at most l0.
        best_loss: l*; default the estimate of that scale, and asked for where it was not run.
        hyper: another hyperparameter to integrate over.

    Raises:
        InputError: an empty range, a hyperparameter that was not tuned, or no best loss.
    """
    if hyper not in response.hyper:
        raise InputError(f"{hyper} was not tuned in these runs", "hyper", f"Tuned are {', '.join(response.hyper)}")
    axis, j = axis_of(hyper), response.hyper.index(hyper)
    ends = sorted(float(each) for each in axis.coordinate(np.array([low, high])))
    if not (ends[0] < ends[1] and low < high):
        raise InputError(f"the range {low:g} to {high:g} is empty", "low, high", "Give two values, the lower first")
    point = place(response.over, point)
    here = (n for n, each in enumerate(response.bowls) if dict(each.point) == point and each.levels == response.level)
    at = next(here, None)
    bowl = None if at is None else response.bowls[at]
    if bowl is None and best_loss is None:
        said = ", ".join(f"{name}={value:g}" for name, value in point.items())
        raise InputError(f"the best loss at {said} is not known", "best_loss", "Give it, such as a forecast of it")
    if initial_loss is None:
        initial_loss = math.exp(max(float(cell.y.max()) for cell in response.cells))
    random = np.random.default_rng(0)
    best, lowest = _start(response, point, j, bowl, best_loss, random)
    coordinate = np.linspace(ends[0], ends[1], _RATES)
    mean, covariance = _shape(response, point, j, at)
    shapes = mean + random.standard_normal((_DRAWS, 2)) @ _root(covariance)
    shapes[:, 0] = np.maximum(shapes[:, 0], 0.2 * mean[0])
    cost = _costs(shapes, coordinate - best[:, None])
    cost = np.where(coordinate > _wall(response, point), np.inf, cost)
    ceiling = max(initial_loss, float(lowest.min()))
    share = np.minimum(np.exp(np.minimum(cost, 50.0)), ceiling / lowest[:, None]) - 1
    # The mean over a uniform coordinate, by trapezoids.
    weight = np.full(_RATES, 1.0 / (_RATES - 1))
    weight[0] = weight[-1] = 0.5 / (_RATES - 1)
    lost = np.maximum(share, 0.0) @ weight
    nats, part, curvature = (_of(each, level) for each in (lost * lowest, lost, shapes[:, 0]))
    return RateSensitivity(point, float(low), float(high), float(initial_loss), nats, part, curvature)


def _root(covariance: Array) -> Array:
    """A matrix R with R'R = covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))).T


def _start(
    response: Response,
    point: Mapping[str, float],
    j: int,
    bowl: Bowl | None,
    best_loss: float | None,
    random: np.random.Generator,
) -> tuple[Array, Array]:
    """Draws of the best coordinate and of the lowest loss, `(draws,)`."""
    if bowl is None:
        trend = response.trend
        best = trend.draw(_DRAWS, random)(trend.place(point)[None])[:, 0, j]
        log_loss, se = math.log(best_loss or 1.0), 0.0
    else:
        best = bowl.pooled[j] + math.sqrt(bowl.pooled_cov[j, j]) * random.standard_normal(_DRAWS)
        log_loss, se = (bowl.log_loss, bowl.log_loss_se) if best_loss is None else (math.log(best_loss), 0.0)
    return best, np.exp(log_loss + se * random.standard_normal(_DRAWS))


def _shape(response: Response, point: Mapping[str, float], j: int, at: int | None) -> tuple[Array, Array]:
    """Curvature and cubic coefficient along one hyperparameter, `(2,)`, and their covariance.

    Of a scale that was run: what the surface knows of that bowl. Elsewhere: carried on from the nearest scales.
    """
    surface = response.solver
    P, q, m = len(surface.pairs), surface.X.shape[2], surface.m
    quad, cube = surface.pairs.index((j, j)), surface.cubes.index((j, j)) if surface.cubes else -1
    last = len(surface.theta[0]) - len(surface.cubes)
    if at is None:
        H, k = float(response.hessian_at(point)[j, j]), float(response.skew_at(point)[j])
        skew = float(surface.cov[0, last + cube, last + cube]) if surface.cubes else 0.0
        return np.array([H, k]), np.diag([(response.curvature_sd(point)[j] * H) ** 2, skew])
    own = [(a, b) for a, b in surface.cubes if a == b]
    places = [1 + m + quad] + ([1 + m + P + own.index((j, j))] if own else [])
    through = -surface.gain[0, at, places]
    through[0, m * q + quad] += 1.0
    for t in range(surface.steep.shape[2]):
        through[0, m * q + P * (1 + t) + quad] += surface.steep[0, at, t]
    mean = np.array([response.bowls[at].hessian[j, j], 0.0])
    covariance = np.zeros((2, 2))
    if own:
        through[1, last + cube] += 1.0
        mean[1] = surface.theta[0, last + cube] + surface.local[0, at, places[1]]
    used = slice(0, len(places))
    covariance[used, used] = surface.inner[0, at][np.ix_(places, places)] + through @ surface.cov[0] @ through.T
    covariance[0, 0] += (FORM * mean[0]) ** 2
    return mean, covariance


def _costs(shapes: Array, away: Array) -> Array:
    """Cost in ln loss along one hyperparameter, `(draws, rates)`, for draws `(draws, 2)` of its curvature and skew."""
    rows = [skewed(np.array([[H]]), np.array([k]), row[:, None]) for (H, k), row in zip(shapes, away, strict=True)]
    return np.stack(rows)


def _wall(response: Response, point: Mapping[str, float]) -> float:
    """The coordinate from which runs of this scale diverge; infinite where none did, or other settings may be the cause."""
    cell = next((each for each in response.cells if dict(each.point) == dict(point)), None)
    if cell is None or len(response.hyper) > 1 or not len(cell.bad):
        return math.inf
    lowest = cell.z[int(np.argmin(cell.y))]
    above = cell.bad[cell.bad > lowest]
    if not len(above):
        return math.inf
    fine = float(np.max(cell.z[cell.z < above.min()]))
    return 0.5 * (float(above.min()) + fine)


def _of(draws: Array, level: float) -> Estimate:
    low, value, high = (float(each) for each in np.quantile(draws, [0.5 - level / 2, 0.5, 0.5 + level / 2]))
    return Estimate(value, low, high, level, float(draws.std()))
