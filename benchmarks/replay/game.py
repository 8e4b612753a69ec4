"""One game: buy runs from a pool batch by batch, and judge the settings they support at each budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.axis import axis_of
from scalelaw.errors import ScalelawError
from scalelaw.optimum import optimum
from scalelaw.trials import Trials

from .policies import Choice
from .pools import Pool

__all__ = ["play", "recommended"]

Array: TypeAlias = NDArray[np.float64]

# A batch grows the spend by this factor: everything is fitted again after each.
GROWTH = 1.25


def play(pool: Pool, choice: Choice, budgets: Sequence[float], seed: int) -> Array:
    """Percent of the loss lost at the targets, mean over them, at each budget (shares of the pool's FLOPs), `(budgets,)`."""
    made = np.zeros(len(pool.cost), dtype=bool)
    spent, filled = 0.0, 0.0
    result: list[float] = []
    for share in budgets:
        end = share * pool.total
        while spent < end:
            batch = min(end - spent, max((GROWTH - 1) * spent, 0.02 * end))
            rows, filling = choice(pool, made, batch, (spent, filled), seed)
            if not rows and batch < end - spent:
                rows, filling = choice(pool, made, end - spent, (spent, filled), seed)
            if not rows:
                break
            made[rows] = True
            spent, filled = spent + float(pool.cost[rows].sum()), filled + filling
        result.append(float(np.mean(pool.judge(recommended(pool, pool.trials.where(made))))))
    return np.array(result)


def recommended(pool: Pool, trials: Trials) -> list[Array]:
    """The settings to take at each target: the law's, else the best run's, held to the range that the pool tried."""
    z = np.stack([axis_of(name).coordinate(pool.trials.numbers(name)) for name in pool.hyper], axis=1)
    low, high = z.min(axis=0), z.max(axis=0)
    try:
        found = optimum(trials, over=pool.over, hyper=pool.hyper)
        best = [found.response.trend.best(target) for target in pool.targets]
    except (ScalelawError, np.linalg.LinAlgError):
        finished = trials.finished
        if not len(finished):
            # Every run failed, at large rates mostly: the geometric middle of the pool is as good as any.
            return [
                np.array([axis_of(name).setting(float(v)) for name, v in zip(pool.hyper, z.mean(axis=0), strict=True)])
            ] * len(pool.targets)
        lowest = int(np.argmin(finished.numbers("loss")))
        row = np.array([float(axis_of(name).coordinate(finished.numbers(name)[[lowest]])[0]) for name in pool.hyper])
        best = [row for _ in pool.targets]
    clipped = [np.clip(each, low, high) for each in best]
    return [np.array([axis_of(name).setting(float(v)) for name, v in zip(pool.hyper, each, strict=True)]) for each in clipped]
