"""Grids that depend on the data: levels below the lowest outcome, above the highest, and places along the sizes."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["above", "along", "below"]

Array: TypeAlias = NDArray[np.float64]


def below(y: Array, count: int) -> Array:
    """Candidates for an irreducible loss: 0, and values that near the lowest outcome."""
    lowest = float(np.min(y))
    return lowest * np.concatenate([[0.0], 1 - np.geomspace(0.9, 1e-3, count - 1)])


def above(y: Array, count: int) -> Array:
    """Candidates for an upper plateau: from just above the highest outcome to eleven times it."""
    return float(np.max(y)) * (1 + np.geomspace(1e-3, 10.0, count))


def along(logs: Array, count: int) -> Array:
    """Candidates for a place along an input, inside its range; plain values from logarithms."""
    low, high = float(np.min(logs)), float(np.max(logs))
    return np.exp(np.linspace(low, high, count + 2)[1:-1])
