"""A predictive distribution of ln loss kept as a table of quantiles, and the scores of an observation under it.

Between the knots the normal score z(y) = Phi^-1(F(y)) is taken to be linear in y = ln loss, and beyond the last knots its end
segments go on: exact for a normal distribution, and finite for any observation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Predictive", "interval_score"]

Array: TypeAlias = NDArray[np.float64]

_NORMAL = NormalDist()
# A distribution without any width is given this standard deviation, in ln loss: the scores need a density.
_LEAST = 1e-9


def interval_score(y: float, low: float, high: float, level: float) -> float:
    """Interval score S = (u - l) + 2 / alpha ((l - y)+ + (y - u)+), alpha = 1 - level (Gneiting and Raftery 2007, eq. 43).

    Lower is better. Given ln loss, so is the score: 0.01 is about one percent of the loss.
    """
    return (high - low) + 2 / (1 - level) * (max(low - y, 0.0) + max(y - high, 0.0))


@dataclass(frozen=True, eq=False)
class Predictive:
    """Quantiles of ln loss.

    Args:
        probability: rising, between 0 and 1. log_loss: the quantiles at them.
    """

    probability: Sequence[float]
    log_loss: Sequence[float]
    _z: Array = field(init=False, repr=False)
    _y: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        z = np.array([_NORMAL.inv_cdf(each) for each in self.probability])
        y = np.asarray(self.log_loss, dtype=np.float64)
        if len(z) < 2 or len(z) != len(y) or not np.all(np.diff(z) > 0) or not np.all(np.isfinite(y)):
            raise ValueError("a predictive distribution is at least two finite quantiles at rising probabilities")
        object.__setattr__(self, "_z", z)
        # The mean of the nearest rising curves from above and from below, so that the middle stays where it is.
        excess = y - _LEAST * z
        risen = 0.5 * (np.maximum.accumulate(excess) + np.minimum.accumulate(excess[::-1])[::-1])
        object.__setattr__(self, "_y", risen + _LEAST * z)

    @cached_property
    def _slopes(self) -> Array:
        """dy / dz per segment."""
        return np.maximum(np.diff(self._y) / np.diff(self._z), _LEAST)

    def z(self, y: float) -> float:
        """Phi^-1(F(y)): how many normal standard deviations an observation lies out, whatever the distribution's shape."""
        first, last = self._slopes[0], self._slopes[-1]
        if y <= self._y[0]:
            return float(self._z[0] + (y - self._y[0]) / first)
        if y >= self._y[-1]:
            return float(self._z[-1] + (y - self._y[-1]) / last)
        return float(np.interp(y, self._y, self._z))

    def quantile(self, probability: float) -> float:
        """ln loss with P(ln loss <= y) = probability."""
        z = _NORMAL.inv_cdf(probability)
        place = int(np.clip(np.searchsorted(self._z, z) - 1, 0, len(self._slopes) - 1))
        return float(self._y[place] + (z - self._z[place]) * self._slopes[place])

    def pit(self, y: float) -> float:
        """F(y), the probability integral transform: uniform where forecasts are calibrated."""
        return _NORMAL.cdf(self.z(y))

    def log_score(self, y: float) -> float:
        """-ln f(y) of ln loss, f = phi(z) dz/dy with dz/dy interpolated between knots; lower is better."""
        rates = np.gradient(self._z, self._y)
        rate = float(np.interp(y, self._y, np.maximum(rates, 1e-300)))
        return 0.5 * self.z(y) ** 2 + 0.5 * math.log(2 * math.pi) - math.log(rate)

    def crps(self, y: float) -> float:
        """Continuous ranked probability score, integral of (F(x) - 1{x >= y})^2 dx, in ln loss; lower is better.

        On a segment of slope s = dx/dz the integral of F^2 is s [G(z)], G(z) = z Phi^2 + 2 phi Phi - Phi(sqrt2 z) / sqrt(pi);
        that of (1 - F)^2 is the same with z mirrored. G vanishes at -infinity, so the tails count in full.
        """
        at = self.z(y)
        below = self._squares(self._z, self._slopes, at)
        return below + self._squares(-self._z[::-1], self._slopes[::-1], -at)

    @staticmethod
    def _squares(z: Array, slopes: Array, stop: float) -> float:
        """Integral of F^2 up to the normal score `stop`."""
        inner = z[1:-1][z[1:-1] < stop]
        ends = [-math.inf, *inner.tolist(), stop]
        return sum(float(slopes[k]) * (_area(high) - _area(low)) for k, (low, high) in enumerate(itertools.pairwise(ends)))


def _area(z: float) -> float:
    """Integral of Phi^2 from -infinity to z."""
    if z < -38:
        return 0.0
    share = _NORMAL.cdf(z)
    return z * share**2 + 2 * _NORMAL.pdf(z) * share - _NORMAL.cdf(math.sqrt(2) * z) / math.sqrt(math.pi)
