"""Simulated worlds: tuned runs that must not be called off, ladders mistuned and not, and excesses that no test can see."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from scalelaw._drifting import PICKED, TAU, TAU_SD
from scalelaw._sweeps import CUBIC
from scalelaw.fit import LeastSquares, fit
from scalelaw.frontier import frontier
from scalelaw.mistuned import EXCESS, mistuned
from scalelaw.response import respond
from scalelaw.stack import Ladder as Stacked
from scalelaw.testing.worlds import World
from scalelaw.trials import Trials
from scalelaw.untested import untested, widening
from scalelaw.verdict import Ruling, ruling

from .counts import rulings, share
from .oracle import Oracle

__all__ = ["mistuned_ladders", "tuned", "unseen_excess", "widened"]

OVER = ("parameters", "tokens")
RATIOS = np.array([5.0, 10.0, 20.0, 40.0])


@dataclass(frozen=True)
class Ladder:
    """Six sizes, `ratio` apart, at four ratios of tokens, and one kept rate; at some sizes a sweep at one of the ratios.

    Args:
        sweeps: sizes swept, 0 the smallest. rates: of a sweep, a factor 2 apart about the kept one.
        excess: to which a drift from the smallest size grows at the largest, were the bowl a parabola.
        picked: the kept rate is up to half a step off the smallest size's law, as one picked off a grid is.
        retuned: every scale's rate is the nearest to its own best on one grid of factors of 2, as a sweep of each would give, and
            the law of the best falls by `retuned` per ln size, beside the drift that they miss.
    """

    sweeps: tuple[int, ...] = ()
    rates: int = 5
    excess: float = 0.0
    ratio: float = 2.0
    smallest: float = 5e7
    curvature: float = 0.022
    skew: float = 0.65
    tau: float = 0.1
    noise: float = 0.004
    picked: bool = False
    retuned: float = 0.0

    @property
    def sizes(self) -> np.ndarray:
        """Parameters."""
        return self.smallest * self.ratio ** np.arange(6)

    def offsets(self) -> np.ndarray:
        """ln rates of a sweep less the kept one's."""
        return math.log(2) * (np.arange(self.rates) - (self.rates - 1) / 2)

    def drifts(self) -> np.ndarray:
        """How far the best has moved from the kept rate at the swept sizes, in nats."""
        return self._drift * np.log(self.sizes[list(self.sweeps)] / self.smallest)

    @property
    def _drift(self) -> float:
        return math.sqrt(2 * self.excess / self.curvature) / math.log(self.sizes[-1] / self.smallest)

    def draw(self, random: np.random.Generator) -> Trials:
        """One ladder, its law Chinchilla's."""
        columns: dict[str, list[float]] = {name: [] for name in (*OVER, "learning_rate", "loss")}
        step = math.log(2)
        picked = random.uniform(-0.5, 0.5) * step if self.picked or self.retuned else 0.0
        for i, size in enumerate(self.sizes):
            for j, tokens in enumerate(size * RATIOS):
                way, scatter = math.log(size / self.smallest), self.tau * random.normal()
                best = -(self._drift + self.retuned) * way + scatter
                kept = picked
                if self.retuned:
                    kept += step * round((scatter - self.retuned * way - picked) / step)
                rates = kept + (self.offsets() if i in self.sweeps and j == 2 else np.zeros(1))
                loss = best_loss(size, tokens) * np.exp(self.cost(rates - best) + self.noise * random.normal(size=len(rates)))
                rows = (np.full(len(rates), size), np.full(len(rates), tokens), 1e-3 * np.exp(rates), loss)
                for name, values in zip(columns, rows, strict=True):
                    columns[name].extend(values.tolist())
        return Trials.from_columns(columns, "simulated")

    def cost(self, away: np.ndarray) -> np.ndarray:
        """ln loss lost."""
        b = self.skew
        return self.curvature * (0.5 * away**2 if b == 0 else (np.exp(b * away) - 1 - b * away) / b**2)


def best_loss(size: np.ndarray | float, tokens: np.ndarray | float) -> np.ndarray:
    """Chinchilla's published law."""
    return 1.69 + 406.4 / np.asarray(size) ** 0.34 + 410.7 / np.asarray(tokens) ** 0.28


def tuned(replicates: int) -> list[str]:
    """One run per world at its own best rate, four times beyond the largest size, and another at four times that rate.

    The test is that of `check`, without its findings, suspects and backtests.
    """
    base = World(seeds=1, noise=0.003, sizes=6)
    worlds: dict[str, World] = {}
    for law in ("saturating", "power", "log_linear", "bent"):
        worlds[f"{law}, 6 sizes"] = replace(base, law=law)
        worlds[f"{law}, 7 sizes, 2 seeds"] = replace(base, law=law, sizes=7, seeds=2)
    worlds["saturating, 6 sizes, scatter 0.25 nat"] = replace(base, tau=0.25)
    worlds["saturating, 6 sizes, parabola, flat (H 0.02)"] = replace(base, skew=0.0, curvature=0.02)
    lines = ["| world | tuned: OFF_LAW (95 %) | UNDECIDED | ON_LAW | 4x above: OFF_LAW (95 %) |", "|---|---|---|---|---|"]
    every: list[Ruling] = []
    for k, (name, world) in enumerate(worlds.items()):
        found: list[Ruling] = []
        high = 0
        count = replicates // len(worlds)
        for draw in range(count):
            random = np.random.default_rng([k, draw])
            trials, _ = world.draw(random)
            width = 4 * float(world.widths[-1])
            edge = frontier(trials)
            mixture = Stacked(edge).stack().one_sided().predict({"width": width}, edge.run_sd**2)
            found.append(ruling(mixture, math.log(world.run(random, width)), 0.95)[0])
            high += ruling(mixture, math.log(world.run(random, width, math.log(4))), 0.95)[0] is Ruling.OFF_LAW
        every += found
        lines.append(f"| {name} | {rulings(found)} | {share(high, count)} |")
    return [*lines, f"| all | {rulings(every)} | |"]


_TRAPS = {"": {}, "; trap: parabola": {"cubic": False}, "; trap: no scatter": {"scatter": False},
    "; traps: both": {"cubic": False, "scatter": False}}  # fmt: skip


def mistuned_ladders(replicates: int) -> list[str]:
    """How often the warning fires where the kept rate drifts to an excess of 1 % at the largest size, and where it does not."""
    base = Ladder()
    where = {"1 and 6": (0, 5), "1 and 5": (0, 4), "1 and 4": (0, 3), "1 and 3": (0, 2), "1, 3 and 5": (0, 2, 4), "6 only": (5,)}
    cases = {name: replace(base, sweeps=sweeps) for name, sweeps in where.items()}
    for name in ("1 and 4", "1 and 3"):
        cases[f"{name}, rate picked off a grid"] = replace(cases[name], picked=True)
        cases[f"{name}, symmetric bowls"] = replace(cases[name], skew=0.0)
    for name in ("1 and 6", "1 and 5", "1 and 4", "1 and 3", "1, 3 and 5"):
        cases[f"{name}, scatter 0.2 nat"] = replace(cases[name], tau=0.2)
    cases["1 and 4, a rate per scale picked off a grid"] = replace(cases["1 and 4"], retuned=0.4)
    lines = ["| sizes swept, five rates x2 | drifts to 1 %: fires | tuned: fires | power it states |", "|---|---|---|---|"]
    for name, ladder in cases.items():
        lines += _fires(name, ladder, replicates, tuple(_TRAPS) if name in ("1 and 4", "6 only") else ("",))
    for name in ("1 and 4", "1 and 3"):
        lines += _fires(f"{name}, worlds drawn from the priors", cases[name], replicates, ("",), drawn=True)
    asked = {
        "knows all": {},
        "knows all but the rounding": {"rounded": PICKED},
        "knows all, 5 % held at scatter 0.2": {"worst": 0.2},
        "knows all but the rounding, 5 % held at scatter 0.2": {"rounded": PICKED, "worst": 0.2},
    }
    for name in ("1 and 4", "1 and 3"):
        for words, knows in asked.items():
            power = Oracle(replace(cases[name], excess=EXCESS), **knows).power(4 * replicates)
            lines.append(f"| {name}; oracle: {words} | {100 * power:.1f} % | 5 % | |")
    return lines


def _fires(name: str, ladder: Ladder, replicates: int, traps: tuple[str, ...], *, drawn: bool = False) -> list[str]:
    """Rows of one ladder, ours and the traps'."""
    hits = {trap: [0, 0] for trap in traps}
    said: list[float] = []
    for k, excess in enumerate((EXCESS, 0.0)):
        for draw in range(replicates):
            random = np.random.default_rng([draw, k])
            world = _drawn(ladder, random) if drawn else ladder
            response = respond(replace(world, excess=excess).draw(random), OVER, ("learning_rate",))
            assert response is not None
            for trap in traps:
                (found,) = mistuned(response, **_TRAPS[trap])
                # The traps by their p-value alone, ours as it warns.
                hits[trap][k] += found.adjusted <= 0.05 if trap else found.fires
                said += [] if trap or k else [found.power]
    rows: list[str] = []
    for trap, (right, wrong) in hits.items():
        power = "" if trap else f"{np.mean(said):.2f}"
        rows.append(f"| {name}{trap} | {share(right, replicates)} | {share(wrong, replicates)} | {power} |")
    return rows


def _drawn(ladder: Ladder, random: np.random.Generator) -> Ladder:
    """With scatter, skew and rounding as the test expects them: a cubic of k in units of H is a skew of 6 k."""
    mean, sd = CUBIC["learning_rate"]
    tau = TAU * math.exp(TAU_SD * random.normal())
    return replace(ladder, tau=tau, skew=6 * (mean + sd * random.normal()), picked=bool(random.random() < PICKED))


def unseen_excess(replicates: int) -> list[str]:
    """The excess that goes unseen one time in two: as said from one ladder, and as the most powerful test finds it.

    The test knows the excess' shape and size and the noise, and refits the law with and without it: likelihood ratio, its
    threshold the 95 % quantile over tuned ladders.
    """
    lines = [
        "| sizes apart | power for 1 %: said | unseen at the largest size: said, median (10 to 90 %) | simulated "
        "| at ten times: said | simulated | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for ratio in (2.0, 3.0, 4.0):
        ladder = Ladder(ratio=ratio, tau=1e-9)
        at = {"parameters": 10 * 5e7 * ratio**5, "tokens": 200 * 5e7 * ratio**5}
        said = [untested(frontier(ladder.draw(np.random.default_rng([draw, 7])), over=OVER), at) for draw in range(60)]
        top = np.array([math.expm1(each.unseen) for each in said if each])
        far = np.array([math.expm1(min(each.at, 5.0)) for each in said if each])
        found = _found_half_the_time(ladder, replicates)
        way = (math.log(10 * ratio**5) / math.log(ratio**5)) ** 2
        low, high = np.quantile(top, (0.1, 0.9))
        power = np.median([each.power["quadratic"] for each in said if each])
        there, truth = float(np.median(far)), math.expm1(found * way)
        lines.append(
            f"| {ratio:g}x | {100 * power:.0f} % | {100 * np.median(top):.1f} % ({100 * low:.1f} to {100 * high:.1f}) "
            f"| {100 * math.expm1(found):.1f} % | {100 * there:.0f} % | {100 * truth:.0f} % | {there / truth:.2f} |"
        )
    return lines


def _found_half_the_time(ladder: Ladder, replicates: int) -> float:
    """The excess at which the most powerful test has the power 0.5, by bisection over simulated powers."""
    sizes = ladder.smallest * ladder.ratio ** np.arange(6)
    size, per = (np.ravel(each) for each in np.meshgrid(sizes, RATIOS, indexing="ij"))
    points = {"parameters": size, "tokens": size * per}
    way = (np.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])) ** 2
    truth = np.log(best_loss(size, size * per))

    def left(y: np.ndarray) -> float:
        found = fit("chinchilla", Trials.from_columns({**points, "loss": np.exp(y)}), over=OVER, objective=LeastSquares())
        return float(np.sum((y - np.log(found.predict(points))) ** 2))

    noise = ladder.noise * np.random.default_rng(11).standard_normal((2, replicates, len(size)))
    plain = [left(truth + each) for each in noise[0]]
    low, high = 0.0, 0.4
    for _ in range(6):
        excess = 0.5 * (low + high)
        null = [a - left(truth + each - excess * way) for a, each in zip(plain, noise[0], strict=True)]
        there = [left(truth + excess * way + each) - left(truth + each) for each in noise[1]]
        power = float(np.mean(np.array(there) > np.quantile(null, 0.95)))
        low, high = (low, excess) if power > 0.5 else (excess, high)
    return 0.5 * (low + high)


def widened(replicates: int) -> list[str]:
    """The truth at ten times the size (20 tokens per parameter) within the 90 % interval of the stack, without and with widening.

    The truth is the best case, which a ladder at one rate is above; half-widths are below the median, in ln loss.
    """
    base = Ladder()
    cases = {
        "no sweep, tuned at every size": base,
        "no sweep, drifts to 1 %": replace(base, excess=0.01),
        "no sweep, drifts to 3 %": replace(base, excess=0.03),
        "sweeps at 1 and 5, tuned": replace(base, sweeps=(0, 4)),
        "sweeps at 1 and 5, drifts to 1 %": replace(base, sweeps=(0, 4), excess=0.01),
        "sweeps at 1 and 5, drifts to 3 %": replace(base, sweeps=(0, 4), excess=0.03),
    }
    size = 10 * base.smallest * base.ratio**5
    at = {"parameters": np.array([size]), "tokens": np.array([20 * size])}
    truth = math.log(float(best_loss(size, 20 * size)))
    lines = [
        "| ladder | bias | covers: law alone | widened | half-width below: law alone | widened |",
        "|---|---|---|---|---|---|",
    ]
    for name, ladder in cases.items():
        found = [_covers(ladder.draw(np.random.default_rng([draw, 3])), at, truth) for draw in range(replicates)]
        bias, plain, wide, narrow, low = (np.array(each) for each in zip(*found, strict=True))
        lines.append(
            f"| {name} | {100 * bias.mean():+.1f} % "
            f"| {share(int(plain.sum()), replicates)} | {share(int(wide.sum()), replicates)} "
            f"| {100 * narrow.mean():.1f} % | {100 * low.mean():.1f} % |"
        )
    return lines


def _covers(trials: Trials, at: dict[str, np.ndarray], truth: float) -> tuple[float, bool, bool, float, float]:
    edge = frontier(trials, over=OVER)
    stack = Stacked(edge).stack()
    mixture = stack.predict(at)
    low, middle, high = (float(mixture.quantile(each)[0]) for each in (0.05, 0.5, 0.95))
    drift = widening(edge, stack, at)
    least = low if drift is None else float(drift.low(mixture, 0.05)[0])
    return middle - truth, low <= truth <= high, least <= truth <= high, middle - low, middle - least
