"""Compute-optimal allocation from bought runs: a and N* against what the whole pool says, by ways of choosing the runs.

A pool is a published experiment, a row per run with N, D, its compute and its loss. A policy buys rows until a share of the
pool's FLOPs is spent, `allocate` reads what was bought, and an answer is inside where it lies in the 90 % interval of the whole
pool, for the exponent a and for N* at the target. Whole and part are read the same way: by the approach that `allocate` builds by
(`preferred`, which may be another for the part), by approach 2, and by approach 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw import Trials, allocate
from scalelaw.allocate import Allocation, Approach, Experiment, pin, preferred
from scalelaw.allocate._design import slopes
from scalelaw.allocate._runs import budgets_of, gather
from scalelaw.allocate._start import believed
from scalelaw.errors import ScalelawError

from .ceiling import Truth
from .offers import WORLDS, Offer, published

__all__ = ["POLICIES", "SHARES", "allocation", "allocation_worlds", "replayed"]

Array: TypeAlias = NDArray[np.float64]
Made: TypeAlias = NDArray[np.bool_]

SHARES = (0.05, 0.1, 0.15, 0.3)
# Each share is a game of its own, as a spend is known beforehand. Policies that look at losses buy the first of these parts of it
# the cheapest first, and the rest in turns that begin with a look.
_PARTS = (0.2, 0.5, 1.0)
READINGS = ("preferred", "approach_2", "approach_3")
# No answer, or one further off than this, counts as this factor.
_WORST = math.log(100.0)


# (pool, made, FLOPs left, random numbers) -> rows in the order in which they are bought
Choice: TypeAlias = Callable[[Offer, Made, float, np.random.Generator], Sequence[int]]


def ours(pool: Offer, made: Made, room: float, _: np.random.Generator) -> Sequence[int]:
    """`pin` from the runs that are left."""
    left = np.flatnonzero(~made)
    if pool.cost[left].min() > room:
        return []
    offered = _scales(pool.trials.where(~made))
    found = pin(pool.target, Experiment(room, most=500, offered=offered), pool.trials.where(made))
    return [int(left[rung.row]) for rung in found.runs if rung.row is not None]


def d_optimal(pool: Offer, made: Made, room: float, _: np.random.Generator) -> Sequence[int]:
    """The run that adds most to ln det of the information on the law, per FLOP^0.5, as believed by the same refits."""
    top = math.log(min(room, float(pool.cost.max())) / 6)
    belief = believed(pool.target, Experiment(room), gather(pool.trials.where(made)), None, top).belief
    n, d = np.log(pool.trials.numbers("parameters")), np.log(pool.trials.numbers("tokens"))
    J, information = slopes(belief.theta, n, d) / belief.noise, belief.information
    free, rows = ~made, list[int]()
    while (open_ := free & (pool.cost <= room)).any():
        gain = np.mean(np.log1p(np.einsum("kmi,kij,kmj->km", J, np.linalg.inv(information), J)), axis=0)
        row = int(np.argmax(np.where(open_, gain / pool.cost**0.5, -np.inf)))
        rows.append(row)
        free[row] = False
        room -= float(pool.cost[row])
        information = information + np.einsum("ki,kj->kij", J[:, row], J[:, row])
    return rows


def random(pool: Offer, made: Made, room: float, rng: np.random.Generator) -> Sequence[int]:
    """Any run with equal chance."""
    return _afford(pool, made, room, rng.permutation(len(made)))


def uniform(pool: Offer, made: Made, room: float, rng: np.random.Generator) -> Sequence[int]:
    """The budgets in turn, the one with the fewest runs first and the cheapest of these; any run of it."""
    order, turn = rng.permutation(len(made)), np.zeros(len(made))
    for group in budgets_of(np.log(pool.cost)):
        rows = order[np.isin(order, group)]
        rows = np.concatenate([rows[made[rows]], rows[~made[rows]]])
        turn[rows] = np.arange(len(rows))
    return _afford(pool, made, room, np.lexsort((pool.cost, turn)))


def cheapest(pool: Offer, made: Made, room: float, rng: np.random.Generator) -> Sequence[int]:
    """The cheapest first; any of equal cost."""
    return _afford(pool, made, room, np.lexsort((rng.random(len(made)), pool.cost)))


POLICIES: dict[str, Choice] = {
    "scalelaw": ours,
    "random": random,
    "uniform over budgets": uniform,
    "cheapest first": cheapest,
    "D-optimal": d_optimal,
}
# Those that look at losses.
_LOOKING = (ours, d_optimal)


def _afford(pool: Offer, made: Made, room: float, order: NDArray[np.intp]) -> list[int]:
    """Runs in order, those passed over that no longer fit."""
    rows: list[int] = []
    for row in order:
        if not made[row] and pool.cost[row] <= room:
            rows.append(int(row))
            room -= float(pool.cost[row])
    return rows


def _scales(trials: Trials) -> Trials:
    """Without losses."""
    return Trials.from_columns({name: trials.numbers(name) for name in ("parameters", "tokens", "compute")})


def bought(pool: Offer, choice: Choice, seed: int, share: float) -> Made:
    """Which runs are made when the share is spent."""
    rng, made, total = np.random.default_rng([seed, 5]), np.zeros(len(pool.cost), dtype=bool), float(pool.cost.sum())
    for part in _PARTS if choice in _LOOKING else (1.0,):
        room = part * share * total - float(pool.cost[made].sum())
        begun = made.any() or choice not in _LOOKING
        made[list((choice if begun else cheapest)(pool, made, room, rng))] = True
    return made


def reading(found: Allocation, name: str) -> Approach | None:
    """The approach behind a reading, None where it has no answer."""
    approach = preferred(found)[0] if name == "preferred" else found.approach(name)
    return None if approach is None or approach.parameters is None or approach.exponent is None else approach


def judged(pool: Offer, whole: Allocation, made: Made) -> Array:
    """Of each reading: a inside, N* inside, |ln N* ratio| to the whole pool's, `(readings, 3)`; NaN where that has no answer."""
    result = np.full((len(READINGS), 3), np.nan)
    try:
        part = allocate(pool.trials.where(made), pool.target)
    except ScalelawError:
        part = None
    for place, name in enumerate(READINGS):
        all_, here = reading(whole, name), None if part is None else reading(part, name)
        if all_ is None:
            continue
        result[place] = (0.0, 0.0, _WORST)
        if here is not None:
            (n, a), (size, slope) = (all_.parameters, all_.exponent), (here.parameters, here.exponent)
            assert n is not None
            assert a is not None
            assert size is not None
            assert slope is not None
            away = min(abs(math.log(size.value / n.value)), _WORST)
            result[place] = (a.low <= slope.value <= a.high, n.low <= size.value <= n.high, away)
    return result


def replayed(draw: Callable[[int], Offer], seeds: int, policies: Sequence[str] = tuple(POLICIES)) -> dict[str, Array]:
    """`judged` by policy, `(seeds, shares, readings, 3)`; a seed plays one pool by all policies."""
    found: dict[str, list[list[Array]]] = {name: [] for name in policies}
    for seed in range(seeds):
        pool = draw(seed)
        whole = allocate(pool.trials, pool.target)
        for name in policies:
            found[name].append([judged(pool, whole, bought(pool, POLICIES[name], seed, share)) for share in SHARES])
    return {name: np.array(each) for name, each in found.items()}


def allocation(seeds: int) -> list[str]:
    """The published pools, each and all together, and what 15 % of them can tell."""
    pools = published()
    wholes = [allocate(pool.trials, pool.target) for pool in pools]
    found = [replayed(lambda _, pool=pool: pool, seeds) for pool in pools]
    together = {name: np.stack([each[name] for each in found]) for name in POLICIES}
    lines = ["The whole pools, with 90 % intervals:", "", *_whole(pools, wholes)]
    lines += ["", f"At 15 % of the FLOPs, `preferred`, {seeds} seeds: {_CELL}:", "", *_each(pools, found)]
    lines += ["", f"What 15 % can tell at all, `preferred`, {seeds} seeds: {_CELL}:", "", *_ceiling(pools, seeds)]
    lines += [
        "",
        f"The least share at which a and N* are both inside in 90 % of seeds, `preferred`: {_LEAST}",
        "",
        *_least(pools, found),
    ]
    lines += ["", f"All published pools together, by reading and share of the FLOPs: {_CELL}:", "", *_together(together)]
    return lines


def allocation_worlds(seeds: int) -> list[str]:
    """Simulated pools, on which choices and constants were made."""
    lines = [f"{_CELL[0].upper()}{_CELL[1:]}:"]
    for name, draw in WORLDS.items():
        lines += ["", f"Simulated, {name}:", "", *_together({key: each[None] for key, each in replayed(draw, seeds).items()})]
    return lines


_CELL = "percent of answers with a inside, with N* inside; mean, median and 90th percentile of \\|ln N* ratio\\|"
_LEAST = "of 5, 10, 15 and 30 %."


def _head(names: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]


def _whole(pools: Sequence[Offer], wholes: Sequence[Allocation]) -> list[str]:
    lines = _head(["pool", "runs", "target, FLOPs", *READINGS])
    for pool, whole in zip(pools, wholes, strict=True):
        cells = [_told(reading(whole, name)) for name in READINGS]
        lines.append(f"| {pool.name} | {len(pool.trials)} | {pool.target:.3g} | " + " | ".join(cells) + " |")
    return lines


def _told(approach: Approach | None) -> str:
    if approach is None or approach.exponent is None or approach.parameters is None:
        return "none"
    a, n = approach.exponent, approach.parameters
    return f"{approach.name[-1]}: a {a.value:.3f} ({a.low:.3f} to {a.high:.3f}), N* {n.value:.3g} ({n.low:.3g} to {n.high:.3g})"


def _cell(values: Array) -> str:
    """Of `(answers, 3)`."""
    values = values[~np.isnan(values[:, 0])]
    if not len(values):
        return "none"
    inside, away = 100 * values[:, :2].mean(axis=0), values[:, 2]
    return f"{inside[0]:.0f}, {inside[1]:.0f}; {away.mean():.3f}, {np.median(away):.3f}, {np.quantile(away, 0.9):.3f}"


def _each(pools: Sequence[Offer], found: Sequence[dict[str, Array]]) -> list[str]:
    lines, share = _head(["pool", *POLICIES]), SHARES.index(0.15)
    for pool, each in zip(pools, found, strict=True):
        lines.append(f"| {pool.name} | " + " | ".join(_cell(values[:, share, 0]) for values in each.values()) + " |")
    return lines


def _ceiling(pools: Sequence[Offer], seeds: int) -> list[str]:
    """With losses drawn from each whole pool's own answer, at 15 %."""
    lines, share = _head(["pool", "knowing the answer", "scalelaw", "cheapest first"]), 0.15
    every: list[list[Array]] = [[], [], []]
    for pool in pools:
        truth = Truth(pool)
        found: list[list[Array]] = [[], [], []]
        for seed in range(seeds):
            drawn = truth.drawn(seed)
            whole = allocate(drawn.trials, drawn.target)
            for place, choice in enumerate((truth.knowing, ours, cheapest)):
                found[place].append(judged(drawn, whole, bought(drawn, choice, seed, share))[0])
        lines.append(f"| {pool.name} | " + " | ".join(_cell(np.array(each)) for each in found) + " |")
        for all_, each in zip(every, found, strict=True):
            all_ += each
    return [*lines, "| all | " + " | ".join(_cell(np.array(each)) for each in every) + " |"]


def _least(pools: Sequence[Offer], found: Sequence[dict[str, Array]]) -> list[str]:
    lines = _head(["pool", *POLICIES])
    for pool, each in zip(pools, found, strict=True):
        cells: list[str] = []
        for values in each.values():
            held = [share for k, share in enumerate(SHARES) if np.mean(values[:, k, 0, :2].all(axis=1)) >= 0.9]
            cells.append(f"{held[0]:.0%}" if held else "more")
        lines.append(f"| {pool.name} | " + " | ".join(cells) + " |")
    return lines


def _together(found: dict[str, Array]) -> list[str]:
    """Of `(pools, seeds, shares, readings, 3)` by policy."""
    lines = _head(["reading", "policy", *(f"{share:.0%}" for share in SHARES)])
    for place, name in enumerate(READINGS):
        for policy, values in found.items():
            cells = [_cell(values[:, :, k, place].reshape(-1, 3)) for k in range(len(SHARES))]
            lines.append(f"| {name} | {policy} | " + " | ".join(cells) + " |")
    return lines
