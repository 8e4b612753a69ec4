"""Which runs to make next: gain per cost, with a share of the spend that fills space.

A run is worth (1 - P(fails)) (dR + omega dV) / cost^gamma: R the regret of the settings at the targets (`_belief.py`), V the
variance of the best-case loss there (`_levels.py`), omega what a unit of V is worth to the decision at hand. While the settings
are not pinned down cheap runs answer first (gamma = 0.7); later the scales near the target must speak (gamma = 1/2). The belief
is a model: what it does not doubt it would never check, so that a share of the spend goes to the emptiest places, whatever
their gain. A batch is chosen by fantasies (cost to a power: Li et al. 2026, arXiv:2604.22753): after each choice its run is
added to the belief, whose covariance needs no loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._belief import Belief, Offers
from ._candidates import Candidates
from ._levels import Levels

__all__ = ["Pick", "Policy", "walk"]

Array: TypeAlias = NDArray[np.float64]

# ln loss above the best at which a run tells half as much of the best case as one at the best.
_KNOWN = 0.02


@dataclass(frozen=True)
class Policy:
    """Constants of the choice, chosen on simulated pools (benchmarks/replay), not on published data.

    Args:
        first, then: power of the cost before and after the regret has fallen to `turn` (ln loss).
        fill: share of the spend that fills space.
        idle: elasticity of the regret, dlnR / dln spend, below which all of the spend does.
        far: ln loss above a scale's best beyond which no setting is worth filling.
    """

    first: float = 0.7
    then: float = 0.5
    turn: float = 0.005
    fill: float = 0.3
    idle: float = 0.1
    far: float = 0.1


@dataclass(frozen=True)
class Pick:
    """One chosen run.

    Args:
        index: of the candidate. cost: FLOPs.
        gain: expected fall of regret + omega variance, ln loss.
        filling: chosen to fill space, not for its gain.
        regret, variance: R and V after it.
    """

    index: int
    cost: float
    gain: float
    filling: bool
    regret: float
    variance: float


class _Chooser:
    """The state of one greedy choice."""

    def __init__(self, belief: Belief, levels: Levels | None, pool: Candidates, fails: Array, omega: float) -> None:
        self.belief, self.levels, self.pool, self.fails, self.omega = belief, levels, pool, fails, omega
        self.offers = Offers(belief, pool.cell, pool.z, pool.repeats)
        self.left = pool.left.copy()
        self.excess = belief.excess(pool.cell, pool.z)
        # A run off the best setting tells of the best case only as far as its excess is known.
        self._share = 1.0 / (1.0 + (self.excess / _KNOWN) ** 2)

    @property
    def variance(self) -> float:
        """V, 0 where it is of no interest."""
        return 0.0 if self.levels is None else self.levels.variance

    def gains(self) -> Array:
        """(1 - P(fails)) (dR + omega dV)."""
        value = self.offers.gains()
        if self.levels is not None and self.omega > 0:
            value = value + self.omega * self.levels.gains(self.pool.cell, self._share)
        return value * (1.0 - self.fails)

    def add(self, index: int) -> None:
        """Make a candidate in fantasy."""
        self.offers.add(index, 1.0 - float(self.fails[index]))
        if self.levels is not None:
            self.levels.add(int(self.pool.cell[index]), float(self._share[index] * (1.0 - self.fails[index])))
        self.left[index] -= 1

    def emptiest(self, open_: NDArray[np.bool_], far: float, random: np.random.Generator) -> int | None:
        """A scale at random, cheap ones rather; there, the setting farthest from all that were run, in units of its bowl."""
        near = open_ & (self.excess < far)
        near = near if near.any() else open_
        cells = np.unique(self.pool.cell[near])
        if not len(cells):
            return None
        price = np.array([self.pool.cost[near & (self.pool.cell == c)].min() for c in cells])
        chance = price**-0.5
        c = int(random.choice(cells, p=chance / chance.sum()))
        rows = np.flatnonzero(near & (self.pool.cell == c))
        made = np.flatnonzero((self.offers.repeats > 0) & (self.pool.cell == c))
        root = np.sqrt(np.diag(self.belief.response.hessian))
        if not len(made):
            return int(random.choice(rows))
        away = self.pool.z[rows][:, None] - self.pool.z[made][None]
        nearest = np.min(np.sum((away * root) ** 2, axis=2), axis=1)
        return int(rows[np.argmax(nearest + 1e-9 * random.random(len(rows)))])


def walk(
    belief: Belief,
    levels: Levels | None,
    pool: Candidates,
    budget: float,
    *,
    fails: Array,
    omega: float = 0.0,
    policy: Policy | None = None,
    spent: tuple[float, float] = (0.0, 0.0),
    random: np.random.Generator | None = None,
) -> Iterator[Pick]:
    """Runs in the order they should be made, until none fits in the budget; belief and levels move on with each.

    Args:
        budget: FLOPs; a run that costs more than what is left is not chosen.
        fails: probability that each candidate diverges, `(n,)`.
        levels: the best case, where it matters to the decision. omega: worth of a unit of V, in ln loss.
        spent: FLOPs spent so far, and of these on filling.
    """
    policy, random = policy or Policy(), random or np.random.default_rng(0)
    state = _Chooser(belief, levels, pool, fails, omega)
    total, filled = spent
    used = 0.0
    while True:
        open_ = (state.left > 0) & (pool.cost <= budget - used)
        if not open_.any():
            return
        gains = np.where(open_, state.gains(), -np.inf)
        worth = belief.regret + omega * state.variance
        gamma = policy.first if worth > policy.turn else policy.then
        index = int(np.argmax(gains / pool.cost**gamma))
        idle = gains[index] / worth < policy.idle * pool.cost[index] / max(total, pool.cost[index])
        filling = bool(idle or filled < policy.fill * total)
        if filling:
            other = state.emptiest(open_, policy.far, random)
            index = index if other is None else other
        cost, gain = float(pool.cost[index]), float(gains[index])
        state.add(index)
        total, used = total + cost, used + cost
        filled += cost if filling else 0.0
        yield Pick(index, cost, gain, filling, belief.regret, state.variance)
