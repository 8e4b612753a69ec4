"""How curvature changes with scale: the surface's trend of H in relative terms, with its error, to carry it beyond the data.

With s = ln scale - ln middle, the surface has H(s) = H_0 + sum_t T_t s_t and a prior N(0, (growth H_0)^2) on T_t. To first order

    ln H_jj(s) = ln H_0jj + sum_t gamma_jt s_t,        gamma_jt = T_t,jj / H_0jj

and ln H is what is carried on: it cannot turn negative, and the simulated bowls sharpen so. Where the data tell little, gamma is
near 0 and its error is the prior's: the expected curvature stays, and the interval widens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._surface import Surface

__all__ = ["Growth", "growth"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Growth:
    """d ln H_jj / d ln scale.

    Args:
        value: gamma, `(hyperparameters, scales)`.
        covariance: of gamma, row by row, `(hyperparameters * scales,) * 2`.
    """

    value: Array
    covariance: Array

    @property
    def sd(self) -> Array:
        """Standard errors, `(hyperparameters, scales)`."""
        return np.sqrt(np.diag(self.covariance)).reshape(self.value.shape)

    def errors(self, count: int, random: np.random.Generator) -> Array:
        """Draws of gamma less its value, `(count, hyperparameters, scales)`."""
        values, vectors = np.linalg.eigh(self.covariance)
        drawn = random.standard_normal((count, len(values))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
        return drawn.reshape(count, *self.value.shape)


def growth(surface: Surface) -> Growth:
    """Of a solved surface; without a trend told by the data the prior, and none where the surface was denied a trend."""
    m, S, P, T = surface.m, surface.S, len(surface.pairs), surface.steep.shape[2]
    if not T:
        sd = surface.p.growth if surface.p.trend else 0.0
        return Growth(np.zeros((m, S)), sd**2 * np.eye(m * S))
    first = m * surface.X.shape[2] + P
    at = [first + t * P + surface.pairs.index((j, j)) for j in range(m) for t in range(T)]
    unit = np.repeat(np.diagonal(surface.state.shared[0]), T)
    return Growth((surface.theta[0, at] / unit).reshape(m, T), surface.cov[0][np.ix_(at, at)] / np.outer(unit, unit))
