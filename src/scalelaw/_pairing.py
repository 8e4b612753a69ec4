"""Arms of a comparison, paired at the scales they share.

Two forecasts err together: the same task, the same law, the same seeds. Their difference is known better than either, so it has a
law of its own. At shared scale c, with y the ln of an arm's best-case loss,

    y_kc = common_c + d_k(s_c) + eta_kc + e_kc,    eta ~ N(0, tau^2 / 2),  e ~ N(0, v_kc)

common_c is free (what all arms share drops out), v is the arm's own variance less the part that its seeds share with the other
arms, and d_k is one of five small laws; g = -d ln L / d ln s is the slope of the arms' mean law and t the ln scale:

    constant   b              a constant ratio of losses
    straight   b + c t        ... which changes as a power of scale
    shift      b g            a constant factor in scale (a compute multiplier): it vanishes where the loss levels out
    power      b g + c g t    a factor that changes as a power of scale
    floor      b + c g        another floor under the loss

The laws, tau and the size of c are averaged over a grid by their evidence (all of it Gaussian, so exact): b has a flat prior, c
moves the difference over the ladder by N(0, size^2) with sizes of 0.2 to 6 %, and tau has the prior tau exp(-tau / 0.3 %).
Beyond the shared scales a discrepancy kappa per nat is added, ln kappa ~ N(ln 0.1 %, 1), updated by the law's own rolling-origin
errors, where all errors of one origin count as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .cells import cells_of
from .frontier import Frontier
from .noise import seed_noise

__all__ = ["LAWS", "Differences", "Pairs", "distance", "pair"]

Array: TypeAlias = NDArray[np.float64]

LAWS = ("constant", "straight", "shift", "power", "floor")
_TAU = 0.003
_TAUS = _TAU * np.geomspace(0.08, 16.0, 18)
_SIZES = np.array([0.002, 0.006, 0.02, 0.06])
_KAPPA, _KAPPA_SD = 0.001, 1.0
_KAPPAS = np.exp(math.log(_KAPPA) + _KAPPA_SD * np.linspace(-2.5, 2.5, 11))
_PRIOR = np.exp(-0.5 * np.linspace(-2.5, 2.5, 11) ** 2)
# Seeds' correlation between arms is drawn towards none with this many degrees of freedom.
_SHRINK = 4.0


@dataclass(frozen=True, eq=False)
class Pairs:
    """Best cases of K arms at n shared scales, in ascending order.

    Args:
        points: ln scale columns, `(n, columns)`.
        y, variance: ln loss and its variance without what the seeds share, `(K, n)`; NaN where an arm lacks the scale.
        seeds: seeds that two arms share at some scale.
        share: part of the variance between seeds that arms with the same seed have in common.
        lost: per arm and scale the variance of ln best-case loss that seeds' luck leaves.
    """

    points: Array
    y: Array
    variance: Array
    seeds: int
    share: float
    lost: tuple[Mapping[tuple[float, ...], float], ...] = ()

    def __len__(self) -> int:
        return len(self.points)

    def first(self, count: int) -> Pairs:
        """The smallest `count` scales."""
        return Pairs(self.points[:count], self.y[:, :count], self.variance[:, :count], self.seeds, self.share, self.lost)


def pair(arms: Sequence[Frontier]) -> Pairs:
    """Pair frontiers at the scales that two or more of them have."""
    tables = [{_key(row): place for place, row in enumerate(np.exp(arm.scales))} for arm in arms]
    every = {key: sum(key in table for table in tables) for table in tables for key in table}
    keys = sorted((key for key, count in every.items() if count > 1), key=lambda key: (round(sum(map(math.log, key)), 9), key))
    y, variance = np.full((len(arms), len(keys)), np.nan), np.full((len(arms), len(keys)), np.nan)
    lucks = [_luck(arm) for arm in arms]
    seeds, share, common = _seeds([luck for luck, _ in lucks])
    for k, (arm, table) in enumerate(zip(arms, tables, strict=True)):
        loss = arm.trials.numbers("loss")
        se = np.nan_to_num(arm.trials.numbers("loss_se") / loss)
        for c, key in enumerate(keys):
            if key in table:
                row = table[key]
                y[k, c] = math.log(loss[row])
                variance[k, c] = max(se[row] ** 2 - common[k].get(key, 0.0), 0.1 * se[row] ** 2)
    points = np.log(np.array(keys)).reshape(len(keys), len(arms[0].over))
    return Pairs(points, y, variance, seeds, share, tuple(lost for _, lost in lucks))


def _key(point: Sequence[float] | Array) -> tuple[float, ...]:
    """A scale that compares equal across tables."""
    return tuple(float(np.format_float_scientific(value, precision=9)) for value in point)


# ---- what seeds share ---------------------------------------------------------------------------------------------------

_Lucks: TypeAlias = dict[tuple[float, ...], tuple[dict[float, float], float]]


def _seeds(lucks: Sequence[_Lucks]) -> tuple[int, float, list[dict[tuple[float, ...], float]]]:
    """Number of shared seeds, their shared part of the variance, and per arm and scale the variance of ln loss that drops out.

    With e_kcr the luck of seed r (its deviation, averaged over the settings near the best) in units of the standard deviation
    between seeds, the share is sum_cr e_1cr e_2cr / (degrees + 4), and sd^2 share n_shared / n^2 of the mean drops out.
    """
    product = degrees = 0.0
    most = 0
    shared: list[dict[tuple[float, ...], int]] = [{} for _ in lucks]
    for i in range(len(lucks)):
        for j in range(i):
            for key in lucks[i].keys() & lucks[j].keys():
                one, two = lucks[i][key][0], lucks[j][key][0]
                both = sorted(one.keys() & two.keys())
                most = max(most, len(both))
                for place in (i, j):
                    shared[place][key] = max(shared[place].get(key, 0), len(both))
                if len(both) > 1:
                    first, second = (np.array([each[seed] for seed in both]) for each in (one, two))
                    product += float(np.sum((first - first.mean()) * (second - second.mean())))
                    degrees += len(both) - 1
    share = min(max(product / (degrees + _SHRINK), 0.0), 1.0)
    common = [
        {key: share * sd**2 * shared[k].get(key, 0) / len(luck) ** 2 for key, (luck, sd) in each.items() if luck}
        for k, each in enumerate(lucks)
    ]
    return most, share, common


def _luck(arm: Frontier) -> tuple[_Lucks, dict[tuple[float, ...], float]]:
    """Per scale the luck of every seed in standard deviations, with that standard deviation, and the variance it leaves.

    Empty without replicates.
    """
    if arm.response is not None:
        cells, near = arm.response.cells, arm.response.solver.weights()[0]
        weights = [near[c, : len(cell.y)] for c, cell in enumerate(cells)]
    else:
        cells = cells_of(arm.source, arm.over, ())
        weights = [np.ones(len(cell.y)) for cell in cells]
    noise = seed_noise(cells, weights)
    if not noise.degrees or "seed" not in arm.source:
        return {}, {}
    found: _Lucks = {}
    keys = [_key(list(cell.point.values())) for cell in cells]
    seed = arm.source.finished.numbers("seed")
    sizes = np.stack([arm.source.finished.numbers(name) for name in arm.over], axis=1)
    for key, cell, weight, total in zip(keys, cells, weights, noise.total, strict=True):
        if cell.deviation is None or total <= 0:
            continue
        names = np.unique(seed[np.all(sizes == np.array(list(cell.point.values())), axis=1)])
        table, whole = cell.deviation, np.all(np.isfinite(cell.deviation), axis=1) & (weight > 0)
        if table.shape[1] != len(names) or not whole.any():
            continue
        luck = weight[whole] @ table[whole] / weight[whole].sum() / math.sqrt(total)
        found[key] = (dict(zip(map(float, names), map(float, luck), strict=True)), math.sqrt(total))
    return found, dict(zip(keys, map(float, noise.common), strict=True))


# ---- the law of the differences -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Basis:
    """Columns of one law, scaled on the ladder: each has rms 1 there, and the later ones are orthogonal to the first."""

    name: str
    first: float
    lean: Array
    scale: Array

    @classmethod
    def on(cls, name: str, t: Array, g: Array) -> _Basis:
        raw = _columns(name, t, g)
        head = raw[:, 0]
        first = float(np.sqrt(np.mean(head**2))) or 1.0
        lean = raw[:, 1:].T @ head / float(head @ head)
        rest = raw[:, 1:] - head[:, None] * lean
        scale = np.sqrt(np.mean(rest**2, axis=0))
        return cls(name, first, lean, np.where(scale > 1e-9, scale, math.inf))

    def at(self, t: Array, g: Array) -> Array:
        raw = _columns(self.name, t, g)
        return np.concatenate([raw[:, :1] / self.first, (raw[:, 1:] - raw[:, :1] * self.lean) / self.scale], axis=1)


def _each(basis: _Basis, t: Array, slope: Array) -> Array:
    """Columns for one slope `(P,)` or several `(n, P)`, `(1 or n, p, P)`."""
    slope = np.atleast_2d(slope)
    flat = basis.at(np.tile(t, (len(slope), 1)), slope.reshape(-1))
    return np.moveaxis(flat.reshape(*slope.shape, -1), 1, 2)


def _columns(name: str, t: Array, g: Array) -> Array:
    one, slope = np.ones((len(t), 1)), g[:, None]
    table = {"constant": [one], "straight": [one, t], "shift": [slope], "power": [slope, slope * t], "floor": [one, slope]}
    return np.concatenate(table[name], axis=1)


@dataclass(frozen=True, eq=False)
class Differences:
    """The law of the arms' differences, averaged over its forms.

    Args:
        weights: of the five laws, by name.
        kappas, chances: the discrepancy per nat beyond the shared scales.
        held: rolling origins by (sizes known, size predicted): of each other arm's difference from the first its error and the
            log density that was given to it, `(K - 1, 2)`.
    """

    pairs: Pairs
    weights: Mapping[str, float]
    kappas: Array = field(repr=False)
    chances: Array = field(repr=False)
    held: Mapping[tuple[int, int], Array] = field(repr=False)
    _parts: tuple[_Part, ...] = field(repr=False)

    @classmethod
    def learn(cls, pairs: Pairs, slope: Array) -> Differences:
        """Fit them; `slope` is g at the shared scales, `(n,)`."""
        parts = _fit(pairs, slope)
        held: dict[tuple[int, int], tuple[Array, Array]] = {}
        log = np.log(_PRIOR)
        for j in range(3, len(pairs)):
            train = pairs.first(j)
            mean, variance = _moments(_fit(train, slope[:j]), train, pairs.points[j:], slope[j:])
            error = pairs.y[1:, j:] - pairs.y[:1, j:] - mean
            noise = variance + pairs.variance[1:, j:] + pairs.variance[:1, j:]
            away = distance(train, pairs.points[j:])
            told = np.isfinite(error)
            if not told.any():
                continue
            away = np.sqrt(0.5 * (away[1:] ** 2 + away[:1] ** 2))
            spread = noise[None] + (_KAPPAS[:, None, None] * away) ** 2
            each = np.log(spread) + error**2 / spread
            log = log - 0.5 * np.array([float(np.mean(one[told])) for one in each])
            held.update({(j, j + i): (error[:, i], spread[:, :, i]) for i in range(error.shape[1])})
        chance = np.exp(log - log.max())
        chance = chance / chance.sum()
        told = {key: np.stack([error, _density(error, spread, chance)], axis=1) for key, (error, spread) in held.items()}
        weights = {name: sum(part.weight for part in parts if part.basis.name == name) for name in LAWS}
        return cls(pairs, weights, _KAPPAS, chance, told, parts)

    def draw(self, points: Array, slope: Array, count: int, random: np.random.Generator, *, own: bool = True) -> Array:
        """Draws of d_k at ln scales `points` `(P, columns)`, `(count, K, P)`; only differences between arms mean anything.

        Args:
            slope: g there, `(P,)`, or one for each draw, `(count, P)`: beyond the data it is as uncertain as the laws are.
            own: with the scatter that a scale has of its own.
        """
        arms, away = len(self.pairs.y), distance(self.pairs, points)
        chosen = random.choice(len(self._parts), count, p=np.array([part.weight for part in self._parts]))
        kappa = random.choice(self.kappas, count, p=self.chances)
        result, tau = np.zeros((count, arms, len(points))), np.zeros(count)
        t = points - self.pairs.points.mean(axis=0)
        for place in np.unique(chosen):
            part, rows = self._parts[place], np.flatnonzero(chosen == place)
            size = len(part.mean)
            values, vectors = np.linalg.eigh(part.covariance)
            z = random.standard_normal((len(rows), size)) * np.sqrt(np.maximum(values, 0.0)) @ vectors.T + part.mean
            columns = _each(part.basis, t, slope if slope.ndim == 1 else slope[rows])
            result[rows] = np.matmul(z.reshape(len(rows), arms, -1), columns)
            tau[rows] = part.tau
        result += math.sqrt(0.5) * kappa[:, None, None] * away * random.standard_normal((count, arms, 1))
        return result + math.sqrt(0.5) * tau[:, None, None] * random.standard_normal((count, arms, 1)) if own else result


@dataclass(frozen=True, eq=False)
class _Part:
    """One law at one tau and one size of c: its share of the evidence, and the coefficients of all arms, `(K p,)`."""

    basis: _Basis
    tau: float
    weight: float
    mean: Array
    covariance: Array


def _fit(pairs: Pairs, slope: Array) -> tuple[_Part, ...]:
    """Every law at every tau and size, weighted by evidence; those below one in 10,000 are left out."""
    known = np.isfinite(pairs.y)
    arm, scale = np.nonzero(known)
    # What the arms have in common is free: it is centred, and given a wide prior.
    y = (pairs.y - np.nanmean(pairs.y, axis=0))[arm, scale]
    noise, same = pairs.variance[arm, scale], (scale[:, None] == scale[None, :]).astype(float)
    t = pairs.points - pairs.points.mean(axis=0)
    found: list[tuple[float, _Part]] = []
    for name in LAWS:
        basis = _Basis.on(name, t, slope)
        columns = basis.at(t, slope)
        if not np.all(np.any(np.abs(columns) > 1e-9, axis=0)):
            continue
        p = columns.shape[1]
        X = np.zeros((len(y), len(pairs.y) * p))
        for row, (k, c) in enumerate(zip(arm, scale, strict=True)):
            X[row, k * p : (k + 1) * p] = columns[c]
        sizes = _SIZES if p > 1 else np.array([1.0])
        for size in sizes:
            prior = 0.5 * np.tile(np.array([1.0, *[size**2] * (p - 1)]), len(pairs.y))
            base = same + (X * prior) @ X.T + np.diag(noise)
            S = base[None] + 0.5 * _TAUS[:, None, None] ** 2 * np.eye(len(y))
            inverse = np.linalg.inv(S)
            _, logdet = np.linalg.slogdet(S)
            solved = inverse @ y
            score = -0.5 * (logdet + solved @ y) + 2 * np.log(_TAUS) - _TAUS / _TAU - math.log(len(sizes))
            means = prior * (solved @ X)
            for place, tau in enumerate(_TAUS):
                covariance = np.diag(prior) - prior[:, None] * (X.T @ inverse[place] @ X) * prior
                found.append((float(score[place]), _Part(basis, float(tau), 0.0, means[place], covariance)))
    top = max(score for score, _ in found)
    weight = np.exp(np.array([score for score, _ in found]) - top)
    kept = weight / weight.sum() > 1e-4
    weight = np.where(kept, weight, 0.0) / weight[kept].sum()
    return tuple(
        _Part(part.basis, part.tau, float(w), part.mean, part.covariance)
        for (_, part), w in zip(found, weight, strict=True)
        if w > 0
    )


def _moments(parts: tuple[_Part, ...], pairs: Pairs, points: Array, slope: Array) -> tuple[Array, Array]:
    """Mean and variance of d_k - d_0 at points, `(K - 1, P)`, scatter of scales included."""
    arms, t = len(pairs.y), points - pairs.points.mean(axis=0)
    against = np.concatenate([-np.ones((arms - 1, 1)), np.eye(arms - 1)], axis=1)
    first, second = np.zeros((arms - 1, len(points))), np.zeros((arms - 1, len(points)))
    for part in parts:
        columns = part.basis.at(t, slope)
        p = columns.shape[1]
        mean = against @ part.mean.reshape(arms, p) @ columns.T
        free = np.einsum("ki,ipjq,kj->kpq", against, part.covariance.reshape(arms, p, arms, p), against)
        first += part.weight * mean
        second += part.weight * (np.einsum("np,kpq,nq->kn", columns, free, columns) + part.tau**2 + mean**2)
    return first, second - first**2


def _density(error: Array, variance: Array, chance: Array) -> Array:
    """ln of the mixture of normal densities with the variances `(kappas, K - 1)`."""
    return np.log(chance @ (np.exp(-0.5 * error**2 / variance) / np.sqrt(2 * math.pi * variance)) + 1e-300)


def distance(pairs: Pairs, points: Array) -> Array:
    """Nats beyond the shared scales that each arm has, `(K, P)`; of all where it has none."""
    known = np.isfinite(pairs.y)
    known |= ~known.any(axis=1, keepdims=True)
    ranges = [(pairs.points[row].min(axis=0), pairs.points[row].max(axis=0)) for row in known]
    beyond = [np.maximum(np.maximum(points - high, low - points), 0.0) for low, high in ranges]
    return np.stack([np.sqrt(np.sum(each**2, axis=1)) for each in beyond])
