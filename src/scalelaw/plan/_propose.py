"""The next runs from a pool: the first design while no bowl can be told, then gain per cost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..axis import axis_of
from ..cliff import cliff
from ..frontier import Frontier, frontier
from ..response import Response
from ..stack import Ladder, Stack
from ..trials import Trials
from ._belief import Belief
from ._candidates import Candidates
from ._levels import Levels
from ._select import Pick, Policy, walk
from ._start import start

__all__ = ["Known", "known", "propose"]

Array: TypeAlias = NDArray[np.float64]


# Standard deviation of ln best-case loss at a scale that was not measured, where no law is asked: its first run tells its level.
_UNTOLD = 0.02


@dataclass(frozen=True, eq=False)
class Known:
    """What the runs so far support: the frontier with its bowls."""

    edge: Frontier

    @property
    def response(self) -> Response:
        """The bowls."""
        assert self.edge.response is not None
        return self.edge.response

    def stack(self) -> Stack:
        """The laws of the best case. Raises DataError where the runs carry none."""
        return Ladder(self.edge).stack()

    def belief(self, pool: Candidates, targets: Sequence[Mapping[str, float]], levels: Levels | None = None) -> Belief:
        """The settings, ready for fantasies."""
        sd = np.full(len(pool.points), _UNTOLD) if levels is None else levels.sd
        return Belief(self.response, pool.points, targets, sd)

    def fails(self, pool: Candidates) -> Array:
        """Probability that each candidate fails, by the cliff at its mode; 0 where no run failed."""
        from scipy.special import ndtr

        found = cliff(self.response, trials=self.edge.source)
        if found is None:
            return np.zeros(len(pool))
        s = np.stack([self.response.trend.place(point) for point in pool.points])[pool.cell]
        m = len(pool.hyper)
        eta = found.theta[0] + (pool.z - found.middle) @ found.theta[1 : 1 + m] + s @ found.theta[1 + m :]
        return np.asarray(ndtr(eta), dtype=np.float64)


def known(trials: Trials, over: Sequence[str], hyper: Sequence[str]) -> Known | None:
    """What the runs support, or None while they carry no bowl, or fewer scales than a law has coefficients."""
    if not len(trials.finished):
        return None
    edge = frontier(trials, over=over, hyper=hyper)
    return Known(edge) if edge.response is not None and len(edge.trials) > len(over) else None


def propose(
    trials: Trials,
    pool: Candidates,
    targets: Sequence[Mapping[str, float]],
    budget: float,
    *,
    spent: tuple[float, float] = (0.0, 0.0),
    policy: Policy | None = None,
    omega: float = 0.0,
    most: int = 1000,
    seed: int = 0,
) -> list[Pick]:
    """Runs of the pool to make next, in order, within the budget.

    Args:
        trials: the runs made so far, those of the pool with them.
        targets: scales at which a setting is to be chosen.
        budget: FLOPs of this batch.
        spent: FLOPs so far, and of these on filling space.
        omega: worth of a unit of variance of the best-case loss; see `_select.py`.
    """
    random = np.random.default_rng([seed, len(trials)])
    first = start(pool, budget, random, _best(trials, pool.hyper))
    state = None if first else known(trials, pool.over, pool.hyper)
    if first or state is None:
        chosen = (first or _anything(pool, budget, random))[:most]
        return [Pick(each, float(pool.cost[each]), float("nan"), True, float("nan"), float("nan")) for each in chosen]
    levels = Levels(state.stack(), state.edge, pool.points, targets) if omega > 0 else None
    path = walk(
        state.belief(pool, targets, levels),
        levels,
        pool,
        budget,
        fails=state.fails(pool),
        omega=omega,
        policy=policy,
        spent=spent,
        random=random,
    )
    return list(itertools.islice(path, most))


def _best(trials: Trials, hyper: Sequence[str]) -> Array | None:
    """Coordinates of the run with the lowest loss; None while none has finished."""
    finished = trials.finished
    if not len(finished):
        return None
    lowest = [int(np.argmin(finished.numbers("loss")))]
    return np.array([float(axis_of(name).coordinate(finished.numbers(name)[lowest])[0]) for name in hyper])


def _anything(pool: Candidates, budget: float, random: np.random.Generator) -> list[int]:
    """One run at the cheapest scale that has one left: the first design is done and yet no bowl can be told."""
    open_ = np.flatnonzero((pool.left > 0) & (pool.cost <= budget))
    if not len(open_):
        return []
    cheap = open_[pool.cost[open_] <= np.quantile(pool.cost[open_], 0.3)]
    return [int(random.choice(cheap))]
