"""Small pieces of linear algebra behind the surface: the mode of a scatter, the nearest positive matrix, a diagonal, a range."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["diagonal", "mode", "positive", "spans"]

Array: TypeAlias = NDArray[np.float64]


def mode(S: Array, count: Array, scale: Array) -> Array:
    """The scatter x that maximises its posterior under the prior x exp(-x / scale), which keeps it off zero (Chung et al. 2013).

    With S = the expected sum of squares of `count` departures, it solves x^3 / scale + (count - 1) x^2 = S.
    """
    x = np.sqrt(np.maximum(S, 1e-300) / count)
    for _ in range(10):
        x = x - (x**3 / scale + (count - 1) * x**2 - S) / (3 * x**2 / scale + 2 * (count - 1) * x)
    return x


def positive(matrix: Array, floor: Array) -> Array:
    """The nearest matrix whose eigenvalues are at least the floor."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, floor[..., None])[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def diagonal(values: Array) -> Array:
    return values[..., None] * np.eye(values.shape[-1])


def spans(z: Array, valid: NDArray[np.bool_]) -> Array:
    """Range of each hyperparameter over a replicate's settings, `(R, m)`."""
    high = np.where(valid[..., None], z, -np.inf).max(axis=(1, 2))
    return high - np.where(valid[..., None], z, np.inf).min(axis=(1, 2))
