"""What a setting costs at a cell that was measured: one fixed function, which shares nothing with the estimators.

Within a cell the loss is piecewise linear in (ln rate, ln batch) over the Delaunay triangles of its finite runs, diverged ones
with their loss; outside their hull it is the loss of the nearest run. Regret = that loss less the cell's smallest, in percent of
the smallest. It is never negative.

A triangulation depends on the units of its axes: here both are natural logarithms, unscaled (rates stand 0.35 apart, batches
0.3 to 0.7). On a full rectangle of runs the choice of diagonal is Qhull's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import KDTree

from scalelaw.trials import Trials

from .steplaw import HYPER, cells

__all__ = ["Predict", "Regret"]

Predict = Callable[[float, float], tuple[float, float]]


class Regret:
    """Regret at the cells of `trials`; `batch_stretch` scales that axis before triangulating, to show how little it matters."""

    def __init__(self, trials: Trials, batch_stretch: float = 1.0) -> None:
        self._stretch = batch_stretch
        self._cells: list[tuple[tuple[float, float], float, LinearNDInterpolator, KDTree, np.ndarray]] = []
        for point, rows in cells(trials):
            finite = rows.where(np.isfinite(rows.numbers("loss")))
            places = np.log(np.stack([finite.numbers(name) for name in HYPER], axis=1)) * [1.0, batch_stretch]
            loss = finite.numbers("loss")
            self._cells.append((point, float(loss.min()), LinearNDInterpolator(places, loss), KDTree(places), loss))

    def each(self, predict: Predict) -> np.ndarray:
        """Percent, one per cell; NaN where the setting is no pair of positive finite numbers."""
        found: list[float] = []
        for point, least, inside, runs, loss in self._cells:
            rate, batch = predict(*point)
            if not (0 < rate < math.inf and 0 < batch < math.inf):
                found.append(math.nan)
                continue
            place = np.array([math.log(rate), self._stretch * math.log(batch)])
            value = float(inside(place)[0])
            if math.isnan(value):
                value = float(loss[runs.query(place)[1]])
            found.append(100 * (value / least - 1))
        return np.array(found)

    def mean(self, predict: Predict) -> float:
        """Percent."""
        return float(np.mean(self.each(predict)))
