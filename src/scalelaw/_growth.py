"""How curvature changes with scale: the surface's trend of H in relative terms, with its error, to carry it beyond the data.

With s = ln scale - ln middle, the surface has H(s) = H_0 + sum_t T_t s_t and a prior N(0, (growth H_0)^2) on T_t. To first order

    ln H_jj(s) = ln H_0jj + sum_t gamma_jt s_t,        gamma_jt = T_t,jj / H_0jj

and ln H is what is carried on: it cannot turn negative. What makes bowls sharpen, the share of the loss that is still to be won,
is common to all hyperparameters, so gamma_jt = gamma_t + delta_jt with gamma_t ~ N(0, growth^2) and delta_jt ~ N(0, 0.05^2): the
surface's own prior, which knows each apart, is exchanged for this one. Where the data tell little, gamma is near 0 and its error
is the prior's: the expected curvature stays, and the interval widens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._surface import Surface

__all__ = ["Growth", "growth"]

Array: TypeAlias = NDArray[np.float64]

# Standard deviation, per nat, of one hyperparameter's growth about that of all.
_APART = 0.05


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
    sd = surface.p.growth
    prior: Array = np.kron(sd**2 + _APART**2 * np.eye(m), np.eye(S)).astype(np.float64)
    if not T:
        return Growth(np.zeros((m, S)), prior if surface.p.trend else 0.0 * prior)
    first = m * surface.X.shape[2] + P
    at = [first + t * P + surface.pairs.index((j, j)) for j in range(m) for t in range(T)]
    unit = np.repeat(np.diagonal(surface.state.shared[0]), T)
    precision = np.linalg.inv(surface.cov[0][np.ix_(at, at)] / np.outer(unit, unit))
    told = precision @ (surface.theta[0, at] / unit)
    # The data's own part of the precision; rounding may leave it a little below zero where they say nothing.
    values, vectors = np.linalg.eigh(precision - sd**-2.0 * np.eye(len(at)))
    covariance = np.linalg.inv((vectors * np.maximum(values, 0.0)) @ vectors.T + np.linalg.inv(prior))
    return Growth((covariance @ told).reshape(m, T), np.asarray(covariance, dtype=np.float64))
