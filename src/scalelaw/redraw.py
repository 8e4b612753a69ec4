"""Redrawing a response: the cell-cluster bootstrap of the best settings' law.

Runs of one scale share that scale's own scatter, so whole scales are drawn with replacement, and settings within each; every
redrawn table is solved anew, from the full data's solution, with its window, its centres and its tau. Rows alone would be too
narrow. With few scales the percentiles are too narrow even so: 76 to 91 % at nominal 90 for five or six scales in
`benchmarks/calibration`, so they are printed beside the random-effects interval, from eight scales on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._surface import State, Surface, Table
from .axis import axis_of
from .estimate import Estimate
from .response import Response
from .trials import place

__all__ = ["LEAST_SCALES", "Redrawn", "redraw"]

Array: TypeAlias = NDArray[np.float64]

# Below this many scales the percentiles are not to be believed.
LEAST_SCALES = 8
_CHUNK = 50
_ROUNDS = 6


@dataclass(frozen=True, eq=False)
class Redrawn:
    """The laws of the redrawn tables.

    Args:
        response: of the full data.
        laws: coefficients, `(draws, hyperparameters, 1 + scales or 1 + 2 scales)`, as in `trend.Path.bent`.
    """

    response: Response = field(repr=False)
    laws: Array

    def at(self, point: dict[str, float], hyper: str, level: float = 0.9) -> Estimate:
        """Percentile interval of the law's value at a scale; the median stands for the value."""
        trend = self.response.trend
        s = trend.place(place(self.response.over, point))
        row = np.array([1.0, *s, *(0.5 * s**2)])[: self.laws.shape[2]]
        draws = self.laws[:, self.response.hyper.index(hyper)] @ row
        low, value, high = (float(each) for each in np.quantile(draws, [0.5 - level / 2, 0.5, 0.5 + level / 2]))
        axis = axis_of(hyper)
        return Estimate(axis.setting(value), *axis.between(low, high), level, float(draws.std()))

    def exponent(self, hyper: str, column: str, level: float = 0.9) -> Estimate:
        """Percentile interval of the exponent at the middle of the data."""
        k = 1 + self.response.over.index(column)
        draws = self.laws[:, self.response.hyper.index(hyper), k]
        low, value, high = (float(each) for each in np.quantile(draws, [0.5 - level / 2, 0.5, 0.5 + level / 2]))
        return Estimate(value, low, high, level, float(draws.std()))


def redraw(response: Response, draws: int = 1000, seed: int = 0) -> Redrawn:
    """Draw scales, and settings within them, with replacement, and solve each table.

    The noise of seeds stays as the full data have it. Deterministic given the seed.
    """
    random = np.random.default_rng(seed)
    full, state = response.solver.t, response.solver.state
    found = [_refit(response, *_drawn(full, state, min(_CHUNK, draws - first), random)) for first in range(0, draws, _CHUNK)]
    return Redrawn(response, np.concatenate(found))


def _drawn(full: Table, state: State, count: int, random: np.random.Generator) -> tuple[Table, State]:
    """Tables of drawn scales with drawn settings, and where their solutions start."""
    C, n = full.y.shape[1:]
    scales = random.integers(0, C, (count, C))
    rows = (full.count[0] > 0).sum(axis=1)[scales]
    settings = (random.random((count, C, n)) * rows[..., None]).astype(np.int64)
    inside = np.arange(n) < rows[..., None]
    at = (scales[..., None], settings)
    table = Table(
        full.z[0][at],
        full.y[0][at],
        np.where(inside, full.count[0][at], 0.0),
        full.own[0][scales],
        full.s[0][scales],
        full.level[0][scales],
        full.known,
        full.doubt,
    )

    def several(values: Array) -> Array:
        return np.repeat(values, count, axis=0)

    start = State(
        state.centre[0][scales],
        state.mu[0][scales],
        state.H[0][scales],
        several(state.shared),
        several(state.tau),
        several(state.noise),
        np.take_along_axis(state.robust[0][scales], settings, axis=2),
        several(state.between),
    )
    return table, start


def _refit(response: Response, table: Table, start: State) -> Array:
    surface = Surface(table, replace(response.solver.p, rounds=_ROUNDS), start)
    surface.run()
    return surface.B[:, :, : surface.X.shape[2] - table.level.shape[2]]
