"""Tuning that was never tested: what a ladder at one setting per size cannot show, and what that leaves open in a forecast.

A setting that was best at the smallest size N_0 and kept is d = p ln(N / N_0) off at size N, and costs 1/2 H d^2. A law with a
free floor and exponent absorbs nearly all of that (`_unseen.py`). What is known of it beforehand, from published laws of the
best learning rate and measured bowls:

    p ~ N(-0.4, 0.2^2) per ln N with tokens in proportion: -0.25 (DeepSeek), -0.36 (Porian), -0.41 (Step Law), -0.55 (Bjorck),
        and by theory of the standard parameterisation -0.25 to -0.5 (Everett). The spread reaches 0, where a parameterisation
        transfers; it is centred there for a rate that was made to change with size. Per ln of tokens or steps alone
        N(0, 0.3^2): published exponents are +0.3 and -0.3.
    ln H ~ N(ln 0.03, 0.4^2): 0.022 (Step Law), 0.02 to 0.05 elsewhere.

times the likelihood of the excess that the law's residuals show, which is weak.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._drifting import EXPONENT, EXPONENT_SD, OTHER_SD, SIZES, Swept, moves, rounding_of
from ._unseen import Absorbed, Lever, absorbed, fitted, levers, unseen
from .estimate import Estimate, number
from .frontier import Edge, Frontier
from .mistuned import EXCESS, mistuned
from .stack import Mixture, Stack
from .trials import place

__all__ = ["Sweep", "Untested", "Widening", "settling_sweep", "untested", "widening"]

Array: TypeAlias = NDArray[np.float64]

_DRAWS = 2000
_CURVATURE, _CURVATURE_SD = 0.03, 0.4
_SHAPES = {"linear": 1, "quadratic": 2, "cubic": 3}
_RATES = 5
# Variance of a bowl's lowest point where curvature and skew are estimated with it, against that of a known parabola.
_UNKNOWN_SHAPE = 2.0
# Degrees of freedom of the noise that two sweeps of five rates leave.
_NOISE_DEGREES = 5.0


@dataclass(frozen=True)
class Sweep:
    """The cheapest runs that settle whether the kept rate drifts.

    Args:
        points: the scales to sweep: the smallest, and one of the three largest sizes.
        runs: number of new runs. factor: between neighbouring rates.
        power: of finding a drift whose excess is 1 % at the largest size, by the priors' curvature.
        cost: of all runs as a share of one at the largest scale; None where the scales do not tell compute.
    """

    points: tuple[Mapping[str, float], ...]
    runs: int
    factor: float
    power: float
    cost: float | None

    def sentence(self) -> str:
        """What to run."""
        where = " and at ".join(", ".join(f"{name} {value:g}" for name, value in point.items()) for point in self.points)
        price = "" if self.cost is None else f": about {self.cost:.2g} times the compute of one run at the largest size"
        return f"Run five learning rates, a factor 2 apart about the kept one, at {where}{price}."


@dataclass(frozen=True, eq=False)
class Untested:
    """What losses at one setting cannot show.

    Args:
        power: of the best possible test, one-sided at 5 %, of an excess that grows to 1 % at the largest size; by its shape in ln
            size: linear, quadratic (a kept setting's), cubic.
        absorbed: share of the kept setting's excess that the law absorbs.
        unseen: excess at the largest size which that test finds one time in two; `at`: what the setting would then cost at the
            target, in ln loss (NaN without one).
        expected: excess at the largest size, by the prior. expected_at: at the target.
        shift: by how much the law's forecast at the target is above the best case; NaN without one.
    """

    power: Mapping[str, float]
    absorbed: float
    unseen: float
    at: float
    expected: Estimate
    expected_at: Estimate
    shift: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "power": dict(self.power),
            "absorbed": self.absorbed,
            "unseen": number(self.unseen),
            "unseen_at": number(self.at),
            "expected": self.expected.to_dict(),
            "expected_at": self.expected_at.to_dict(),
            "shift": self.shift.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class Widening:
    """By how much the best case may lie below a law's forecast, in ln loss.

    Args:
        draws: positive where the best case is lower, `(draws, points)`.
    """

    draws: Array = field(repr=False)

    def quantile(self, probability: float) -> Array:
        """Of the shift, `(points,)`."""
        return np.quantile(self.draws, probability, axis=0)

    def low(self, mixture: Mixture, probability: float) -> Array:
        """Lower end of the widened interval of ln loss, `(points,)`: the quantile of law less shift, never above the law's own.

        The shift is taken at 25 of its quantiles.
        """
        shift = np.maximum(np.quantile(self.draws, (np.arange(25) + 0.5) / 25, axis=0), 0.0)
        high = mixture.quantile(probability)
        low = high - shift.max(axis=0) - 1e-9
        for _ in range(50):
            middle = 0.5 * (low + high)
            below = np.mean([mixture.cdf(middle + each) for each in shift], axis=0) < probability
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)


@dataclass(frozen=True, eq=False)
class _Drift:
    """The prior: draws of the exponent's square times the curvature, per ln size from the smallest.

    Args:
        ruled: the rate was made to change with size.
    """

    column: str
    start: float
    reach: float
    strength: Array
    ruled: bool

    def shape(self, points: Mapping[str, Array]) -> Array:
        """Excess along the way, 1 at the largest size of the ladder."""
        return ((np.log(points[self.column]) - self.start) / self.reach) ** 2


def untested(edge: Frontier, at: Mapping[str, float] | None = None) -> Untested | None:
    """What a ladder at one setting cannot show; None where something was tuned, or there are too few rows for a law.

    Args:
        at: the target in scale columns.
    """
    drift, lever = _drift(edge), fitted(edge)
    if edge.tuned or drift is None or lever is None:
        return None
    seen = {name: absorbed(lever, np.sqrt(drift.shape(lever.points)) ** k) for name, k in _SHAPES.items()}
    kept = seen["quadratic"]
    top, chance = drift.strength, _likelihood(drift.strength, kept, lever)
    least = unseen(lever, drift.shape(lever.points))
    nothing = Estimate(math.nan, math.nan, math.nan)
    further, shift = math.nan, nothing
    if at is not None:
        point = {name: np.array([value]) for name, value in place(edge.over, at).items()}
        further = float(drift.shape(point)[0])
        moved = min(float(lever.moved(drift.shape(lever.points), point)[0]), further)
        shift = _weighted(top * moved, chance)
    return Untested(
        power={name: each.power(EXCESS) for name, each in seen.items()},
        absorbed=1 - kept.share,
        unseen=least,
        at=least * further,
        expected=_weighted(top, chance),
        expected_at=nothing if at is None else _weighted(top * further, chance),
        shift=shift,
    )


def widening(edge: Frontier, stack: Stack, points: Mapping[str, Any]) -> Widening | None:
    """By how much the best case may lie below the stack's forecast because tuning was not tested, or only at some sizes.

    At one setting per size: the prior's excess as far as the laws absorbed it, extrapolated. Where some sizes were swept: the
    error of what the others' losses were taken down by for their distance from the predicted best, an error that they share.

    Args:
        points: arrays of scale columns.

    Returns:
        None where every size was tuned, or where the user takes the runs at one setting of several that were tried.
    """
    laws = levers(edge, stack)
    if edge.tuned:
        found = _uncorrected(edge)
        if found is None:
            return None
        return Widening(np.sum([weight * lever.moved(found, points) for weight, lever in laws], axis=0))
    drift, seen = _drift(edge), fitted(edge)
    if drift is None or edge.hyper:
        return None
    shape = drift.shape({name: edge.trials.numbers(name) for name in edge.over})
    moved = np.sum([weight * lever.moved(shape, points) for weight, lever in laws], axis=0)
    chance = np.full(_DRAWS, 1 / _DRAWS)
    if seen is not None:
        chance = _likelihood(drift.strength, absorbed(seen, drift.shape(seen.points)), seen)
    # A law may extrapolate an ill-told shape beyond what the setting itself would cost.
    moved = np.clip(moved, 0.0, drift.shape({name: np.atleast_1d(points[name]) for name in edge.over}))
    drawn = np.random.default_rng(1).choice(drift.strength, size=_DRAWS, p=chance)
    return Widening(drawn[:, None] * moved)


def settling_sweep(edge: Frontier) -> Sweep | None:
    """The cheapest sweep that settles whether a kept rate drifts: five rates a factor 2 apart at the smallest size, and at the
    smallest of the three largest where a drift to an excess of 1 % would be found nine times in ten. None with one size.
    """
    drift = _drift(edge)
    if drift is None:
        return None
    sizes = np.unique(edge.trials.numbers(drift.column))
    noise = edge.run_sd or 0.004
    step = math.log(2.0)
    spread = step * math.sqrt(sum((k - (_RATES - 1) / 2) ** 2 for k in range(_RATES)))
    error, nats = _UNKNOWN_SHAPE * (noise / (_CURVATURE * spread)) ** 2, np.array([SIZES.get(drift.column, 1.0)])
    chosen, chance, start = sizes[-1], 0.0, np.array([drift.start])
    for size in sizes[-3:] if len(sizes) > 3 else sizes[-1:]:
        x = np.array([start, [math.log(size)]])
        prior = moves("learning_rate", (drift.column,), nats, ruled=drift.ruled)
        test = Swept(
            x,
            start,
            error * np.eye(2),
            _NOISE_DEGREES,
            law=np.zeros((2, 2)),
            rounding=rounding_of(step, 0.0),
            nats=nats,
            prior=prior,
        )
        away = math.sqrt(2 * EXCESS / _CURVATURE) * (x - start)[:, 0] / drift.reach
        chosen, chance = size, test.power(-away, 0.95)
        if chance >= 0.9:
            break
    points = tuple(_cheapest(edge, drift.column, size) for size in (sizes[0], chosen))
    return Sweep(points, 2 * (_RATES - 1), 2.0, chance, _price(edge, points))


def _drift(edge: Frontier) -> _Drift | None:
    """The prior for a ladder's size; None where no scale varies."""
    varies = [name for name in edge.over if np.ptp(np.log(edge.trials.numbers(name))) > 1e-6]
    if not varies:
        return None
    column = next((name for name in varies if name in SIZES), varies[0])
    x = np.log(edge.trials.numbers(column))
    random = np.random.default_rng(0)
    # A rate that was made to change with size follows somebody's rule: right on average.
    ruled = any(name == "learning_rate" for name in edge.source.finished.varying(edge.source.hyperparameters))
    if column in SIZES:
        p = (0.0 if ruled else EXPONENT) + EXPONENT_SD * random.standard_normal(_DRAWS)
    else:
        p = OTHER_SD * random.standard_normal(_DRAWS)
    curvature = _CURVATURE * np.exp(_CURVATURE_SD * random.standard_normal(_DRAWS))
    reach = float(np.ptp(x))
    return _Drift(column, float(x.min()), reach, 0.5 * curvature * (p * SIZES.get(column, 1.0) * reach) ** 2, ruled)


def _likelihood(excess: Array, seen: Absorbed, lever: Lever) -> Array:
    """Chances of draws of the excess given the law's residuals: Student's t, at twice the error, for laws bend."""
    degrees = lever.member.degrees
    z = (excess - seen.estimate) / (2 * seen.error)
    log = -0.5 * (degrees + 1) * np.log1p(z**2 / degrees)
    chance = np.exp(log - log.max())
    return chance / chance.sum()


def _weighted(values: Array, chance: Array, level: float = 0.9) -> Estimate:
    order = np.argsort(values)
    below = np.cumsum(chance[order])
    low, value, high = (float(values[order][np.searchsorted(below, each)]) for each in (0.5 - level / 2, 0.5, 0.5 + level / 2))
    return Estimate(value, low, high, level)


def _uncorrected(edge: Frontier) -> Array | None:
    """Draws of how far below the frontier's value the best case of every row may lie, `(draws, rows)`, 0 where it was swept."""
    response = edge.response
    if response is None:
        return None
    rows = {tuple(row): k for k, row in enumerate(zip(*(edge.trials.numbers(name) for name in edge.over), strict=True))}
    total = np.zeros((_DRAWS, len(edge.trials)))
    for each in mistuned(response):
        j = response.hyper.index(each.name)
        pairs = zip(response.bowls, response.cells, strict=True)
        alone = [(bowl, float(cell.z[0, j])) for bowl, cell in pairs if bowl.edge[j] is Edge.ALONE]
        if not alone:
            continue
        cost = each.costs([bowl.point for bowl, _ in alone], _DRAWS)
        for k, (bowl, kept) in enumerate(alone):
            away = np.where(np.arange(len(response.hyper)) == j, kept - bowl.pooled, 0.0)
            total[:, rows[tuple(bowl.point.values())]] += cost[:, k] - float(response.cost(bowl.point, away))
    return total if total.any() else None


def _cheapest(edge: Frontier, column: str, size: float) -> Mapping[str, float]:
    """The scale of that size with the least of everything else."""
    rows = edge.trials.where(np.isclose(edge.trials.numbers(column), size, rtol=1e-9, atol=0.0)).rows()
    return min(({name: float(row[name]) for name in edge.over} for row in rows), key=lambda row: tuple(row.values()))


def _price(edge: Frontier, points: tuple[Mapping[str, float], ...]) -> float | None:
    """Compute of the sweep's new runs as a share of the largest run's: parameters times tokens, or where the scales name none,
    the square of the parameters, for tokens grow with them."""
    over = edge.over
    if not {"parameters", "width", "compute"} & set(over):
        return None

    def price(row: Mapping[str, float]) -> float:
        if "compute" in over:
            return row["compute"]
        if "parameters" not in over:
            return row["width"] ** 2 * row.get("tokens", 1.0)
        return row["parameters"] * row.get("tokens", row["parameters"])

    largest = max(price({name: float(row[name]) for name in over}) for row in edge.trials.rows())
    return (_RATES - 1) * sum(price(point) for point in points) / largest
