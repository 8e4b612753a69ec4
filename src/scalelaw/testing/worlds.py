"""Simulated width studies with a known truth.

At width n the best rate is ln z*(n) = centre - exponent ln(n / middle) + scatter N(0, tau^2), the best loss follows a law, and
a rate d nats away from the best costs H / b^2 (exp(b d) - 1 - b d) in ln loss: curvature H, skewed by b towards the high-rate
side as measured bowls are (Step Law: about 0.65; 0 is a parabola). A cost saturates at `cap`, where a run learns nothing. Every
run has noise of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..trials import Trials

__all__ = ["LAWS", "World"]


def _bent(n: float) -> float:
    """A power law whose exponent changes by 0.05 at width 512."""
    return 6.5 * n**-0.10 * (1 + (n / 512) ** 8) ** (-0.05 / 8)


LAWS = {
    "saturating": lambda n: 1.2 + 6.0 * n**-0.35,
    "power": lambda n: 6.5 * n**-0.12,
    "log_linear": lambda n: 7.0 - 0.45 * math.log(n),
    "bent": _bent,
}


@dataclass(frozen=True)
class World:
    """One kind of study. `steps` is the spacing of the rates in nats, `shift` moves the grid against the optima, in nats."""

    law: str = "saturating"
    sizes: int = 8
    smallest: float = 8.0
    rates: int = 7
    step: float = 0.693
    seeds: int = 1
    noise: float = 0.004
    tau: float = 0.1
    curvature: float = 0.05
    skew: float = 0.65
    exponent: float = 0.35
    cap: float = math.inf
    growth: float = 0.0
    missing: float = 0.0
    shift: float = 0.0

    @property
    def widths(self) -> np.ndarray:
        """The ladder: doublings."""
        return self.smallest * 2.0 ** np.arange(self.sizes)

    def loss(self, width: float) -> float:
        """Loss of the best setting."""
        return LAWS[self.law](width)

    def law_rate(self, width: float) -> float:
        """ln best rate of the law, without the scatter of sizes."""
        middle = math.sqrt(self.widths[0] * self.widths[-1])
        return math.log(1e-3) - self.exponent * math.log(width / middle)

    def cost(self, width: float, away: np.ndarray | float) -> np.ndarray:
        """ln loss lost by a rate `away` nats above the best."""
        away = np.asarray(away, dtype=float)
        middle = math.sqrt(self.widths[0] * self.widths[-1])
        H = self.curvature * math.exp(self.growth * math.log(width / middle))
        b = self.skew
        cost = 0.5 * H * away**2 if b == 0 else H / b**2 * (np.exp(b * away) - 1 - b * away)
        return cost if math.isinf(self.cap) else self.cap * (1 - np.exp(-cost / self.cap))

    def draw(self, random: np.random.Generator) -> tuple[Trials, np.ndarray]:
        """A study, and the true ln best rate of each size."""
        columns: dict[str, list[float]] = {"width": [], "learning_rate": [], "seed": [], "loss": []}
        centre = math.log(1e-3) + random.uniform(-0.3, 0.3) + self.shift
        grid = centre + self.step * (np.arange(self.rates) - (self.rates - 1) / 2)
        best = np.array([self.law_rate(width) + self.tau * random.normal() for width in self.widths])
        for width, top in zip(self.widths, best, strict=True):
            for rate in grid:
                if random.random() < self.missing:
                    continue
                mean = math.log(self.loss(width)) + float(self.cost(width, rate - top))
                for seed in range(self.seeds):
                    columns["width"].append(float(width))
                    columns["learning_rate"].append(math.exp(rate))
                    columns["seed"].append(float(seed))
                    columns["loss"].append(math.exp(mean + self.noise * random.normal()))
        return Trials.from_columns(columns, "simulated"), best

    def run(self, random: np.random.Generator, width: float, away: float = 0.0) -> float:
        """Loss of one run, `away` nats above that size's own best rate."""
        return float(self.loss(width) * np.exp(float(self.cost(width, away)) + self.noise * random.normal()))
