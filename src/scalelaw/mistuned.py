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

from ._drifting import Slope, power, slope
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
# A drift that costs less than this at the sizes where the setting was kept is none: sizes swept elsewhere may lie far off it.
_WORTH = 0.002
# Standard deviation of ln loss of one run before the sweeps' residuals speak, with the weight of one degree of freedom.
_NOISE, _NOISE_DEGREES = 0.003, 1.0


@dataclass(frozen=True, eq=False)
class Mistuning:
    """The test of one hyperparameter's kept setting.

    Args:
        name: the hyperparameter. kept, best: at the largest size where it was kept, and what the sweeps make the best there.
        p_value: of no drift, two-sided; adjusted: for the number of hyperparameters (Holm). level: of the test.
        swept: the scales with three or more settings. directions: of scale that they span; with 0 the one sweep is tested.
        largest: the largest scale at the kept setting. excess: ln loss lost there, with its 90 % interval.
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
    power: float
    _kept: _Kept = field(repr=False)

    @property
    def fires(self) -> bool:
        """Whether drift was found, and costs anything where the setting was kept."""
        return self.adjusted <= 1 - self.level and self.excess.value > _WORTH

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
    rule = _rule(over, alone, j, kept, response.hyper[j])
    variance, degrees = sweeps.noise(_NOISE**2, _NOISE_DEGREES)
    error = sweeps.error(j, variance)[np.ix_(rows, rows)]
    step = float(np.median([_step(cell.z[:, j]) for cell in cells]))
    y = sweeps.best[rows, j] - _value(rule, x)
    tested = slope(y, x, error, degrees, step=step, nats=nats, scatter=scatter)
    largest = max((cell.point for cell in alone), key=lambda point: float(_logs(over, [point])[0] @ nats))
    own = _Kept(response, j, tested)
    here = _logs(over, [largest])
    used, axis = float(_value(rule, here)[0]), axis_of(response.hyper[j])
    best = _estimate(used + tested.draw(here, _DRAWS, np.random.default_rng(0))[:, 0], 0.9)
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
        excess=_estimate(own.costs([largest], _DRAWS)[:, 0], 0.9),
        power=power(size * _way(response, x, here, nats), x, error, degrees, step=step, nats=nats, level=level),
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


def _way(response: Response, x: Array, here: Array, nats: Array) -> Array:
    """How far along from the smallest scale of all to `here` the swept scales lie, as a share of the way."""
    start = min(float(each @ nats) for each in _logs(response.over, [cell.point for cell in response.cells]))
    return (x @ nats - start) / max(float(here[0] @ nats) - start, 1e-9)


def _rule(over: tuple[str, ...], alone: Sequence[Cell], j: int, kept: float | None, name: str) -> Array:
    """The kept setting's coordinate as a line in ln scale, `(1 + columns,)`: a constant, or what fits a recipe that moves."""
    if kept is not None:
        return np.append(float(axis_of(name).coordinate(np.array(kept))), np.zeros(len(over)))
    values = np.array([float(np.mean(cell.z[:, j])) for cell in alone])
    if np.ptp(values) < 1e-6:
        return np.append(values[0], np.zeros(len(over)))
    x = _logs(over, [cell.point for cell in alone])
    found = np.linalg.lstsq(x - x.mean(axis=0), values - values.mean(), rcond=1e-6)[0]
    return np.append(values.mean() - x.mean(axis=0) @ found, found)


def _value(rule: Array, x: Array) -> Array:
    return rule[0] + x @ rule[1:]


def _values(cell: Cell, j: int) -> int:
    return len(np.unique(cell.z[:, j]))


def _step(column: Array) -> float:
    return float(np.median(np.diff(np.unique(column))))


def _logs(over: tuple[str, ...], points: Sequence[Mapping[str, float]]) -> Array:
    return np.log([[point[name] for name in over] for point in points])


def _estimate(draws: Array, level: float) -> Estimate:
    low, value, high = (float(each) for each in np.quantile(draws, [0.5 - level / 2, 0.5, 0.5 + level / 2]))
    return Estimate(value, low, high, level, float(draws.std()))
