"""IsoFLOP worlds with a known optimum: L(N; C) = E + K C^-g s(u), u = ln N - ln N*(C), N* ~ C^a exactly.

With s of Chinchilla's shape this is Chinchilla's law; other shapes keep the optimum and break the law.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalelaw import Trials

BUDGETS = np.geomspace(1e18, 1e20, 6)
FIRST, E, K = math.log(1e8), 1.8, 1.4
TARGET = 1e22

Shape = Callable[[np.ndarray], np.ndarray]


def valley(alpha: float, beta: float) -> Shape:
    """Chinchilla's profile, 1 at u = 0."""
    return lambda u: (beta * np.exp(-alpha * u) + alpha * np.exp(beta * u)) / (alpha + beta)


def wall(u: np.ndarray) -> np.ndarray:
    """A steep right side: large models at a small budget see too few steps to follow the law (see Porian et al.)."""
    return valley(0.35, 0.35)(u) + 0.01 * (np.exp(1.6 * u) - 1 - 1.6 * u)


@dataclass(frozen=True)
class Case:
    """One world. Chinchilla's shape has a = beta / (alpha + beta) and decay g = alpha beta / (alpha + beta)."""

    name: str
    shape: Shape
    a: float
    decay: float
    grid: str
    noise: float

    @property
    def target(self) -> float:
        """ln N* at TARGET."""
        return FIRST + self.a * math.log(TARGET / BUDGETS[0])

    def trials(self, seed: int) -> Trials:
        """One draw."""
        rng = np.random.default_rng(seed)
        c = np.log(BUDGETS)
        best = FIRST + self.a * (c - c[0])
        ladder = np.arange(FIRST - 3.5, best[-1] + 4.0, 0.35)
        rows: list[tuple[float, float, float]] = []
        for place, centre in enumerate(best):
            for n in self._sizes(place, centre, ladder, rng):
                u = np.array([n - centre])
                loss = E + K * math.exp(-self.decay * (c[place] - c[0])) * float(self.shape(u)[0])
                rows.append((n, c[place], math.log(loss) + self.noise * rng.standard_normal()))
        n, compute, y = np.exp(np.array(rows).T)
        return Trials.from_columns({"parameters": n, "compute": compute, "loss": y})

    def _sizes(self, place: int, centre: float, ladder: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """ln N of a budget: a centred grid, one that drifts across it, budgets without a minimum, or a fixed ladder."""
        if self.grid == "ladder":
            return ladder[(ladder - centre > -1.4) & (ladder - centre < 3.0)]
        last = len(BUDGETS) - 1
        off = {"centred": 0.0, "off": 0.7, "drift": -0.8 + 1.6 * place / last, "edge": 2.3 - 2.8 * place / last}[self.grid]
        return centre + off + np.linspace(-2.1, 2.1, 7) + 0.08 * rng.standard_normal(7)


def cases() -> list[Case]:
    """Every world: shape x grid x noise."""
    shapes = {
        "Chinchilla, even": (valley(0.35, 0.35), 0.5, 0.175),
        "Chinchilla, skewed": (valley(0.5, 0.25), 1 / 3, 1 / 6),
        "wall": (wall, 0.5, 0.155),
    }
    grids = ("centred", "drift", "edge", "ladder")
    return [
        Case(name, shape, a, decay, grid, noise)
        for name, (shape, a, decay) in shapes.items()
        for grid in grids
        for noise in (0.001, 0.005)
    ]
