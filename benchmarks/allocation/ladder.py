"""How well the proposed ladder of runs pins N*, against runs of the same cost laid out plainly or at random, in known worlds.

Every world draws a truth near the prior of `pin`, the ladder is proposed without knowing it, the runs are drawn with noise, and
N* at a hundred times the spend is read by approach 3, and by the approach that `allocate` prefers (approach 2 where approach 3
contradicts it). The stated error is what the proposal promises before any of its runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from scalelaw import Trials, allocate
from scalelaw.allocate import Experiment, Ladder, pin, preferred
from scalelaw.estimate import quantile_t

from .worlds import wall

SPEND, TARGET, NOISE = 1e19, 1e21, 0.005
LOW = math.log(SPEND / 1000 / 6)
REACH = math.log(8)

Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
Points = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class World:
    """ln L at (ln N, ln D), and ln N* at ln(C / 6)."""

    log_loss: Loss
    best: Callable[[float], float]

    def regret(self, n: float) -> float:
        """Relative excess loss of training at ln N with TARGET."""
        nd, star = math.log(TARGET / 6), self.best(math.log(TARGET / 6))
        here, there = self.log_loss(np.array([n, star]), nd - np.array([n, star]))
        return math.expm1(here - there)


def lawful(rng: np.random.Generator) -> World:
    """Chinchilla's law: exponents 0.28 to 0.45, and terms within about a factor 1.5 of the published ones where the runs lie."""
    alpha, beta = rng.uniform(0.28, 0.45, 2)
    E = rng.uniform(1.5, 2.2)
    n, d = math.log(1.2e7), math.log(1.4e9)
    A = math.log(482.01) - 0.3478 * n + 0.4 * rng.standard_normal()
    B = math.log(2085.43) - 0.3658 * d + 0.4 * rng.standard_normal()

    def log_loss(x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.log(E + np.exp(A - alpha * (x - n)) + np.exp(B - beta * (z - d)))

    def best(nd: float) -> float:
        return (math.log(alpha) + A + alpha * n - math.log(beta) - B - beta * d + beta * nd) / (alpha + beta)

    return World(log_loss, best)


def walled(rng: np.random.Generator) -> World:
    """A law with a steep side that Chinchilla's lacks (`worlds.wall`), N* ~ C^a exactly."""
    a, decay = rng.uniform(0.4, 0.6), rng.uniform(0.13, 0.18)
    E, K, first = rng.uniform(1.5, 2.2), rng.uniform(1.5, 2.5), math.log(2.5e7) + 0.7 * rng.standard_normal()

    def best(nd: float) -> float:
        return first + a * (nd - LOW)

    def log_loss(x: np.ndarray, z: np.ndarray) -> np.ndarray:
        nd = x + z
        return np.log(E + K * np.exp(-decay * (nd - LOW)) * wall(x - (first + a * (nd - LOW))))

    return World(log_loss, best)


def ran(world: World, points: Points, rng: np.random.Generator) -> Trials:
    """One run at each of the points (ln N, ln D)."""
    n, d = points
    y = world.log_loss(n, d) + NOISE * rng.standard_normal(len(n))
    return Trials.from_columns({"parameters": np.exp(n), "tokens": np.exp(d), "compute": 6 * np.exp(n + d), "loss": np.exp(y)})


def pilot(world: World, rng: np.random.Generator) -> Trials:
    """Three budgets of five sizes about the published optimum, for 1 % of the spend."""
    n, d = plain(pin(TARGET, Experiment(0.02 * SPEND)))
    keep = np.arange(35).reshape(5, 7)[::2, 1:6].ravel()
    return ran(world, (n[keep], d[keep]), rng)


def plain(ladder: Ladder) -> Points:
    """The isoFLOP grid of the ladder's cost, about the optimum that the ladder was laid about."""
    return np.log([each.parameters for each in ladder.plain]), np.log([each.tokens for each in ladder.plain])


def random_runs(ladder: Ladder, rng: np.random.Generator) -> Points:
    """Budgets and sizes drawn evenly in logarithm over the ranges of that grid, until the spend is used up."""
    n, d = plain(ladder)
    slope, level = np.polyfit(n + d, n, 1)
    low, high = float((n + d).min()), float((n + d).max())
    costs: list[float] = []
    while (left := SPEND - sum(costs)) > 6 * math.exp(low):
        costs.append(min(6 * math.exp(rng.uniform(low, high)), left))
    nd = np.log(np.array(costs) / 6)
    sizes = level + slope * nd + REACH * rng.uniform(-1, 1, len(nd))
    return sizes, nd - sizes


@dataclass
class Score:
    """What came of one design."""

    errors: list[float] = field(default_factory=list)
    chosen: list[float] = field(default_factory=list)
    regrets: list[float] = field(default_factory=list)
    stated: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)
    asked: int = 0

    def add(self, world: World, table: Trials, stated: float, degrees: float) -> None:
        """One world."""
        self.asked += 1
        self.runs.append(len(table))
        found = allocate(table, TARGET)
        size, (best, _) = found.approach("approach_3").parameters, preferred(found)
        if size is None or best is None or best.parameters is None:
            return
        star = world.best(math.log(TARGET / 6))
        error = math.log(size.value) - star
        self.errors.append(error)
        self.chosen.append(math.log(best.parameters.value) - star)
        self.regrets.append(world.regret(math.log(best.parameters.value)))
        self.stated.append(stated)
        self.inside.append(abs(error) <= quantile_t(0.95, min(degrees, 1e6)) * stated)

    def row(self) -> tuple[str, ...]:
        """As it is printed."""
        if not self.errors:
            return (f"{np.median(self.runs):.0f}", f"0 of {self.asked}", *[""] * (len(HEAD) - 5))
        regret = 100 * np.quantile(self.regrets, [0.5, 0.9])
        promised = not math.isnan(self.stated[0])
        return (
            f"{np.median(self.runs):.0f}",
            f"{len(self.errors)} of {self.asked}",
            f"{_rms(self.errors):.3f}",
            f"{_rms(self.stated):.3f}" if promised else "",
            f"{np.mean(self.inside):.0%}" if promised else "",
            f"{_rms(self.chosen):.3f}",
            f"{regret[0]:.4f}",
            f"{regret[1]:.4f}",
        )


def _rms(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


HEAD = (
    "world",
    "before",
    "design",
    "runs",
    "answers",
    "rmse of ln N*, approach 3",
    "stated",
    "covers, of 90 %",
    "rmse, preferred",
    "median regret, %",
    "90 % of regrets, %",
)


def rows(worlds: int) -> Iterator[tuple[str, ...]]:
    """The table's rows."""
    for name, kind in (("Chinchilla", lawful), ("wall", walled)):
        for before in ("nothing", "15 small runs"):
            scores = {design: Score() for design in ("ladder", "isoFLOP", "random")}
            for seed in range(worlds):
                _one(kind, before, seed, scores)
            for design, score in scores.items():
                yield (name, before, design, *score.row())


def _one(kind: Callable[[np.random.Generator], World], before: str, seed: int, scores: dict[str, Score]) -> None:
    rng = np.random.default_rng([seed, 7])
    world = kind(rng)
    first = None if before == "nothing" else pilot(world, rng)
    ladder = pin(TARGET, Experiment(SPEND, noise=NOISE if first is None else None), first)
    chosen = np.log([(each.parameters, each.tokens) for each in ladder.runs]).T
    designs = {
        "ladder": ((chosen[0], chosen[1]), ladder.after.size),
        "isoFLOP": (plain(ladder), ladder.isoflop.size),
        "random": (random_runs(ladder, rng), math.nan),
    }
    for design, (points, stated) in designs.items():
        table = ran(world, points, rng)
        if first is not None:
            table = Trials.from_columns(
                {key: np.concatenate([first[key], table[key]]) for key in ("parameters", "tokens", "compute", "loss")}
            )
        scores[design].add(world, table, stated, ladder.degrees)
