"""What the published estimators of M2 and M3 arrive at, so that their answer can be set beside the certified minimum.

M2 (L = E + b x^-c) is fitted there to ln(L - E), not to ln L, an objective with several minima, often one at E = 0; the estimator
starts at E = min(L) - 0.001 and goes down, so it stops at the first minimum below that start. M3 (L = b (1/x + g)^c) is fitted to
ln L by turns: b and c by least squares at fixed g, then g from the values at which the curve passes through one of the points. It
starts at g = 0 and stops where neither changes, which need not be a minimum. Written from arXiv:2209.06640 and from what the
released code does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Published", "excess", "published_m2", "published_m3"]

Array = NDArray[np.float64]
_MARGIN = 1e-3


@dataclass(frozen=True)
class Published:
    """Where an estimator stops: its law, and half the squared errors of ln L there."""

    predict: Callable[[Array], Array]
    value: float


def _line(x: Array, y: Array) -> tuple[float, float, float]:
    """Intercept, slope and squared residuals of a straight line."""
    slope, level = np.polyfit(x, y, 1)
    return float(level), float(slope), float(np.sum((y - level - slope * x) ** 2))


def excess(x: Array, y: Array, floor: float) -> float:
    """The published objective of M2 at a floor, b and c at their best: squared errors of ln(L - E)."""
    return _line(np.log(x), np.log(y - floor))[2]


def published_m2(x: Array, y: Array) -> Published:
    """First minimum of `excess` below E = min(L) - 0.001, on a fine grid and then by bisection of its neighbours."""
    top = max(float(y.min()) - _MARGIN, 0.0)
    grid = np.concatenate([np.linspace(0.0, top, 4000), top * (1 - np.geomspace(1e-5, 0.1, 400))])
    grid = np.unique(np.clip(grid, 0.0, top))[::-1]
    values = np.array([excess(x, y, floor) for floor in grid])
    place = 0
    while place + 1 < len(grid) and values[place + 1] <= values[place]:
        place += 1
    low, high = grid[min(place + 1, len(grid) - 1)], grid[max(place - 1, 0)]
    for _ in range(60):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, two) if excess(x, y, one) < excess(x, y, two) else (one, high)
    floor = 0.5 * (low + high)
    level, slope, _ = _line(np.log(x), np.log(y - floor))
    return _published(x, y, lambda at: floor + np.exp(level) * at**slope)


def published_m3(x: Array, y: Array) -> Published:
    """Alternate between (b, c) and g until b stands still."""
    g, before = 0.0, np.inf
    level, power = 0.0, 1.0
    for _ in range(10_000):
        level, power, _ = _line(np.log(1 / x + g), np.log(y))
        power = max(power, 0.0)
        if power > 0:
            choices = np.exp((np.log(y) - level) / power) - 1 / x
            choices = np.concatenate([[g], choices[choices >= 0]])
            errors = [np.sum((np.log(y) - level - power * np.log(1 / x + each)) ** 2) for each in choices]
            g = float(choices[int(np.argmin(errors))])
        if abs(np.exp(level) - before) < 1e-10:
            break
        before = float(np.exp(level))
    return _published(x, y, lambda at: np.exp(level) * (1 / at + g) ** power)


def _published(x: Array, y: Array, predict: Callable[[Array], Array]) -> Published:
    return Published(predict, 0.5 * float(np.sum((np.log(y) - np.log(predict(x))) ** 2)))
