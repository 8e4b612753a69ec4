"""A ladder that is itself mistuned: a setting kept at every size leaves the best one as sizes grow, and a law follows it there.

Where rates vary at some sizes this is a test: does the kept setting drift away from the swept sizes' lowest points? Where they
vary at none, see `untested.py`. The lowest points and the shape that they share are estimated together, the bowl skewed and
without any law of the best settings (`_sweeps.py`); the scatter of sizes about a law is carried (`_drifting.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._drifting import Slope, Swept, moves, rounding_of
from ._sweeps import Sweeps, swept
from .axis import axis_of
from .cells import Cell
from .discrepancy import hull
from .estimate import Estimate, number
from .response import Response

__all__ = ["EXCESS", "Mistuning", "mistuned"]

Array: TypeAlias = NDArray[np.float64]

# The excess at the largest size that a power is stated for: such a ladder looks clean, and forecasts from it fail.
EXCESS = 0.01
_DRAWS = 2000
# A warning is worth its interruption where the kept setting costs more than this, two to one: sizes swept elsewhere may lie far
# off it, and sizes that scatter more than expected are taken for drift, but cost little.
_WORTH, _SURE = 0.002, 2 / 3
# Standard deviation of ln loss of one run before the sweeps' residuals speak, with the weight of two degrees of freedom.
_NOISE, _NOISE_DEGREES = 0.003, 2.0


@dataclass(frozen=True, eq=False)
class Mistuning:
    """The test of one hyperparameter's kept setting.

    Args:
        name: the hyperparameter. kept, best: at the largest size where it was kept, and what the sweeps make the best there.
        p_value: of no drift, more readily found where it is expected; adjusted: for the number of hyperparameters (Holm).
        level: of the test.
        swept: the scales with three or more settings. directions: of scale that they span; with 0 the one sweep is tested.
        largest: the largest scale at the kept setting. excess: ln loss lost there, with its 90 % interval.
        likely: probability that it is worth a warning, more than 0.2 %.
        power: probability that this test finds a drift whose excess there is 1 %.
    """

    name: str
    kept: float
    best: Estimate
    p_value: float
    adjusted: float
    level: float
    swept: tuple[Mapping[str, float], ...]
    directions: int
    largest: Mapping[str, float]
    excess: Estimate
    likely: float
    power: float
    _kept: _Kept = field(repr=False)

    @property
    def fires(self) -> bool:
        """Whether drift was found, and probably costs something where the setting was kept."""
        return self.adjusted <= 1 - self.level and self.likely > _SURE

    def costs(self, points: Sequence[Mapping[str, float]], count: int = _DRAWS) -> Array:
        """Draws of the ln loss that the kept setting loses at scales, `(count, points)`."""
        return self._kept.costs(points, count)

    def excess_at(self, point: Mapping[str, float], level: float = 0.9) -> Estimate:
        """ln loss lost where the setting is kept up to a scale: median and interval."""
        return _estimate(self.costs([point])[:, 0], level)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "hyperparameter": self.name,
            "fires": self.fires,
            "p_value": self.p_value,
            "adjusted": self.adjusted,
            "likely": self.likely,
            "power": self.power,
            "largest": dict(self.largest),
            "kept": number(self.kept),
            "best": self.best.to_dict(),
            "excess": self.excess.to_dict(),
        }


def mistuned(
    response: Response,
    *,
    kept: Mapping[str, float] | None = None,
    level: float = 0.95,
    cubic: bool = True,
    scatter: bool = True,
) -> tuple[Mistuning, ...]:
    """Test whether settings that were kept while sizes grew drift from the best that swept sizes show.

    The kept setting is that of the scales with a single one; where it differs between them, the rule in ln scale that fits it.

    Args:
        kept: hyperparameter -> the setting that was kept at all scales, where every scale was swept.
        level: 1 - level is the rate of false alarms over all hyperparameters.
        cubic, scatter: False for a parabola, and for sweeps that do not scatter: traps whose false alarms the benchmark prints.

    Returns:
        One per hyperparameter that some scales kept and others swept, the least p-value first; empty where there is none.
    """
    sweeps = swept(response, response.noise, cubic=cubic)
    if sweeps is None:
        return ()
    tested = (_test(response, sweeps, j, (kept or {}).get(name), level, scatter) for j, name in enumerate(response.hyper))
    found = sorted((each for each in tested if each is not None), key=lambda each: each.p_value)
    steps = [min((len(found) - k) * each.p_value, 1.0) for k, each in enumerate(found)]
    return tuple(replace(each, adjusted=max(steps[: k + 1])) for k, each in enumerate(found))


def _test(response: Response, sweeps: Sweeps, j: int, kept: float | None, level: float, scatter: bool) -> Mistuning | None:
    """One hyperparameter; None where it was kept nowhere or swept nowhere."""
    rows = [c for c, cell in enumerate(sweeps.cells) if _values(cell, j) >= 3]
    alone = [cell for cell in response.cells if kept is not None or _values(cell, j) == 1]
    if not rows or not alone:
        return None
    over, cells = response.over, [sweeps.cells[c] for c in rows]
    x, nats = _logs(over, [cell.point for cell in cells]), hull(over, np.zeros((1, len(over)))).nats
    rule = _Rule.of(over, alone, j, kept, response.hyper[j])
    variance, degrees = sweeps.noise(_NOISE**2, _NOISE_DEGREES)
    step = float(np.median([_step(cell.z[:, j]) for cell in cells]))
    every = _logs(over, [cell.point for cell in response.cells])
    start = every[int(np.argmin(every @ nats))]
    prior = moves(response.hyper[j], over, nats, ruled=bool(np.any(np.abs(rule.slope) > 1e-6)))
    test = Swept(
        x,
        start,
        sweeps.error(j, variance)[np.ix_(rows, rows)],
        degrees,
        law=rule.covariance(x),
        rounding=rounding_of(step, rule.scatter),
        nats=nats,
        prior=prior,
        scatter=scatter,
    )
    tested = test.slope(sweeps.best[rows, j] - rule.value(x))
    largest = max((cell.point for cell in alone), key=lambda point: float(_logs(over, [point])[0] @ nats))
    own = _Kept(response, j, tested)
    here = _logs(over, [largest])
    used, axis = float(rule.value(here)[0]), axis_of(response.hyper[j])
    best = _estimate(used + tested.draw(here, _DRAWS, np.random.default_rng(0))[:, 0], 0.9)
    costs = own.costs([largest], _DRAWS)[:, 0]
    size = math.sqrt(2 * EXCESS / float(response.hessian_at(largest)[j, j]))
    return Mistuning(
        name=response.hyper[j],
        kept=axis.setting(used),
        best=Estimate(axis.setting(best.value), axis.setting(best.low), axis.setting(best.high), 0.9, best.stderr),
        p_value=tested.p_value,
        adjusted=tested.p_value,
        level=level,
        swept=tuple(cell.point for cell in cells),
        directions=tested.directions,
        largest=largest,
        excess=_estimate(costs, 0.9),
        likely=float(np.mean(costs > _WORTH)),
        power=test.power(-size * _way(x - start, here[0] - start, prior.along, nats), level, tested.chances),
        _kept=own,
    )


@dataclass(frozen=True, eq=False)
class _Kept:
    """A kept setting seen from the swept scales."""

    response: Response
    j: int
    slope: Slope

    def costs(self, points: Sequence[Mapping[str, float]], count: int) -> Array:
        """See `Mistuning.costs`."""
        response, random = self.response, np.random.default_rng(0)
        drawn = self.slope.draw(_logs(response.over, points), count, random)
        away = np.zeros((*drawn.shape, len(response.hyper)))
        away[..., self.j] = -drawn
        sharpness = response.sharpness(points, count, random)
        return np.stack([response.cost(point, away[:, k], sharpness[:, k]) for k, point in enumerate(points)], axis=1)


@dataclass(frozen=True, eq=False)
class _Rule:
    """The law of a ladder's own settings: a line in ln scale, through one that was kept level.

    Args:
        middle: ln scale, `(columns,)`. level: coordinate there. slope: `(columns,)`.
        scatter: variance of the settings about it, as of a rate per size picked off a grid; 0 for one that was kept.
        unit: covariance of the line's value and slope for a scatter of 1, `(1 + columns, 1 + columns)`.
    """

    middle: Array
    level: float
    slope: Array
    scatter: float
    unit: Array

    @classmethod
    def of(cls, over: tuple[str, ...], alone: Sequence[Cell], j: int, kept: float | None, name: str) -> _Rule:
        """Of the scales with a single setting, or of one that was kept at all."""
        x = _logs(over, [cell.point for cell in alone])
        middle = x.mean(axis=0)
        if kept is not None:
            level = float(axis_of(name).coordinate(np.array(kept)))
            return cls(middle, level, np.zeros(len(over)), 0.0, np.zeros((1 + len(over),) * 2))
        values = np.array([float(np.mean(cell.z[:, j])) for cell in alone])
        design = np.concatenate([np.ones((len(x), 1)), x - middle], axis=1)
        found, _, rank, _ = np.linalg.lstsq(design, values - values.mean(), rcond=1e-6)
        rest = values - values.mean() - design @ found
        scatter = float(rest @ rest) / max(len(x) - int(rank), 1)
        unit = np.asarray(np.linalg.pinv(design.T @ design, rcond=1e-10, hermitian=True), dtype=np.float64)
        return cls(middle, values.mean() + float(found[0]), found[1:], scatter, unit)

    def value(self, x: Array) -> Array:
        """Coordinates at ln scales `(points, columns)`."""
        return self.level + (x - self.middle) @ self.slope

    def covariance(self, x: Array) -> Array:
        """Of the values, `(points, points)`."""
        design = np.concatenate([np.ones((len(x), 1)), x - self.middle], axis=1)
        return self.scatter * design @ self.unit @ design.T


def _way(x: Array, whole: Array, *along: Array) -> Array:
    """What share of a whole way each of the ways x is, `(points,)`, in the first direction in which it leads anywhere."""
    found = next((each for each in along if whole @ each > 1e-6), along[-1])
    return x @ found / max(float(whole @ found), 1e-6)


def _values(cell: Cell, j: int) -> int:
    return len(np.unique(cell.z[:, j]))


def _step(column: Array) -> float:
    return float(np.median(np.diff(np.unique(column))))


def _logs(over: tuple[str, ...], points: Sequence[Mapping[str, float]]) -> Array:
    return np.log([[point[name] for name in over] for point in points]).reshape(len(points), len(over))


def _estimate(draws: Array, level: float) -> Estimate:
    low, value, high = (float(each) for each in np.quantile(draws, [0.5 - level / 2, 0.5, 0.5 + level / 2]))
    return Estimate(value, low, high, level, float(draws.std()))
