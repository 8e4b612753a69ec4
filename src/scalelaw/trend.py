"""The trend: how the best settings move with scale, straight and bent, with what is known and what the priors put in.

With s = ln scale - ln middle, the best setting of hyperparameter j, ln z_j for most, is

    z_j(s) = b_j0 + sum_t b_jt s_t + 1/2 sum_t q_jt s_t^2        one scale's own: + eta_j, eta_j ~ N(0, tau_j^2)

The bends q carry a prior N(0, bend^2), bend = 0.05 per nat of scale: published exponents of the rate's law differ by some 0.2
over four or five nats of size. The straight law is the same posterior with q = 0, and its odds are the prior's times the ratio
of the posterior to the prior density of q at 0 (Savage and Dickey). A prediction averages the two.

Before the runs the straight law has probability 1/4, Laplace's rule of succession: of two families long enough to tell, our own
width study (`studies/width`, 12 widths) and language models of 22 to 707 million parameters (arXiv:2606.29158), both bend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._student import cdf, quantile
from .estimate import Estimate

__all__ = ["Path", "Trend"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Path:
    """One hyperparameter's law: straight, and bent.

    Args:
        beta, covariance: of the straight law, `(1 + scales,)`: intercept at the middle, exponents.
        bent, bent_covariance: of the bent law, `(1 + 2 scales,)`: the same, then the bends.
        straight: probability of the straight law.
        tau: standard deviation of one scale's own best about the law.
        degrees: of freedom of Student's t: scales that were tuned, less the straight law's coefficients, and one for the prior on
            tau; with it 90 % intervals from three or four sizes cover 88 to 100 % (benchmarks/calibration) at half the width.
        prior_share: of the exponents, the part of the posterior precision that the prior gave, `(scales,)`; 1 is all.
    """

    beta: Array
    covariance: Array
    bent: Array
    bent_covariance: Array
    straight: float
    tau: float
    degrees: int
    prior_share: Array

    def parts(self, s: Array, extra: float = 0.0) -> tuple[tuple[float, float, float], ...]:
        """(probability, mean, standard deviation) of the straight and of the bent law at s, `(scales,)`."""
        row = np.array([1.0, *s])
        long = np.array([1.0, *s, *(0.5 * s**2)])
        return (
            (self.straight, float(row @ self.beta), math.sqrt(float(row @ self.covariance @ row) + extra**2)),
            (1 - self.straight, float(long @ self.bent), math.sqrt(float(long @ self.bent_covariance @ long) + extra**2)),
        )

    def moments(self, s: Array) -> tuple[float, float]:
        """Mean and standard deviation of the average of the two laws at s."""
        parts = self.parts(s)
        mean = sum(p * m for p, m, _ in parts)
        return mean, math.sqrt(sum(p * (sd**2 + (m - mean) ** 2) for p, m, sd in parts))

    def quantiles(self, s: Array, probabilities: tuple[float, ...], extra: float = 0.0) -> list[float]:
        """Quantiles of the average of the two laws at s, each a Student's t."""
        return [_mixed(self.parts(s, extra), self.degrees, each) for each in probabilities]

    def draw(self, count: int, random: np.random.Generator, tau: bool = True) -> Callable[[Array], Array]:
        """Draws of the law: a function of s, `(points, scales)`, that gives `(count, points)`.

        Args:
            tau: add the scatter of one scale's own best, the same for all points of a draw.
        """
        scale = np.sqrt(self.degrees / random.chisquare(self.degrees, count))[:, None]
        bent = random.random(count)[:, None] >= self.straight
        width = len(self.beta) - 1
        straight = np.zeros((count, 1 + 2 * width))
        straight[:, : 1 + width] = self.beta + scale * _normal(self.covariance, count, random)
        curved = self.bent + scale * _normal(self.bent_covariance, count, random)
        theta = np.where(bent, curved, straight)
        own = self.tau * scale * random.standard_normal((count, 1)) if tau else np.zeros((count, 1))
        return lambda s: theta @ np.concatenate([np.ones((len(s), 1)), s, 0.5 * s**2], axis=1).T + own


@dataclass(frozen=True, eq=False)
class Trend:
    """The paths of all hyperparameters.

    Args:
        over: scale columns. hyper: hyperparameters, in coordinates that may take any value (`axis.py`).
        middle: ln scale of the middle of the data, `(scales,)`.
        paths: one per hyperparameter.
        correlation: of the laws' values between hyperparameters at the middle, `(hyper, hyper)`.
    """

    over: tuple[str, ...]
    hyper: tuple[str, ...]
    middle: Array
    paths: tuple[Path, ...]
    correlation: Array

    def __getitem__(self, name: str) -> Path:
        return self.paths[self.hyper.index(name)]

    def place(self, point: Mapping[str, float]) -> Array:
        """s of a point, `(scales,)`."""
        return np.log([point[name] for name in self.over]) - self.middle

    def best(self, point: Mapping[str, float]) -> Array:
        """The best settings at a point, `(hyper,)`."""
        s = self.place(point)
        return np.array([path.moments(s)[0] for path in self.paths])

    def covariance(self, point: Mapping[str, float], tau: bool = True) -> Array:
        """Covariance of the best settings at a point, `(hyper, hyper)`; with tau, of the scale's own best."""
        s = self.place(point)
        sd = np.array([path.moments(s)[1] for path in self.paths])
        own = np.diag([path.tau**2 for path in self.paths]) if tau else 0.0
        return self.correlation * np.outer(sd, sd) + own

    def draw(self, count: int, random: np.random.Generator, tau: bool = True) -> Callable[[Array], Array]:
        """Draws of all laws: a function of s, `(points, scales)`, that gives `(count, points, hyper)`."""
        each = [path.draw(count, random, tau) for path in self.paths]
        return lambda s: np.stack([path(s) for path in each], axis=2)

    def exponent(self, name: str, column: str, level: float = 0.9) -> Estimate:
        """The straight law's exponent of a hyperparameter in one scale column, d ln best / d ln scale."""
        path, k = self[name], 1 + self.over.index(column)
        se = math.sqrt(float(path.covariance[k, k]))
        half = quantile(0.5 + 0.5 * level, path.degrees) * se
        return Estimate(float(path.beta[k]), float(path.beta[k] - half), float(path.beta[k] + half), level, se)

    def bend(self, name: str, column: str, level: float = 0.9) -> Estimate:
        """Change of that exponent per nat of scale, from the bent law."""
        path, k = self[name], 1 + len(self.over) + self.over.index(column)
        se = math.sqrt(float(path.bent_covariance[k, k]))
        half = quantile(0.5 + 0.5 * level, path.degrees) * se
        return Estimate(float(path.bent[k]), float(path.bent[k] - half), float(path.bent[k] + half), level, se)


def straighten(beta: Array, covariance: Array, sd: float, before: float) -> tuple[Array, Array, float]:
    """The straight law inside a bent one, and its probability.

    Args:
        beta, covariance: of the bent law, its bends last (a half less one of the coefficients).
        sd: of the bends' prior.
        before: the straight law's probability before the runs, between 0 and 1.
    """
    width = (len(beta) - 1) // 2
    keep, bends = slice(0, 1 + width), slice(1 + width, None)
    within = covariance[bends, bends]
    gain = covariance[keep, bends] @ np.linalg.inv(within)
    straight = beta[keep] - gain @ beta[bends]
    left = covariance[keep, keep] - gain @ covariance[bends, keep]
    _, logdet = np.linalg.slogdet(within)
    log_ratio = -0.5 * (beta[bends] @ np.linalg.solve(within, beta[bends]) + logdet - 2 * width * math.log(sd))
    log_odds = math.log(before / (1 - before)) + log_ratio
    return straight, left, 1 / (1 + math.exp(-min(max(float(log_odds), -700.0), 700.0)))


def _normal(covariance: Array, count: int, random: np.random.Generator) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return random.standard_normal((count, len(values))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T


def _mixed(parts: tuple[tuple[float, float, float], ...], degrees: float, probability: float) -> float:
    """Quantile of a mixture of Student's t, by bisection between the parts' own."""
    used = [(p, m, sd) for p, m, sd in parts if p > 1e-9]
    ends = [m + sd * quantile(probability, degrees) for _, m, sd in used]
    low, high = min(ends), max(ends)
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = sum(p * cdf((middle - m) / sd, degrees) for p, m, sd in used) if high > low else probability
        low, high = (middle, high) if below < probability else (low, middle)
    return 0.5 * (low + high)
