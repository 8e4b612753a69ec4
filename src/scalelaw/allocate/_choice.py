"""By what the runs of a ladder are chosen: by the law and for the profiles, or for these alone where they contradict it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from ..fit import Objective
from ._compare import contradiction
from ._design import Grid, best_size, choose, excess, spread
from ._fill import Bowls, Stock, expected, fill
from ._isoflop import isoflop
from ._ladder import Experiment, Known
from ._parametric import parametric
from ._runs import Array, Runs
from ._start import Start

__all__ = ["Best", "Choice", "chosen_by"]

# ln N* as it is believed, at ln(C / k).
Best: TypeAlias = Callable[[float], float]

# Shares of the spend that the law does not choose: an even spread over budgets and sizes, or profiles where some are known.
EVEN, PROFILES = 0.3, 0.5
# Of the interval and the test by which profiles contradict the law: runs are a bet that no later reading takes back.
_LEVEL = 0.95


class Choice(Protocol):
    """A model of the runs to come.

    Args:
        approach: that will read them. noise, degrees, reason: see `Ladder`.
    """

    @property
    def approach(self) -> str: ...
    @property
    def noise(self) -> float: ...
    @property
    def degrees(self) -> float: ...
    @property
    def reason(self) -> str: ...

    def best(self, nd: float) -> float:
        """ln N* as it is believed, at ln(C / k)."""
        ...

    def choose(self, grid: Grid, experiment: Experiment) -> tuple[list[int], int]:
        """Rows of the grid, and how many of them, the first, are not chosen by the law."""
        ...

    def known(self, n: Array, d: Array) -> Known:
        """What is known of the allocation with runs at ln N, ln D more."""
        ...


def chosen_by(start: Start, compute: float, runs: Runs | None, objective: Objective | None) -> Choice:
    """The law, unless the profiles so far contradict it at `compute` or have an answer where it has none."""
    if runs is None:
        return ByLaw(start)
    second, third = isoflop(runs), parametric(runs, objective=objective)
    if second.path is None:
        return ByLaw(start)
    against = "has no answer" if third.path is None else contradiction(second, third, compute, runs.per_token, _LEVEL)
    profiles = ByProfiles(expected(second, start.noise, math.log(compute)), runs, against)
    return profiles if against else ByLaw(start, profiles)


@dataclass(frozen=True, eq=False)
class ByProfiles:
    """For approach 2: whole profiles.

    Args:
        bowls: what is believed of them. runs: so far. against: what they have against the law.
    """

    bowls: Bowls
    runs: Runs
    against: str
    approach: str = "approach_2"

    @property
    def noise(self) -> float:
        """Of ln loss."""
        return self.bowls.noise

    @property
    def degrees(self) -> float:
        """Of the line through the profiles."""
        return self.bowls.degrees

    @property
    def reason(self) -> str:
        """In words."""
        what = f"The choice rests on the profiles of {len(self.runs)} points, as approach_3 {self.against}"
        return f"{what}, with noise of {self.noise:.2%}."

    def best(self, nd: float) -> float:
        """See `Choice.best`."""
        return self.bowls.best(nd + math.log(self.runs.per_token))

    def choose(self, grid: Grid, experiment: Experiment) -> tuple[list[int], int]:
        """See `Choice.choose`; an even spread where the spend pays no profile."""
        rows = self.filled(grid, experiment.spend, experiment.most)
        rows = rows or spread(grid, experiment.spend, experiment.spend, experiment.most)
        return rows, len(rows)

    def filled(self, grid: Grid, spend: float, most: int) -> list[int]:
        """Rows that complete profiles."""
        return fill(self.bowls, Stock(grid.n, np.log(grid.cost), grid.cost, self.runs.n, self.runs.c), spend, most)

    def known(self, n: Array, d: Array) -> Known:
        """See `Choice.known`."""
        c = n + d + math.log(self.runs.per_token)
        return Known(*self.bowls.known(np.append(self.runs.n, n), np.append(self.runs.c, c)))


@dataclass(frozen=True, eq=False)
class ByLaw:
    """For approach 3: what tells most where Chinchilla's law holds, beside profiles or an even spread for where it does not.

    Args:
        start: what is believed of the law. profiles: those so far, None where they say nothing.
    """

    start: Start
    profiles: ByProfiles | None = None
    approach: str = "approach_3"

    @property
    def noise(self) -> float:
        """Of ln loss."""
        return self.start.noise

    @property
    def degrees(self) -> float:
        """Behind the noise."""
        return self.start.degrees

    @property
    def reason(self) -> str:
        """In words."""
        return self.start.reason

    def best(self, nd: float) -> float:
        """See `Choice.best`."""
        return float(best_size(self.start.belief.theta[:1], nd)[0])

    def choose(self, grid: Grid, experiment: Experiment) -> tuple[list[int], int]:
        """See `Choice.choose`."""
        spend, most = experiment.spend, experiment.most
        first = [] if self.profiles is None else self.profiles.filled(grid, PROFILES * spend, int(PROFILES * most))
        first = first or spread(grid, EVEN * spend, spend, most)
        return choose(self.start.belief, grid, spend, most, first), len(first)

    def known(self, n: Array, d: Array) -> Known:
        """See `Choice.known`."""
        belief = self.start.belief
        size, exponent = belief.variance(belief.after(n, d))
        regret = excess(belief.theta, belief.target, size)
        # Over draws the geometric mean, which is what was minimised: an arithmetic one is that of the wildest draw.
        return Known(*(math.exp(float(np.mean(np.log(each)))) for each in (np.sqrt(size), np.sqrt(exponent), regret)))
