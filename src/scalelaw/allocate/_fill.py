"""Which isoFLOP profiles tell ln N* best: sizes about the expected minimum of each budget, whole profiles only.

Approach 2 reads the lowest point m_C of each profile and draws a line through them. A run at u = ln N - m_C of a profile

    ln L = mu + h/2 u^2 + k u^3,    J = d ln L / d (mu, h, k, m) = (1, u^2 / 2, u^3, -h u - 3 k u^2)

tells w(u) J J' / s^2 about it, with the weight w that approach 2 gives it, and a profile knows m_C to the variance 1 / I_C, where
I_C is what is left of the information on m when mu, h and k are not known. Where m_C lies is not known before the runs: I_C is
the mean over what is believed of it, with zero where the sizes do not bracket it, and zero for fewer sizes than approach 2 reads.
Generalised least squares with the variances 1 / I_C + scatter^2 gives ln N* at the target; its variance is the criterion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ._compare import scatter
from ._isoflop import LEAST, WINDOW
from ._result import Approach
from ._runs import Array, budgets_of

__all__ = ["Bowls", "Stock", "expected", "fill"]

# Standard deviations before the runs: of a profile's curvature and skew, as shares of the curvature.
_CURVATURE, _SKEW = 0.5, 0.15
# What exponents have been published, mean and standard deviation, and ln N* at the profiles' middle, which they know better.
_SLOPE, _LEVEL = (0.6, 0.2), 2.0
_NODES = np.array([NormalDist().inv_cdf((k + 0.5) / 9) for k in range(9)])
_POWERS = (0.0, 0.5, 1.0)


@dataclass(frozen=True, eq=False)
class Bowls:
    """What is believed of the profiles.

    Args:
        line: ln N* at ln C = centre, and its slope. covariance: theirs, `(2, 2)`. centre: ln C.
        curvature: ln h at the centre, and its slope against ln C. skew: k / h.
        degrees: of freedom of the line. noise: standard deviation of ln loss. scatter: of the minima about the line.
        target: ln C of the allocation.
    """

    line: Array
    covariance: Array
    centre: float
    curvature: Array
    skew: float
    degrees: float
    noise: float
    scatter: float
    target: float

    def best(self, c: float) -> float:
        """ln N* at ln C."""
        return float(self.line @ [1.0, c - self.centre])

    def steepness(self, c: float) -> float:
        """h at ln C."""
        return math.exp(float(self.curvature @ [1.0, c - self.centre]))

    def told(self, c: float, n: Array) -> float:
        """I of runs at ln N `(m,)`."""
        x = np.array([1.0, c - self.centre])
        m = self.best(c) + math.sqrt(float(x @ self.covariance @ x) + self.scatter**2) * _NODES
        u, h = n - m[:, None], self.steepness(c)
        k = self.skew * h
        over = np.expm1(np.clip(0.5 * h * u**2 + k * u**3, 0.0, 10.0))
        weight = 1 / (self.noise * (1 + (over / WINDOW) ** 2)) ** 2
        J = np.stack([np.ones_like(u), 0.5 * u**2, u**3, -h * u - 3 * k * u**2], axis=-1)
        M = np.einsum("pr,pri,prj->pij", weight, J, J) + np.diag([1e-6, (_CURVATURE * h) ** -2, (_SKEW * h) ** -2, 0.0])
        other = np.linalg.solve(M[:, :3, :3], M[:, :3, 3:])[..., 0]
        left = M[:, 3, 3] - np.einsum("pi,pi->p", M[:, :3, 3], other)
        bracketed = (u.min(axis=1) < 0) & (u.max(axis=1) > 0)
        return float(np.mean(np.where(bracketed, np.maximum(left, 0.0), 0.0)))

    def worth(self, c: float, n: Array) -> float:
        """I of a profile, zero with too few sizes."""
        return self.told(c, n) if len(np.unique(np.round(n, 6))) >= LEAST["cubic"] else 0.0

    def known(self, n: Array, c: Array) -> tuple[float, float, float]:
        """Standard errors of ln N* at the target and of the slope with runs at ln N, ln C; expected relative excess loss."""
        groups = budgets_of(c)
        at = np.array([float(np.median(c[group])) for group in groups])
        told = np.array([self.worth(middle, n[group]) for middle, group in zip(at, groups, strict=True)])
        size, slope = (float(each[0]) for each in _variances(at - self.target, told[None], self.scatter))
        return math.sqrt(size), math.sqrt(slope), math.expm1(min(0.5 * self.steepness(self.target) * size, 10.0))


def expected(second: Approach, noise: float, target: float) -> Bowls:
    """What approach 2 says of the profiles to come; `noise` where its own profiles leave nothing over to tell it."""
    used = [each for each in second.budgets if each.used]
    c, tau = np.log([each.compute for each in used]), float(second.detail["scatter"])
    centre = float(c.mean())
    best, errors = np.array([each.best for each in used]), np.array([each.best_se for each in used])
    X = np.stack([np.ones_like(c), c - centre], axis=1)
    weight = 1 / (errors**2 + tau**2)
    prior = np.diag([_LEVEL**-2, _SLOPE[1] ** -2])
    covariance = np.asarray(np.linalg.inv(prior + (X * weight[:, None]).T @ X), dtype=np.float64)
    line = covariance @ (prior @ [float(best.mean()), _SLOPE[0]] + X.T @ (weight * best))
    logs = np.log([each.curve[0] for each in used])
    # As the reducible part of the loss falls, at least by nothing and at most by C^-0.3: see `_excess`.
    slope = float(np.clip(np.polyfit(c, logs, 1)[0], -0.3, 0.0))
    skew = float(np.mean([each.curve[1] / each.curve[0] for each in used]))
    own = scatter(used)
    curvature = np.array([float(logs.mean()), slope])
    degrees = max(len(used) - 2.0, 1.0)
    return Bowls(line, covariance, centre, curvature, skew, degrees, own if own > 0 else noise, tau, target)


@dataclass(frozen=True, eq=False)
class Stock:
    """Runs that may be made, `n`, `c` and `cost` `(m,)`: ln N, ln C and FLOPs; and those made already, `had_n` and `had_c`."""

    n: Array
    c: Array
    cost: Array
    had_n: Array
    had_c: Array


@dataclass(frozen=True, eq=False)
class _Ways:
    """Ways to fill the budgets, each budget's from nothing on: rows of the stock, and for each way its budget, cost, size and I.

    Args:
        x: ln C over the target's, `(levels,)`. level, cost, count, told: `(ways,)`. first: each budget's first way, `(levels,)`.
    """

    rows: list[tuple[int, ...]]
    x: Array
    level: NDArray[np.intp]
    cost: Array
    count: NDArray[np.intp]
    told: Array
    first: NDArray[np.intp]
    scatter: float


def fill(bowls: Bowls, stock: Stock, spend: float, most: int) -> list[int]:
    """Rows of the stock that cost at most `spend`: the profiles that lower the error of ln N* at the target most.

    Budgets are filled one by one, or by a size more, for the gain in the logarithm of the criterion per cost^power. Then one
    budget in turn is set to each of its fillings and the rest is filled anew, and the best of all is kept.
    """
    ways = _all(bowls, stock)
    if ways is None:
        return []
    starts = [ways.first]
    for way in range(len(ways.rows)):
        state = ways.first.copy()
        state[ways.level[way]] = way
        starts.append(state)
    found = [_grown(ways, state, spend, most, power) for state in starts for power in _POWERS]
    _, best = min(found, key=lambda each: each[0])
    return [row for way in best for row in ways.rows[way]]


def _all(bowls: Bowls, stock: Stock) -> _Ways | None:
    offered, every = len(stock.n), np.concatenate([stock.c, stock.had_c])
    rows: list[tuple[int, ...]] = []
    told: list[float] = []
    x: list[float] = []
    level: list[int] = []
    for group in budgets_of(every):
        c = float(np.median(every[group]))
        had = stock.had_n[group[group >= offered] - offered]
        filled, worth = _filled(bowls, stock, c, group[group < offered].tolist(), had)
        if max(worth) > 0:
            rows += filled
            told += worth
            level += [len(x)] * len(filled)
            x.append(c - bowls.target)
    if not x:
        return None
    cost = np.array([float(stock.cost[list(way)].sum()) for way in rows])
    first = np.searchsorted(level, np.arange(len(x)))
    count = np.array([len(way) for way in rows])
    return _Ways(rows, np.array(x), np.array(level), cost, count, np.array(told), first, bowls.scatter)


def _filled(bowls: Bowls, stock: Stock, c: float, free: list[int], had: Array) -> tuple[list[tuple[int, ...]], list[float]]:
    """A budget filled one size after the other, each the one that tells most, and I after each that adds to it."""
    n, rows = had, list[int]()
    ways, told = [tuple(rows)], [bowls.worth(c, had)]
    while free:
        if len(n) == 0:
            gain = -np.abs(stock.n[free] - bowls.best(c))
        else:
            gain = np.array([bowls.told(c, np.append(n, stock.n[row])) for row in free])
        row = free.pop(int(np.argmax(gain)))
        rows.append(row)
        n = np.append(n, stock.n[row])
        if (worth := bowls.worth(c, n)) > told[-1]:
            ways.append(tuple(rows))
            told.append(worth)
    return ways, told


def _variances(x: Array, told: Array, scatter: float) -> tuple[Array, Array]:
    """Variance of ln N* at the target, and of the slope, with information `(ways, levels)` at x `(levels,)`."""
    weight = told / (1 + told * scatter**2)
    # A line that nobody knows, so that one budget is better than none.
    s0, s1, s2 = (np.sum(weight * x**power, axis=1) + extra for power, extra in ((0, 0.1), (1, 0.0), (2, 1.0)))
    det = s0 * s2 - s1**2
    return s2 / det, s0 / det


def _criterion(ways: _Ways, told: Array) -> Array:
    return np.log(_variances(ways.x, told, ways.scatter)[0])


def _grown(ways: _Ways, state: NDArray[np.intp], spend: float, most: int, power: float) -> tuple[float, NDArray[np.intp]]:
    """The criterion and the state filled further within the limits; infinite where it exceeds them already."""
    state = state.copy()
    if float(ways.cost[state].sum()) > spend * (1 + 1e-9) or int(ways.count[state].sum()) > most:
        return math.inf, state
    every = np.arange(len(ways.rows))
    while True:
        now = float(_criterion(ways, ways.told[state][None])[0])
        here = state[ways.level]
        extra = ways.cost - ways.cost[here]
        fits = extra <= spend * (1 + 1e-9) - float(ways.cost[state].sum())
        fits &= ways.count - ways.count[here] <= most - int(ways.count[state].sum())
        open_ = np.flatnonzero((every > here) & fits)
        if not len(open_):
            return now, state
        tried = np.repeat(ways.told[state][None], len(open_), axis=0)
        tried[np.arange(len(open_)), ways.level[open_]] = ways.told[open_]
        gain = now - _criterion(ways, tried)
        pick = int(np.argmax(gain / extra[open_] ** power))
        if gain[pick] <= 1e-7:
            return now, state
        state[ways.level[open_[pick]]] = open_[pick]
