"""The first runs, when nothing is known: a few settings spread over their range at the cheapest scales that can carry a law."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._candidates import Candidates

__all__ = ["scales_to_start", "start"]

Array: TypeAlias = NDArray[np.float64]


def scales_to_start(pool: Candidates) -> list[int]:
    """The cheapest scales that carry a law: those that span its columns, and one more, for a line through two has no error."""
    price = np.array([pool.cost[pool.cell == c].min() for c in range(len(pool.points))])
    order = [int(c) for c in np.argsort(price, kind="stable")]
    rows = np.concatenate([np.ones((len(price), 1)), pool.scale], axis=1)
    spanning: list[int] = []
    for c in order:
        if np.linalg.matrix_rank(rows[[*spanning, c]], tol=1e-6) > len(spanning):
            spanning.append(c)
    others = [c for c in order if c not in spanning]
    return sorted([*spanning, *others[:1]], key=order.index)


def start(pool: Candidates, budget: float, random: np.random.Generator, best: Array | None = None) -> list[int]:
    """Settings at the first scales, cheapest first, each as far as can be from the others there, within the budget.

    The cheapest scale gets 2 m + 3 settings over the whole range, the first in its middle. Then, when the losses of these are
    known, each further one gets m + 3 about the best so far, over half of the range: a best setting moves by a fraction of a nat
    from one scale to the next. Runs that were made already count.

    Args:
        best: coordinates of the best run so far, `(hyper,)`; None while no run has finished.
    """
    m = len(pool.hyper)
    made = {c: [int(k) for k in np.flatnonzero((pool.cell == c) & (pool.repeats > 0))] for c in range(len(pool.points))}
    low, high = pool.z.min(axis=0), pool.z.max(axis=0)
    unit = (pool.z - low) / np.where(high > low, high - low, 1.0)
    chosen: list[int] = []
    for order, c in enumerate(scales_to_start(pool)):
        wanted = 2 * m + 3 if order == 0 else m + 3
        if order == 0 or best is None:
            middle, reach = np.full(m, 0.5), 0.5
        else:
            middle, reach = (best - low) / np.where(high > low, high - low, 1.0), 0.25
        while len(made[c]) < wanted:
            index = _farthest(pool, c, made[c], budget, (unit, middle, reach), random)
            if index is None:
                break
            made[c].append(index)
            chosen.append(index)
            budget -= float(pool.cost[index])
        if chosen and order == 0:
            break  # the others wait for these losses
    return chosen


def _farthest(
    pool: Candidates,
    c: int,
    made: list[int],
    budget: float,
    box: tuple[Array, Array, float],
    random: np.random.Generator,
) -> int | None:
    """The run at scale c that is farthest from those made there; the box's edges count as made, for there failures wait."""
    unit, middle, reach = box
    open_ = np.setdiff1d(np.flatnonzero((pool.cell == c) & (pool.left > 0) & (pool.cost <= budget)), made)
    if not len(open_):
        return None
    out = np.max(np.abs(unit[open_] - middle), axis=1) / reach
    inside = open_[out <= 1.0 + 1e-9] if np.any(out <= 1.0 + 1e-9) else open_[[int(np.argmin(out))]]
    edge = reach - np.max(np.abs(unit[inside] - middle), axis=1)
    if made:
        away = np.sqrt(np.min(np.sum((unit[inside][:, None] - unit[made][None]) ** 2, axis=2), axis=1))
        score = np.minimum(away, edge + 0.3 * reach)
    else:
        score = edge
    return int(inside[np.argmax(score + 0.04 * reach * random.random(len(inside)))])
