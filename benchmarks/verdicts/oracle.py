"""The most powerful test of a drifting kept rate, for what rate sweeps can show at all.

It knows the bowl's curvature and skew, the noise, the scatter of scales and the drift's size and sign, and is asked of two worlds
only: the drift there or not (Neyman and Pearson). With u the rates less the kept one and m_c the drift at sweep c,

    L(drift) = sum_a w(a) prod_c int N(z; -m_c - a, tau^2) exp(-1/2 |r_c(z)|^2 / sigma^2) dz,

r_c(z) the losses less the bowl at u - z, their mean taken out, and w(a) how a kept rate is off anyway.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Oracle", "SweptLadder"]

_Z = np.linspace(-3.5, 3.5, 351)
_OFF = np.linspace(-0.5, 0.5, 21) * math.log(2)


class SweptLadder(Protocol):
    """What an oracle knows of a ladder."""

    sweeps: tuple[int, ...]
    noise: float
    tau: float

    def cost(self, away: np.ndarray) -> np.ndarray:
        """ln loss lost."""
        ...

    def offsets(self) -> np.ndarray:
        """Rates of a sweep less the kept one."""
        ...

    def drifts(self) -> np.ndarray:
        """How far the best has moved at the sweeps, of a ladder that drifts."""
        ...


@dataclass(frozen=True)
class Oracle:
    """The test, at a threshold that tuned ladders pass one time in twenty.

    Args:
        ladder: one that drifts. rounded: share of kept rates that are up to half a step off.
        worst: scatter that the level is to be held at; the ladder's own where None.
    """

    ladder: SweptLadder
    rounded: float = 0.0
    worst: float | None = None

    def power(self, draws: int, level: float = 0.05) -> float:
        """In ladders whose kept rate is not rounded and scatters as the ladder does."""
        random = np.random.default_rng(5)
        tau = self.worst or self.ladder.tau
        off = np.where(random.random(draws) < self.rounded, random.uniform(-0.5, 0.5, draws) * math.log(2), 0.0)
        none, drifts = np.zeros(len(self.ladder.sweeps)), self.ladder.drifts()
        null = self._ratio(self._losses(none, off, tau, random), tau)
        there = self._ratio(self._losses(drifts, 0.0 * off, self.ladder.tau, random), tau)
        return float(np.mean(there > np.quantile(null, 1 - level)))

    def _losses(self, drifts: np.ndarray, off: np.ndarray, tau: float, random: np.random.Generator) -> np.ndarray:
        """`(draws, sweeps, rates)`."""
        best = -drifts - off[:, None] + tau * random.standard_normal((len(off), len(drifts)))
        away = self.ladder.offsets() - best[..., None]
        return self.ladder.cost(away) + self.ladder.noise * random.standard_normal(away.shape)

    def _ratio(self, losses: np.ndarray, tau: float) -> np.ndarray:
        bowls = self.ladder.cost(self.ladder.offsets() - _Z[:, None])
        rest = losses[:, :, None, :] - bowls
        rest = rest - rest.mean(axis=-1, keepdims=True)
        likelihood = np.exp(-0.5 * np.sum(rest**2, axis=-1) / self.ladder.noise**2) + 1e-300
        share = np.where(_OFF == 0, 1 - self.rounded, 0.0) + self.rounded / len(_OFF)
        value = []
        for drifts in (self.ladder.drifts(), np.zeros(len(self.ladder.sweeps))):
            middle = -drifts - _OFF[:, None]
            scatter = np.exp(-0.5 * ((_Z - middle[..., None]) / tau) ** 2)
            each = np.einsum("ncz,acz->nac", likelihood, scatter)
            value.append(np.log(np.prod(each, axis=-1) @ share + 1e-300))
        return value[0] - value[1]
