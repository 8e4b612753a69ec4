"""Whether the planner's decisions hold in worlds whose truth is known: the band of the regret, and when to stop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw import plan
from scalelaw.plan._ahead import Ahead
from scalelaw.plan._belief import Belief
from scalelaw.plan._decide import stop_at
from scalelaw.plan._propose import Known, known, propose
from scalelaw.plan._select import walk
from scalelaw.testing.surfaces import Surface, axes

from .game import GROWTH, recommended
from .pools import WORLDS, Pool

__all__ = ["band", "speed", "stop"]

Array: TypeAlias = NDArray[np.float64]

STAGES = (0.01, 0.02, 0.05, 0.1, 0.2)


class _Path:
    """One study growing by the planner's own choices: the runs made, their cost, and what they support."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self.pool, self.seed = pool, seed
        self.made = np.zeros(len(pool.cost), dtype=bool)
        self.spent, self.filled = 0.0, 0.0

    def to(self, end: float) -> None:
        """Buy until so many FLOPs are spent."""
        while self.spent < end and self.more(min(end - self.spent, max((GROWTH - 1) * self.spent, 0.05 * end))):
            pass

    def more(self, batch: float) -> bool:
        """Buy one batch; False where nothing is left that it can pay."""
        pool = self.pool
        picks = propose(
            pool.trials.where(self.made),
            pool.candidates(self.made),
            pool.targets,
            batch,
            spent=(self.spent, self.filled),
            seed=self.seed,
        )
        for pick in picks:
            self.made[pick.index] = True
            self.spent += pick.cost
            self.filled += pick.cost if pick.filling else 0.0
        return bool(picks)

    def state(self) -> Known | None:
        """The bowls so far."""
        return known(self.pool.trials.where(self.made), self.pool.over, self.pool.hyper)

    def regret(self) -> Array:
        """Share of the loss truly lost at the targets, `(targets,)`."""
        return self.pool.judge(recommended(self.pool, self.pool.trials.where(self.made))) / 100


def _ahead(state: Known, path: _Path, target: int) -> tuple[Ahead, Belief]:
    candidates = path.pool.candidates(path.made)
    belief = state.belief(candidates, [path.pool.targets[target]])
    return Ahead(state.response, path.pool.targets[target], belief, np.log(2.0)), belief


def band(seeds: int) -> list[str]:
    """How often the realised regret lies in the stated 90 % band: as stated now, and as foreseen from half the spend."""
    lines = ["| world | spend | now | foreseen from half | mean stated, % | mean realised, % |", "|---|---|---|---|---|---|"]
    every: list[bool] = []
    foreseen_all: list[bool] = []
    for name, world in WORLDS.items():
        rows = {share: ([], [], [], []) for share in STAGES}
        for seed in range(seeds):
            path = _Path(world.draw(seed), seed)
            for share in STAGES:
                end = share * path.pool.total
                path.to(0.5 * end)
                before = _foreseen(path, end)
                path.to(end)
                state = path.state()
                if state is None:
                    continue
                truth = path.regret()
                for k, true in enumerate(truth):
                    ahead, belief = _ahead(state, path, k)
                    draws = ahead.draws(belief)
                    low, high = np.quantile(draws, (0.05, 0.95))
                    inside, told, stated, real = rows[share]
                    inside.append(low <= true <= high)
                    stated.append(ahead.expected(belief))
                    real.append(float(true))
                    if before is not None:
                        told.append(before[k][0] <= true <= before[k][1])
        for share, (inside, told, stated, real) in rows.items():
            every += inside
            foreseen_all += told
            cells = (
                f"{np.mean(inside):.2f}",
                f"{np.mean(told):.2f}",
                f"{100 * np.mean(stated):.2f}",
                f"{100 * np.mean(real):.2f}",
            )
            lines.append(f"| {name} | {share:.0%} | " + " | ".join(cells) + " |")
    lines.append(f"| all | | {np.mean(every):.3f} | {np.mean(foreseen_all):.3f} | aim 0.85 to 0.95 | |")
    return lines


def _foreseen(path: _Path, end: float) -> list[tuple[float, float]] | None:
    """The band at each target after fantasies up to so many FLOPs; None while no bowl can be told."""
    state = path.state()
    if state is None:
        return None
    found: list[tuple[float, float]] = []
    for k in range(len(path.pool.targets)):
        ahead, belief = _ahead(state, path, k)
        candidates = path.pool.candidates(path.made)
        steps = walk(belief, None, candidates, end - path.spent, fails=state.fails(candidates), spent=(path.spent, path.filled))
        for _ in itertools.islice(steps, 200):
            pass
        low, high = np.quantile(ahead.draws(belief), (0.05, 0.95))
        found.append((float(low), float(high)))
    return found


# The target's own run costs so many times the whole pool, and 1 % of its loss is worth so much of its compute.
PRICES = ((0.3, 0.1), (1.0, 0.1), (3.0, 0.1))


def stop(seeds: int) -> list[str]:
    """Where the stop rule ends a study, over where hindsight would have ended it, on average over repeats of the same world.

    Hindsight knows the mean true regret along the planner's own path, over the repeats: its best budget is where
    s + C_T R(s) / slope is least. The rule sees only the runs.
    """
    lines = [
        "| world | target's cost, pools | median of stop / best | quartiles | total at stop / least total |",
        "|---|---|---|---|---|",
    ]
    ratios_all: list[float] = []
    for name, world in itertools.islice(WORLDS.items(), 5):
        paths = [_walked(world.draw(seed), seed) for seed in range(seeds)]
        for pools, slope in PRICES:
            ratio, excess = _judged(paths, pools, slope)
            ratios_all += list(ratio)
            low, middle, high = np.quantile(ratio, (0.25, 0.5, 0.75))
            lines.append(f"| {name} | {pools:g} | {middle:.2f} | {low:.2f} to {high:.2f} | {np.mean(excess):.2f} |")
    lines.append(f"| all | | {np.median(ratios_all):.2f} (aim 0.75 to 1.25) | | |")
    return lines


def _walked(pool: Pool, seed: int) -> list[tuple[float, float, Known | None, _Path]]:
    """(share spent, true regret, what was known, the path's copy) at each batch."""
    path = _Path(pool, seed)
    found: list[tuple[float, float, Known | None, _Path]] = []
    while path.spent < 0.9 * pool.total:
        if not path.more(max(0.2 * path.spent, 0.002 * pool.total)):
            break
        copy = _Path(pool, seed)
        copy.made, copy.spent, copy.filled = path.made.copy(), path.spent, path.filled
        found.append((path.spent / pool.total, float(path.regret().mean()), path.state(), copy))
    return found


def _judged(paths: list[list[tuple[float, float, Known | None, _Path]]], pools: float, slope: float) -> tuple[Array, Array]:
    grid = np.geomspace(0.002, 0.9, 60)
    regrets = np.mean(
        [np.interp(np.log(grid), np.log([s for s, *_ in path]), [r for _, r, *_ in path]) for path in paths], axis=0
    )
    total = grid + pools * regrets / slope
    best = grid[int(np.argmin(total))]
    ratio, excess = [], []
    for path in paths:
        share = next(
            (s for s, _, state, at in path if state is not None and not _worth_more(state, at, pools, slope)), path[-1][0]
        )
        ratio.append(share / best)
        excess.append(np.interp(np.log(share), np.log(grid), total) / total.min())
    return np.array(ratio), np.array(excess)


def _worth_more(state: Known, path: _Path, pools: float, slope: float) -> bool:
    """The planner's rule: whether some stretch of the path ahead wins more than it costs."""
    totals = list(_totals(state, path, pools, slope))
    return stop_at(range(len(totals)), totals) > 0


def _totals(state: Known, path: _Path, pools: float, slope: float) -> Iterator[float]:
    pool = path.pool
    candidates = pool.candidates(path.made)
    belief = state.belief(candidates, pool.targets)
    ahead, single = _ahead(state, path, 0)
    tau = 0.5 * float(np.diag(state.response.hessian_at(pool.targets[0])) @ ahead.tau**2)
    scale = ahead.expected(single) / max(single.regret + tau, 1e-12)
    spent = 0.0
    yield pools * scale * (belief.regret + tau) / slope
    steps = walk(belief, None, candidates, pool.total, fails=state.fails(candidates), spent=(path.spent, path.filled))
    for pick in itertools.islice(steps, 150):
        spent += pick.cost / pool.total
        yield spent + pools * scale * (pick.regret + tau) / slope
        if spent > 1.0:
            return


def speed(_: int) -> list[str]:
    """A plan over 10,000 candidates from 2,000 runs, and one from 400 runs: wall time, one thread, in this process."""
    lines = ["| runs so far | candidates | median of 5 | least | aim |", "|---|---|---|---|---|"]
    for points, seeds in ((12, 3), (40, 5)):
        surface = Surface(axes=axes(1, learning_rate={"points": points, "step": 4.0 / points}), sizes=10, seeds=seeds)
        trials, _ = surface.draw(np.random.default_rng(0))
        trials = trials.with_column("compute", 6e4 * trials.numbers("width") ** 2)
        spent: list[float] = []
        offered = 0
        for _ in range(5):
            start = time.perf_counter()
            found = plan(trials, {"width": 4 * float(trials.numbers("width").max())}, 1e13)
            spent.append(time.perf_counter() - start)
            offered = len(found.offered[0])
        lines.append(f"| {len(trials):,} | {offered:,} | {np.median(spent):.2f} s | {min(spent):.2f} s | 3 s |")
    return lines
