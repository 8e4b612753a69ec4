"""From the target along a ray of scales: draws of each arm's law, of the arms' differences, and what follows from them.

All scale columns grow together by exp(t). An arm's law k is drawn by its weight in the forecast's stack, and its shape
ln L(t) - ln L(0) with the covariance of its parameters; ln L(0) comes from the forecast's own distribution at the target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._pairing import Differences, distance
from .forecast import Forecast

__all__ = ["Currency", "Draws", "Ray", "crossings", "currency", "draw", "factors", "slope"]

Array: TypeAlias = NDArray[np.float64]

# A multiplier is looked for within a factor of a thousand in the scale columns.
_FURTHEST = math.log(1e3)
_STEPS = 160
_STEP = 0.02
# Nats over which a drawn law takes over from the mean law, beyond the data.
_BLEND = 0.7
# More than a law has parameters.
_RANK = 12


@dataclass(frozen=True, eq=False)
class Ray:
    """Scales along a ray through the target: `t` nats from it `(T,)`, the columns there, and the place of the target."""

    at: Mapping[str, float]
    t: Array
    zero: int

    @classmethod
    def through(cls, at: Mapping[str, float], smallest: Mapping[str, float]) -> Ray:
        """The ray from the smallest scale, or a factor of a thousand below the target, to as far above it."""
        low = min(min(math.log(smallest[name] / value) for name, value in at.items()), -_FURTHEST)
        step = _FURTHEST / (_STEPS // 2)
        below = math.ceil(-low / step)
        return cls(at, np.asarray(step * np.arange(-below, _STEPS // 2 + 1), dtype=np.float64), below)

    @property
    def points(self) -> dict[str, Array]:
        """The columns along the ray."""
        return {name: value * np.exp(self.t) for name, value in self.at.items()}

    @property
    def logs(self) -> Array:
        """ln of the columns, `(T, columns)`."""
        return np.log(np.stack(list(self.points.values()), axis=1))


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws along a ray.

    Args:
        shape: of each arm, ln L(t) - ln L(0), `(arms, draws, T)`.
        alone: ln loss of each arm at the target by its own forecast, `(arms, draws)`.
        gap: ln loss of each arm less the first's at the target and along the ray, `(arms, draws, T)`: paired draws and unpaired
            ones in the proportion of their weights.
        law: the same without a scale's own scatter.
    """

    shape: Array
    alone: Array
    gap: Array
    law: Array
    paired: NDArray[np.bool_] = field(repr=False)


def draw(
    forecasts: Sequence[Forecast], ray: Ray, differences: Differences | None, weight: float, count: int, seed: int = 0
) -> Draws:
    """Draw; `weight` is the share of paired draws."""
    random = np.random.default_rng(seed)
    shape = np.stack([_shapes(each, ray, count, random) for each in forecasts])
    alone = np.stack([_values(each, count, random) for each in forecasts])
    curves = alone[:, :, None] + shape
    gap = curves - curves[:1]
    law = gap.copy()
    paired = random.random(count) < weight
    if differences is not None and paired.any():
        number = int(paired.sum())
        g = _slopes(shape[:, paired], ray, slope(forecasts, ray.logs), differences, random)
        for table, own in ((gap, True), (law, False)):
            # The same numbers for both, so that they differ by the scatter alone.
            found = differences.draw(ray.logs, g, number, np.random.default_rng(seed + 1), own=own)
            table[:, paired] = np.moveaxis(found - found[:, :1], 1, 0)
    return Draws(shape, alone, gap, law, paired)


def slope(forecasts: Sequence[Forecast], logs: Array) -> Array:
    """g = -d ln L / d t along the ray's direction at ln scales `(P, columns)`: the mean over arms and their stacked laws."""
    return np.mean([(_mean(each, logs - _STEP) - _mean(each, logs + _STEP)) / (2 * _STEP) for each in forecasts], axis=0)


def _slopes(shape: Array, ray: Ray, mean: Array, differences: Differences, random: np.random.Generator) -> Array:
    """g of every draw along the ray, `(draws, T)`: the mean law's within the shared scales, beyond a drawn arm's."""
    arms, count = shape.shape[:2]
    own = -np.gradient(shape[random.integers(0, arms, count), np.arange(count)], ray.t, axis=1)
    beyond = distance(differences.pairs, ray.logs).max(axis=0)
    share = np.minimum(beyond / _BLEND, 1.0)
    return np.maximum(mean + share * (own - mean), 0.0)


def _mean(found: Forecast, logs: Array) -> Array:
    points = {name: np.exp(logs[:, place]) for place, name in enumerate(found.frontier.over)}
    return sum((law.weight * _log(law.fit.predict(points)) for law in found.laws), np.zeros(len(logs)))


def _log(loss: Array) -> Array:
    """ln loss, kept finite where a law has fallen to zero."""
    return np.log(np.maximum(np.asarray(loss, dtype=np.float64), 1e-6))


def _shapes(found: Forecast, ray: Ray, count: int, random: np.random.Generator) -> Array:
    points = ray.points
    chosen = random.choice(len(found.laws), count, p=np.array([law.weight for law in found.laws]))
    result = np.zeros((count, len(ray.t)))
    for place, law in enumerate(found.laws):
        rows = np.flatnonzero(chosen == place)
        if not len(rows):
            continue
        value = _log(law.fit.predict(points))
        result[rows] = value - value[ray.zero]
        covariance = np.nan_to_num(law.fit.predict_covariance(points, log=True), nan=0.0, posinf=0.0, neginf=0.0)
        away = covariance - covariance[:, ray.zero, None] - covariance[None, ray.zero] + covariance[ray.zero, ray.zero]
        root = _root(away)
        result[rows] += random.standard_normal((len(rows), root.shape[1])) @ root.T
    return result


def _root(covariance: Array) -> Array:
    """R with R R' = covariance, whose rank is at most a law's number of parameters: a few rows tell the rest."""
    few = np.linspace(0, len(covariance) - 1, _RANK).astype(int)
    values, vectors = np.linalg.eigh(covariance[np.ix_(few, few)])
    told = values > 1e-9 * max(float(values[-1]), 1e-30)
    return np.asarray(covariance[:, few] @ vectors[:, told] / np.sqrt(values[told]), dtype=np.float64)


# Quantiles, closer in the tails, between which the forecast's distribution is interpolated.
_Z = np.linspace(-3.5, 3.5, 21)


def _values(found: Forecast, count: int, random: np.random.Generator) -> Array:
    """ln loss at the target by the forecast's distribution of the best case: without the noise of one run."""
    mixture = found.stack.predict(found.at)
    chance = [0.5 * math.erfc(-z / math.sqrt(2.0)) for z in _Z]
    table = np.array([float(mixture.quantile(each)[0]) for each in chance])
    return np.interp(random.standard_normal(count), _Z, table)


# ---- what follows -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Currency:
    """What a multiplier counts: `column`, with ln of it per arm along the ray, `(arms, T)`."""

    column: str
    message: str
    along: Array


def currency(forecasts: Sequence[Forecast], ray: Ray) -> Currency:
    """Compute where the data tell it, else the first scale column."""
    over = forecasts[0].frontier.over
    first, *others = over
    plain = np.log(ray.at[first]) + np.repeat(ray.t[None], len(forecasts), axis=0)
    if over == ("compute",):
        return Currency("compute", "In compute.", plain)
    if set(over) == {"parameters", "tokens"}:
        total = math.log(6.0) + sum(math.log(value) for value in ray.at.values())
        text = "In compute, 6 times parameters times tokens, at the target's tokens per parameter."
        return Currency("compute", text, total + np.repeat(2 * ray.t[None], len(forecasts), axis=0))
    found = [_compute(each, ray) for each in forecasts]
    if all(each is not None for each in found):
        text = f"In compute, each arm's own, as a power of {', '.join(over)} read off its larger runs."
        return Currency("compute", text, np.stack([each for each in found if each is not None]))
    more = f", {', '.join(others)} growing alike" if others else ""
    return Currency(first, f"In {first}{more}: the data do not tell compute.", plain)


def _compute(found: Forecast, ray: Ray) -> Array | None:
    """ln compute along the ray: a power law through the larger half of an arm's sizes; None where size does not determine it."""
    rows, over = found.frontier.source.finished, found.frontier.over
    if "compute" not in rows or rows["compute"].dtype == object:
        return None
    c = rows.numbers("compute")
    x = np.log(np.stack([rows.numbers(name) for name in over], axis=1))
    known = np.isfinite(c) & (c > 0) & np.all(np.isfinite(x), axis=1)
    if len(over) == 1 and known.any():
        # The larger half, and two sizes at least: small networks are mostly embedding or bias.
        sizes = sorted(set(x[known, 0].tolist()))
        known &= x[:, 0] >= sizes[max(min(len(sizes) // 2, len(sizes) - 2), 0)] - 1e-6
    X = np.concatenate([np.ones((len(x), 1)), x], axis=1)[known]
    if len(X) < X.shape[1] or np.linalg.matrix_rank(X) < X.shape[1]:
        return None
    y = np.log(c[known])
    beta = np.linalg.lstsq(X, y, rcond=None)[0]
    if float(np.max(np.abs(y - X @ beta))) > 0.25:
        return None
    return beta[0] + ray.logs @ beta[1:]


def factors(found: Draws, ray: Ray, cost: Array, arm: int) -> Array:
    """ln of the factor that an arm needs, in the currency, to reach the first arm's loss at the target, `(draws,)`.

    The nearest t with ln L_arm(t) = ln L_first(0); infinite where there is none within a factor of a thousand.
    """
    away = found.shape[0] + found.gap[arm]
    behind = found.gap[arm][:, ray.zero] > 0
    up = _first(away[:, ray.zero :] <= 0, away[:, ray.zero :], ray.t[ray.zero :])
    back = slice(ray.zero, None, -1) if ray.zero else slice(0, 1)
    down = _first(away[:, back] >= 0, away[:, back], ray.t[back])
    t = np.where(behind, up, -np.abs(down))
    known = np.isfinite(t)
    ahead = np.interp(np.where(known, t, 0.0), ray.t, cost[arm])
    return np.where(known, ahead - cost[0, ray.zero], t)


def crossings(found: Draws, ray: Ray, arm: int, low: float, high: float) -> Array:
    """t at which an arm's law crosses the first's between `low` and `high`, `(draws,)`.

    Without one in reach +inf, or -inf where the arms part with growing scale: then it lies, if anywhere, below.
    """
    inside = (ray.t >= low - 1e-9) & (ray.t <= high + 1e-9)
    t, gap = ray.t[inside], found.law[arm][:, inside]
    flips = np.sign(gap) != np.sign(gap[:, :1])
    where = _first(flips, gap, t)
    parting = np.abs(gap[:, -1]) > np.abs(gap[:, 0])
    return np.where(np.isfinite(where), where, np.where(parting, -math.inf, math.inf))


def _first(met: NDArray[np.bool_], values: Array, t: Array) -> Array:
    """t at which `values` first reach zero, between the grid's places by a straight line; inf where they do not."""
    place = np.argmax(met, axis=1)
    rows = np.arange(len(values))
    before = np.maximum(place - 1, 0)
    one, two = values[rows, before], values[rows, place]
    span = np.where(one == two, 1.0, one - two)
    share = np.where(place > 0, np.clip(one / span, 0.0, 1.0), 0.0)
    return np.where(met.any(axis=1), t[before] + share * (t[place] - t[before]), math.inf)
