"""Ways of choosing the next runs from a pool: ours, and those it is measured against. All are judged by the same estimator.

A policy is asked for the next runs, given which were made; it answers row numbers in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.plan._propose import propose
from scalelaw.plan._select import Policy

from .pools import Pool

__all__ = ["POLICIES", "Choice", "Spent"]

Array: TypeAlias = NDArray[np.float64]
Made: TypeAlias = NDArray[np.bool_]
Spent: TypeAlias = tuple[float, float]
# (pool, made, budget of the batch, spent, seed) -> rows, and FLOPs of these that filled space
Choice: TypeAlias = Callable[[Pool, Made, float, Spent, int], tuple[list[int], float]]


def ours(pool: Pool, made: Made, budget: float, spent: Spent, seed: int, policy: Policy | None = None) -> tuple[list[int], float]:
    """`scalelaw plan`."""
    picks = propose(pool.trials.where(made), pool.candidates(made), pool.targets, budget, spent=spent, seed=seed, policy=policy)
    return [pick.index for pick in picks], sum(pick.cost for pick in picks if pick.filling)


def random(pool: Pool, made: Made, budget: float, _spent: Spent, seed: int) -> tuple[list[int], float]:
    """Any run with equal chance."""
    return _afford(pool, budget, np.random.default_rng([seed, 1]).permutation(len(pool.cost)), made), 0.0


def uniform(pool: Pool, made: Made, budget: float, _spent: Spent, seed: int) -> tuple[list[int], float]:
    """The cells in turn, the one with the fewest runs first; any run of it."""
    cell = pool.candidates(made).cell
    order = np.random.default_rng([seed, 2]).permutation(len(pool.cost))
    turn = np.zeros(len(order))
    for c in np.unique(cell):
        rows = order[cell[order] == c]
        turn[rows] = np.arange(len(rows))
    return _afford(pool, budget, order[np.argsort(turn[order], kind="stable")], made), 0.0


def cheapest(pool: Pool, made: Made, budget: float, _spent: Spent, seed: int) -> tuple[list[int], float]:
    """The cheapest first; any of equal cost."""
    order = np.random.default_rng([seed, 3]).permutation(len(pool.cost))
    return _afford(pool, budget, order[np.argsort(pool.cost[order], kind="stable")], made), 0.0


def d_optimal(pool: Pool, made: Made, budget: float, _spent: Spent, seed: int) -> tuple[list[int], float]:
    """The run that adds most to ln det of the information on a joint quadratic, per FLOP^0.5; see `_quadratic`."""
    return _greedy(pool, made, budget, seed, target=False), 0.0


def v_optimal(pool: Pool, made: Made, budget: float, _spent: Spent, seed: int) -> tuple[list[int], float]:
    """The run that takes most from the mean variance of predicted ln loss at the targets' settings, per FLOP^0.5."""
    return _greedy(pool, made, budget, seed, target=True), 0.0


def _afford(pool: Pool, budget: float, order: NDArray[np.intp], made: Made) -> list[int]:
    """Runs in order while they fit in the budget; the first that does not ends it."""
    found: list[int] = []
    for row in order:
        if made[row]:
            continue
        if pool.cost[row] > budget:
            break
        found.append(int(row))
        budget -= float(pool.cost[row])
    return found


def _quadratic(points: Array, z: Array) -> Array:
    """Columns of ln loss as a full quadratic of ln scales and settings together: the law that designs are made for."""
    x = np.concatenate([points, z], axis=1)
    products = [x[:, i] * x[:, j] for i in range(x.shape[1]) for j in range(i, x.shape[1])]
    return np.stack([np.ones(len(x)), *x.T, *products], axis=1)


def _greedy(pool: Pool, made: Made, budget: float, seed: int, *, target: bool) -> list[int]:
    candidates = pool.candidates(made)
    s = candidates.scale[candidates.cell]
    middle, width = s.mean(axis=0), np.maximum(s.std(axis=0), 1e-9)
    z_middle, z_width = candidates.z.mean(axis=0), candidates.z.std(axis=0)
    X = _quadratic((s - middle) / width, (candidates.z - z_middle) / z_width)
    ahead = (np.log([[point[name] for name in pool.over] for point in pool.targets]) - middle) / width
    grid = np.array(np.meshgrid(*[[-1.0, 0.0, 1.0]] * len(pool.hyper))).reshape(len(pool.hyper), -1).T
    at = _quadratic(np.repeat(ahead, len(grid), axis=0), np.tile(grid, (len(ahead), 1)))
    information = 1e-3 * np.eye(X.shape[1]) + X[made].T @ X[made]
    left, used, found = ~made, 0.0, []
    shuffle = 1e-6 * np.random.default_rng([seed, 4 + target]).random(len(X))
    while True:
        open_ = left & (pool.cost <= budget - used)
        if not open_.any():
            return found
        inverse = np.linalg.inv(information)
        variance = np.einsum("ni,ij,nj->n", X, inverse, X)
        gain = np.mean((X @ inverse @ at.T) ** 2, axis=1) / (1 + variance) if target else np.log1p(variance)
        row = int(np.argmax(np.where(open_, gain * (1 + shuffle) / pool.cost**0.5, -np.inf)))
        found.append(row)
        left[row] = False
        used += float(pool.cost[row])
        information += np.outer(X[row], X[row])


POLICIES: dict[str, Choice] = {
    "scalelaw": ours,
    "random": random,
    "uniform": uniform,
    "cheapest first": cheapest,
    "D-optimal": d_optimal,
    "V-optimal": v_optimal,
}
