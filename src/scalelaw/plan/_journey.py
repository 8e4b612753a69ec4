"""The path of fantasies: which runs, in what order, and where it should end."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..forecast import Forecast
from ..trials import Trials
from ._ahead import Ahead
from ._belief import Belief, Offers
from ._candidates import Candidates
from ._costs import Costs
from ._decide import FAR, Goal, Worth, stop_at
from ._levels import Levels
from ._price import Price
from ._propose import Known
from ._recipe import Limits
from ._result import Rung, Spend
from ._select import Pick, Policy, walk

__all__ = ["Journey", "Question", "reason"]

Array: TypeAlias = NDArray[np.float64]

# Share of the loss that a predicted setting may be expected to lose: where the safe ratio ends.
_TOLERANCE = 0.02
# The curve has a row each time the spend has grown by this factor; the path ends long after its cheapest end was passed.
_ROWS, _LONGEST, _PAST = 1.5, 400, 3.0


@dataclass(frozen=True)
class Question:
    """What is asked: where, with how much, within which limits."""

    target: Mapping[str, float]
    budget: float
    costs: Costs
    limits: Limits
    goal: float | None
    price: Price
    level: float
    seed: int
    spent: float


def chance(trials: Trials, loss: float) -> float:
    """ln loss of a run that learns nothing over a good one: by the initial losses where they are told, else a factor of two."""
    if "initial_loss" in trials:
        first = trials.numbers("initial_loss")
        if np.isfinite(first).any():
            return math.log(max(float(np.nanmedian(first)) / loss, 1.1))
    return math.log(2.0)


class Journey:
    """The path of fantasies from what is known now."""

    def __init__(
        self, state: Known, pool: Candidates, question: Question, found: Forecast, worth: Worth, goal: Goal | None
    ) -> None:
        self._state, self._pool, self._question, self._worth, self._goal = state, pool, question, worth, goal
        self._levels = Levels(found.stack, state.edge, pool.points, [question.target])
        self._belief = state.belief(pool, [question.target], self._levels)
        self._untouched = self._belief.copy()
        self._ahead = Ahead(state.response, question.target, self._belief, chance(state.edge.source, found.loss))
        self._largest = max((bowl.point for bowl in state.response.bowls), key=question.costs.at)
        self._luck = 1.645 * found.sd_log
        self._fails = state.fails(pool)
        self._variance = self._levels.variance
        self._floor = 0.5 * float(np.diag(state.response.hessian_at(question.target)) @ self._ahead.tau**2)
        self.first_gains = self._gains()
        self._scale = self._ahead.expected(self._belief) / max(self._belief.regret + self._floor, 1e-12)
        self.picks: list[Pick] = []
        self.curve: list[Spend] = []
        self._lows: dict[int, Belief] = {}
        self.spend, self.total = [0.0], [self._total(0.0, self._belief.regret, self._variance)]
        self.curve.append(self._row(0, self._belief))

    def _gains(self) -> Array:
        pool = self._pool
        gains = Offers(self._belief, pool.cell, pool.z, pool.repeats).gains()
        return np.where(pool.left > 0, gains, 0.0) * (1.0 - self._fails)

    def _total(self, spend: float, regret: float, variance: float) -> float:
        """FLOPs spent and FLOPs lost at the target, less what a better decision to go is worth."""
        gained = 0.0 if self._goal is None else self._goal.value(self._variance, variance)
        return spend + self._worth.flops(self._expected(regret) - gained)

    def _expected(self, regret: float) -> float:
        """Expected share of the loss lost, from the belief's linear regret."""
        return self._scale * (regret + self._floor)

    def go(self) -> None:
        """Walk until the budget is used up, or the path leads far past its best end."""
        # The goal knows the forecast's own variance; the levels' are its shares.
        omega = 0.0 if self._goal is None else self._goal.omega * self._goal.sd**2 / self._variance
        path = walk(
            self._belief,
            self._levels,
            self._pool,
            self._question.budget,
            fails=self._fails,
            omega=omega,
            spent=(self._question.spent, Policy().fill * self._question.spent),
            random=np.random.default_rng([self._question.seed, len(self._state.edge.source)]),
        )
        for pick in itertools.islice(path, _LONGEST):
            self.picks.append(pick)
            self.spend.append(self.spend[-1] + pick.cost)
            self.total.append(self._total(self.spend[-1], pick.regret, pick.variance))
            if len(self.curve) < 2 or self.spend[-1] >= _ROWS * self.curve[-1].spend:
                self.curve.append(self._row(len(self.picks), self._belief))
            if self.total[-1] == min(self.total):
                self._lows[len(self.picks)] = self._belief.copy()
            best = self.spend[int(np.argmin(self.total))]
            if len(self.picks) > 24 and self.spend[-1] > _PAST * max(best, 0.02 * self._worth.cost):
                break
        if self.picks and self.curve[-1].runs < len(self.picks):
            self.curve.append(self._row(len(self.picks), self._belief))
        if self.stop not in {each.runs for each in self.curve}:
            bisect.insort(self.curve, self._row(self.stop, self._lows[self.stop]), key=lambda each: each.runs)

    def _row(self, runs: int, belief: Belief) -> Spend:
        """What so many runs of the path bring."""
        draws = self._ahead.draws(belief)
        low, high = (float(each) for each in np.quantile(draws, (0.05, 0.95)))
        return Spend(
            self.spend[runs],
            runs,
            self._ahead.expected(belief),
            low,
            high,
            float(np.mean(draws > self._luck)),
            self._ahead.safe_ratio(belief, self._largest, _TOLERANCE),
            self.total[runs],
        )

    @property
    def stop(self) -> int:
        """Runs after which the total is least; it has a row of its own in the curve."""
        return stop_at(self.spend, self.total)

    def saved(self, runs: int) -> float:
        """FLOPs that the first runs of the path win, their cost not yet taken off."""
        return self.total[0] - self.total[runs] + self.spend[runs]

    def sweep(self, cell: int, budget: float) -> tuple[list[Pick], float]:
        """A small sweep at one scale, 2 m + 1 runs, and the expected regret after it."""
        pool, belief = self._pool, self._untouched.copy()
        rows = np.flatnonzero(pool.cell == cell)
        part = pool.only(rows)
        path = walk(belief, None, part, budget, fails=self._fails[rows], policy=Policy(fill=0.0, idle=0.0))
        picks = list(itertools.islice(path, 2 * len(pool.hyper) + 1))
        named = [Pick(int(rows[each.index]), each.cost, each.gain, each.filling, each.regret, each.variance) for each in picks]
        return named, self._ahead.expected(belief)

    def rungs(self) -> list[Rung]:
        """The value of a sweep at every scale beyond the data, whatever the budget."""
        found: list[Rung] = []
        top = self._question.costs.at(self._largest) * (1 + 1e-9)
        for cell, point in enumerate(self._pool.points):
            if self._question.costs.at(point) <= top:
                continue
            picks, regret = self.sweep(cell, math.inf)
            if not picks:
                continue  # all of its runs were made
            cost = sum(pick.cost for pick in picks)
            worth = self._worth.flops(self.curve[0].regret - regret)
            found.append(Rung(point, len(picks), cost, regret, worth, worth - cost))
        return found

    def nearest_rung(self, checked: float) -> list[Pick]:
        """The cheapest sweep beyond the data from which the target lies within the reach that was checked.

        Args:
            checked: how many times the largest size forecasts were checked over. Where the budget allows no such sweep, the
                largest it allows is taken; nothing where it allows none.
        """
        top = self._question.costs.at(self._largest) * (1 + 1e-9)
        price = [self._question.costs.at(point) for point in self._pool.points]
        count = 2 * len(self._pool.hyper) + 1
        left = np.bincount(self._pool.cell, weights=self._pool.left, minlength=len(price))
        inside = [c for c, each in enumerate(price) if top < each and count * each <= self._question.budget and left[c] >= count]
        if not inside:
            return []
        target = self._question.target
        near = [c for c in inside if max(target[name] / self._pool.points[c][name] for name in target) <= checked * FAR]
        chosen = min(near, key=lambda c: price[c]) if near else max(inside, key=lambda c: price[c])
        return self.sweep(chosen, self._question.budget)[0]

    def go_no_go(self, goal: Goal) -> dict[str, float]:
        """Chance that the target reaches the goal, and what the plan's runs add to that decision, in FLOPs."""
        after = self.picks[self.stop - 1].variance if self.stop else self._variance
        value = self._worth.flops(goal.value(self._variance, after))
        return {"probability": goal.probability, "margin": goal.margin, "sd": goal.sd, "value": value}


def reason(journey: Journey, picks: Sequence[Pick], rungs: Sequence[Rung], question: Question) -> str:
    """Why the decision is what it is, in a sentence."""
    price, now = question.price, journey.curve[0].regret
    if picks:
        n = len(picks)
        then = next(each.regret for each in journey.curve if each.runs == n)
        return (
            f"{n} {'runs' if n > 1 else 'run'} for {price.words(journey.spend[n])} should take the expected regret from "
            f"{now:.3%} to {then:.3%} of the loss, worth {price.words(journey.saved(n))} at the target."
        )
    offers = [(journey.spend[n], journey.saved(n)) for n in range(1, len(journey.spend))]
    offers += [(rung.cost, rung.worth) for rung in rungs]
    lost = f"The settings are expected to lose {now:.2%} of the loss at the target"
    if not offers:
        return f"{lost}; no run that is allowed fits in the budget."
    cost, worth = max(offers, key=lambda each: each[1] / each[0])
    words = f"{lost}; what comes next would cost {price.words(cost)} and win back {price.words(max(worth, 0.0))}"
    return f"{words}: too little to tell from nothing." if worth > cost else f"{words}."
