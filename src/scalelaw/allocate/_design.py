"""Which runs tell ln N* best: c-optimal design on Chinchilla's law, averaged over what is believed of its parameters.

With theta = (ln E, ln A, ln B, alpha, beta), a = A N^-alpha, b = B D^-beta and L = E + a + b, a run at (N, D) tells

    J = d ln L / d theta = (E, a, b, -a ln N, -b ln D) / L,        information  M += J J' / s^2

and ln N* at ln(C / k) has the gradient g of `gradient`, so Var ln N* = g' M^-1 g: c-optimality (Elfving 1952; Atkinson, Donev and
Tobias 2007, chapter 10). A further run changes it by a rank-one update:

    Var - (g' S J)^2 / (s^2 + J' S J),   S = M^-1

M depends on theta, which is not known before the runs, so every quantity is held for draws of theta at once, and the criterion
is the mean over draws of ln Var.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._runs import Array

__all__ = ["Belief", "Grid", "best_size", "choose", "excess", "gradient", "log_loss", "slopes", "spread", "summed"]

# The gain of a run is divided by its cost to each of these powers in turn, and the best ladder is kept.
_POWERS = (0.0, 0.5, 1.0)
_ROUNDS = 20
# Shares of the reach at which an even spread lays its sizes, the middle and the ends first.
_EVEN = (0.0, -1.0, 1.0, -0.5, 0.5)


@dataclass(frozen=True, eq=False)
class Belief:
    """What is known of the law before the runs, at draws of theta.

    Args:
        theta: `(draws, 5)`; row 0 is the estimate. information: M of the data and the prior at each draw, `(draws, 5, 5)`.
        noise: s, the standard deviation of ln loss that a run's information is worth.
        target: ln(C / k) of the allocation.
    """

    theta: Array
    information: Array
    noise: float
    target: float

    def after(self, n: Array, d: Array) -> Array:
        """M with runs at ln N, ln D `(m,)` more, `(draws, 5, 5)`."""
        J = slopes(self.theta, n, d) / self.noise
        return self.information + np.einsum("kmi,kmj->kij", J, J)

    def variance(self, information: Array) -> tuple[Array, Array]:
        """Variance of ln N* and of the exponent a at every draw, `(draws,)` each."""
        S = np.linalg.inv(information)
        g, a = gradient(self.theta, self.target)
        return np.einsum("ki,kij,kj->k", g, S, g), np.einsum("ki,kij,kj->k", a, S, a)


@dataclass(frozen=True, eq=False)
class Grid:
    """Runs to choose from.

    Args:
        n, d: ln N and ln D. cost: FLOPs. level: number of the budget, 0 the cheapest.
        share: ln N - ln N* as a share of the reach. All `(m,)`.
    """

    n: Array
    d: Array
    cost: Array
    level: NDArray[np.intp]
    share: Array


def log_loss(theta: Array, n: Array, d: Array) -> Array:
    """ln L `(draws, m)` at theta `(draws, 5)` and ln N, ln D `(m,)`."""
    E, a, b = _parts(theta, n, d)
    return np.log(E + a + b)


def slopes(theta: Array, n: Array, d: Array) -> Array:
    """J `(draws, m, 5)`."""
    E, a, b = _parts(theta, n, d)
    return np.stack([E, a, b, -a * n, -b * d], axis=-1) / (E + a + b)[..., None]


def _parts(theta: Array, n: Array, d: Array) -> tuple[Array, Array, Array]:
    E, A, B, alpha, beta = (theta[:, [k]] for k in range(5))
    a, b = np.exp(A - alpha * n), np.exp(B - beta * d)
    return np.broadcast_to(np.exp(E), a.shape), a, b


def summed(theta: Array, n: Array, d: Array, weight: Array) -> Array:
    """sum_i weight_i J_i J_i' `(draws, 5, 5)`."""
    J = slopes(theta, n, d)
    return np.einsum("kmi,m,kmj->kij", J, weight, J)


def best_size(theta: Array, nd: Array | float) -> Array:
    """ln N* at ln(C / k), `(draws,)` or the shape of `nd`."""
    _, A, B, alpha, beta = theta.T
    return (np.log(alpha) + A - np.log(beta) - B + beta * nd) / (alpha + beta)


def gradient(theta: Array, nd: float) -> tuple[Array, Array]:
    """Derivatives by theta of ln N* at ln(C / k), and of a = beta / (alpha + beta), `(draws, 5)` each."""
    alpha, beta = theta[:, 3], theta[:, 4]
    both, value, zero = alpha + beta, best_size(theta, nd), np.zeros(len(theta))
    size = np.stack([zero, 1 / both, -1 / both, (1 / alpha - value) / both, (nd - 1 / beta - value) / both], axis=1)
    return size, np.stack([zero, zero, zero, -beta / both**2, alpha / both**2], axis=1)


def excess(theta: Array, nd: float, variance: Array) -> Array:
    """Expected relative excess loss of training at a size that is off by Normal(0, variance) in ln N, `(draws,)`.

    E L(N* e^u) / L(N*) - 1 = [a (e^(alpha^2 v / 2) - 1) + b (e^(beta^2 v / 2) - 1)] / L,   v = variance
    """
    n = best_size(theta, nd)
    E, A, B, alpha, beta = theta.T
    a, b = np.exp(A - alpha * n), np.exp(B - beta * (nd - n))
    # A variance beyond 100 is a size that nobody knows.
    v = np.minimum(variance, 100.0)
    return (a * np.expm1(alpha**2 * v / 2) + b * np.expm1(beta**2 * v / 2)) / (np.exp(E) + a + b)


def choose(belief: Belief, grid: Grid, spend: float, most: int, first: Sequence[int] = ()) -> list[int]:
    """Rows of the grid, each at most once, that cost at most `spend`: the `first`, and those that are chosen beside them.

    They are chosen one by one for the gain in the criterion per cost^power, then exchanged one by one while that lowers it.
    """
    J = slopes(belief.theta, grid.n, grid.d) / belief.noise
    g, _ = gradient(belief.theta, belief.target)
    found = [_exchanged(_greedy(first, _Search(belief, grid, J, g, spend), most, power), len(first)) for power in _POWERS]
    return min(found, key=lambda each: each[0])[1]


def spread(grid: Grid, least: float, spend: float, most: int) -> list[int]:
    """Rows of an even spread that costs at least `least`: every other budget, the cheapest first."""
    rows: list[int] = []
    cost = 0.0
    for level in np.unique(grid.level)[::2]:
        place = np.flatnonzero(grid.level == level)
        for share in _EVEN:
            row = int(place[np.argmin(np.abs(grid.share[place] - share))])
            if cost >= least or len(rows) == most:
                return rows
            if row not in rows and cost + grid.cost[row] <= spend:
                rows.append(row)
                cost += float(grid.cost[row])
    return rows


@dataclass(frozen=True, eq=False)
class _Search:
    """What the choice is made from: `J` `(draws, m, 5)` in units of the noise, `g` `(draws, 5)`."""

    belief: Belief
    grid: Grid
    J: Array
    g: Array
    spend: float

    def information(self, rows: Sequence[int]) -> Array:
        """M with these runs."""
        J = self.J[:, rows]
        return self.belief.information + np.einsum("kmi,kmj->kij", J, J)

    def score(self, information: Array) -> tuple[float, Array]:
        """The criterion as it stands, and with each run of the grid more, `(m,)`."""
        S = np.linalg.inv(information)
        Sg = np.einsum("kij,kj->ki", S, self.g)
        now = np.einsum("ki,ki->k", self.g, Sg)
        told = np.einsum("kmi,ki->km", self.J, Sg) ** 2
        width = 1 + np.einsum("kmi,kij,kmj->km", self.J, S, self.J)
        left = np.maximum(now[:, None] - told / width, 1e-12 * now[:, None])
        return float(np.mean(np.log(now))), np.mean(np.log(left), axis=0)

    def open(self, rows: Sequence[int], room: float) -> NDArray[np.bool_]:
        """Which rows of the grid are still free and cost at most `room`."""
        free = self.grid.cost <= room * (1 + 1e-9)
        free[list(rows)] = False
        return free


def _greedy(first: Sequence[int], search: _Search, most: int, power: float) -> tuple[list[int], _Search]:
    rows = list(first)
    weight = search.grid.cost**-power
    while len(rows) < most:
        free = search.open(rows, search.spend - float(search.grid.cost[rows].sum()))
        if not free.any():
            break
        now, then = search.score(search.information(rows))
        rows.append(int(np.argmax(np.where(free, (now - then) * weight, -np.inf))))
    return rows, search


def _exchanged(found: tuple[list[int], _Search], kept: int) -> tuple[float, list[int]]:
    """The criterion and the rows after exchanging single runs, the first `kept` excepted."""
    rows, search = found
    cost = search.grid.cost
    best, _ = search.score(search.information(rows))
    for _ in range(_ROUNDS):
        before = best
        for place in range(kept, len(rows)):
            others = rows[:place] + rows[place + 1 :]
            free = search.open(rows, search.spend - float(cost[others].sum()))
            if not free.any():
                continue
            _, then = search.score(search.information(others))
            row = int(np.argmin(np.where(free, then, np.inf)))
            if then[row] < best - 1e-6:
                rows[place], best = row, float(then[row])
        if best > before - 1e-4:
            break
    return best, rows
