"""The axis a hyperparameter is tuned on: a coordinate that may take any value, in nats, in which bowls are near round.

Most settings act by their ratio, ln x. Averaging constants act by what they leave, ln (1 - x); shares of a whole by their odds,
ln x / (1 - x). Along such an axis a law of the best setting is a power law in x, in 1 - x, or in the odds.
"""

from __future__ import annotations

import enum
import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .notation import quantity

__all__ = ["Axis", "axis_of"]

Array: TypeAlias = NDArray[np.float64]


class Axis(enum.Enum):
    """The positive quantity whose logarithm is the coordinate."""

    RATIO = "The setting acts by its ratio: ln x."
    REST = "The setting acts by what it leaves: ln (1 - x)."
    ODDS = "The setting is a share: ln x / (1 - x)."

    def coordinate(self, values: Array) -> Array:
        """The coordinate; NaN where a value has none (a ratio of 0, a share of 0 or 1)."""
        x = np.asarray(values, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self is Axis.RATIO:
                found = np.log(x)
            elif self is Axis.REST:
                found = np.log1p(-x)
            else:
                found = np.log(x) - np.log1p(-x)
        return np.where(np.isfinite(found), found, np.nan)

    def setting(self, coordinate: float) -> float:
        """The setting at a coordinate."""
        bounded = min(max(coordinate, -700.0), 700.0)
        if self is Axis.RATIO:
            return math.inf if coordinate > 700 else math.exp(bounded)
        return -math.expm1(bounded) if self is Axis.REST else 1 / (1 + math.exp(-bounded))

    def between(self, low: float, high: float) -> tuple[float, float]:
        """The interval of settings between two coordinates, in ascending order."""
        ends = self.setting(low), self.setting(high)
        return min(ends), max(ends)

    def words(self, hyper: str) -> str:
        """What the coordinate is the logarithm of: "learning_rate", "1 - beta2"."""
        return {Axis.RATIO: "{}", Axis.REST: "1 - {}", Axis.ODDS: "{0} / (1 - {0})"}[self].format(hyper)


_REST = ("beta1", "beta2", "momentum")
_ODDS = ("warmup", "dropout", "final_fraction")


def axis_of(hyper: str) -> Axis:
    """The axis of a hyperparameter by its column; a name that nobody knows is a ratio."""
    known = quantity(hyper)
    column = known.column if known else hyper
    return Axis.REST if column in _REST else Axis.ODDS if column in _ODDS else Axis.RATIO
