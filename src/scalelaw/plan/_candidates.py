"""The runs that may be made: scales, settings, what each costs, and how many more of each are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Candidates"]

Array: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Candidates:
    """A pool of runs.

    Args:
        over, hyper: scale columns and hyperparameters.
        points: the scales.
        cell: place in `points` of each candidate, `(n,)`.
        z: coordinates of its setting (`axis.py`), `(n, hyper)`.
        cost: FLOPs of one run, `(n,)`.
        repeats: runs already made there, `(n,)`.
        left: runs that may still be made there, `(n,)`.
    """

    over: tuple[str, ...]
    hyper: tuple[str, ...]
    points: tuple[Mapping[str, float], ...]
    cell: Places
    z: Array
    cost: Array
    repeats: Array
    left: Array

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def scale(self) -> Array:
        """ln of each point's scale columns, `(points, over)`."""
        return np.log([[point[name] for name in self.over] for point in self.points])

    def only(self, rows: Places) -> Candidates:
        """Some of the candidates."""
        z, cost, repeats, left = (each[rows] for each in (self.z, self.cost, self.repeats, self.left))
        return Candidates(self.over, self.hyper, self.points, self.cell[rows], z, cost, repeats, left)
