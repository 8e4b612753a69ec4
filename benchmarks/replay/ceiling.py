"""What a part of a published pool can tell at all: the pool's runs with losses drawn from the whole pool's own answer.

The answer is taken for the truth, so whatever misses here misses for want of FLOPs, and not because the runs bend or follow
another law. `knowing` chooses with that truth in hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scalelaw import allocate
from scalelaw.allocate import Experiment, preferred
from scalelaw.allocate._design import Belief, Grid, choose
from scalelaw.allocate._fill import Stock, expected, fill
from scalelaw.allocate._parametric import LawPath
from scalelaw.allocate._runs import gather
from scalelaw.allocate._start import believed

from .offers import Offer, made_of

__all__ = ["Truth"]


class Truth:
    """The whole pool's answer: `drawn(seed)` is the pool with losses by it, `knowing` a policy that chooses with it."""

    def __init__(self, pool: Offer) -> None:
        self.pool = pool
        self.n, self.c = np.log(pool.trials.numbers("parameters")), np.log(pool.cost)
        whole = allocate(pool.trials, pool.target)
        approach, _ = preferred(whole)
        assert approach is not None
        self.law = approach.path if isinstance(approach.path, LawPath) else None
        self.bowls = expected(whole.approach("approach_2"), 0.003, math.log(pool.target))
        used = [each for each in approach.budgets if each.used]
        self.lowest = np.log([[each.compute, each.lowest] for each in used]).T

    def drawn(self, seed: int) -> Offer:
        """Losses with the noise, and for profiles the scatter of their minima, that the answer states."""
        rng, n, c = np.random.default_rng([seed, 61]), self.n, self.c
        if self.law is not None:
            found, noise = self.law.fit, self.law.fit.residual_sd
            y = np.log(found.predict({"parameters": np.exp(n), "tokens": np.exp(c - n) / self.law.per_token}))
        else:
            bowls, noise = self.bowls, self.bowls.noise
            budgets, place = np.unique(np.round(c, 2), return_inverse=True)
            off = bowls.scatter * rng.standard_normal(len(budgets))[place.reshape(-1)]
            h = np.array([bowls.steepness(float(each)) for each in c])
            u = n - np.array([bowls.best(float(each)) for each in c]) - off
            turn = 1 / (3 * abs(bowls.skew)) if bowls.skew else math.inf
            u = np.where(u * bowls.skew < 0, np.clip(u, -turn, turn), u)
            y = np.interp(c, *self.lowest) + h * (0.5 * u**2 + bowls.skew * u**3)
        y = y + noise * rng.standard_normal(len(n))
        return made_of(self.pool.name, np.exp(n), np.exp(c), np.exp(y), self.pool.target)

    def knowing(self, pool: Offer, _made: NDArray[np.bool_], room: float, _rng: np.random.Generator) -> Sequence[int]:
        """All runs at once, as the criterion has it with the truth known."""
        if self.law is None:
            return fill(self.bowls, Stock(self.n, self.c, pool.cost, np.empty(0), np.empty(0)), room, 500)
        start = believed(pool.target, Experiment(room), gather(self.pool.trials), None, float(self.c.max()) - math.log(6))
        # The truth, with a thousandth of what the whole pool tells, so that the information can be inverted.
        belief = Belief(start.belief.theta[:1], start.belief.information[:1] / 1000, start.belief.noise, start.belief.target)
        d = self.c - math.log(6) - self.n
        return choose(belief, Grid(self.n, d, pool.cost, np.zeros(len(d), dtype=np.intp), np.zeros(len(d))), room, 500)
