"""Noise between seeds: how large it is near the best setting of each scale, and how much of it settings share.

Small networks are noisier than large ones, and badly set ones noisier than well set ones; one pooled variance would make the
large, well set runs, which a forecast leans on, look several times worse than they are. And a seed is not fresh noise at each
setting: it fixes the initialisation and the order of the data, so a lucky seed is lucky at the neighbouring rate too. Averaging
over rates does not remove that part.

    ln loss of run r at setting s of scale c = bowl_c(s) + common_cr + own_csr
    v_c = var(common) + var(own),      share = var(common) / v_c, one number for all scales

v_c comes from the settings near the best, weighted as the response weighs them, and is drawn towards a log-linear trend over the
scales with the weight of four degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .cells import Cell

__all__ = ["SeedNoise", "seed_noise"]

Array: TypeAlias = NDArray[np.float64]

_TREND_DEGREES = 4.0
# Standard deviation of the prior on d ln v / d ln scale; widths in the demo have about -1.
_TREND = 1.0


@dataclass(frozen=True, eq=False)
class SeedNoise:
    """Variance of ln loss between seeds.

    Args:
        total: v per scale, `(scales,)`; 0 where no setting was repeated anywhere.
        share: the part of it that the settings of a scale have in common, 0 to 1.
        seeds: runs behind a setting, averaged with the weights, `(scales,)`.
        degrees: degrees of freedom of all scales together; 0 without replicates.
    """

    total: Array
    share: float
    seeds: Array
    degrees: float

    @property
    def common(self) -> Array:
        """Variance that averaging over the settings of a scale leaves, `(scales,)`."""
        return self.share * self.total / np.maximum(self.seeds, 1.0)

    @property
    def own(self) -> Array:
        """Variance of one run that its scale's other settings do not share, `(scales,)`."""
        return (1.0 - self.share) * self.total


def seed_noise(cells: Sequence[Cell], weights: Sequence[Array]) -> SeedNoise:
    """Estimate it from repeated settings.

    Args:
        cells: runs by scale.
        weights: of each setting, `(settings,)` per scale; 1 near the best, towards 0 away from it.
    """
    squares = np.array([float(np.sum(w * cell.squares)) for cell, w in zip(cells, weights, strict=True)])
    degrees = np.array([float(np.sum(w * (cell.count - 1))) for cell, w in zip(cells, weights, strict=True)])
    seeds = np.array([float(np.sum(w * cell.count) / np.sum(w)) for cell, w in zip(cells, weights, strict=True)])
    if degrees.sum() < 1.0 or squares.sum() <= 0.0:
        return SeedNoise(np.zeros(len(cells)), 0.0, seeds, 0.0)
    trend = _trend(cells, squares, degrees)
    total = (_TREND_DEGREES * trend + squares) / (_TREND_DEGREES + degrees)
    return SeedNoise(total, _share(cells, weights), seeds, float(degrees.sum()))


def _trend(cells: Sequence[Cell], squares: Array, degrees: Array) -> Array:
    """Variance along the scales: ln v by weighted least squares with a prior on its slopes."""
    known = (degrees > 0.5) & (squares > 0)
    pooled = squares.sum() / degrees.sum()
    scale = np.log([list(cell.point.values()) for cell in cells])
    scale = scale - np.average(scale, axis=0, weights=degrees)
    # E ln(chi2_d / d) is about -1/d, and its variance about 2/d.
    y = np.log(squares[known] / degrees[known] / pooled) + 1.0 / degrees[known]
    X = np.concatenate([np.ones((int(known.sum()), 1)), scale[known]], axis=1)
    weight = degrees[known] / 2.0
    prior = np.diag([0.01, *[1.0 / _TREND**2] * scale.shape[1]])
    theta = np.linalg.solve((X.T * weight) @ X + prior, X.T @ (weight * y))
    return pooled * np.exp(np.clip(theta[0] + scale @ theta[1:], -10.0, 10.0))


def _share(cells: Sequence[Cell], weights: Sequence[Array]) -> float:
    """Seeds' means over settings vary by common + own * k, k = sum w^2 / (sum w)^2; single runs by common + own."""
    common = whole = 0.0
    for cell, w in zip(cells, weights, strict=True):
        if cell.deviation is None or cell.deviation.shape[1] < 2:
            continue
        used = np.all(np.isfinite(cell.deviation), axis=1) & (w > 0)
        if int(used.sum()) < 2:
            continue
        part, table = w[used] / w[used].sum(), cell.deviation[used]
        free = table.shape[1] - 1
        k = float(np.sum(part**2))
        single = float(np.sum(part * np.sum(table**2, axis=1))) / free
        mean = float(np.sum((part @ table) ** 2)) / free
        if k < 0.9 and single > 0:
            # Each scale counts by its degrees of freedom, whatever its variance; only the whole is held between 0 and 1.
            common += free * (mean - k * single) / (1.0 - k) / single
            whole += free
    return min(max(common / whole, 0.0), 1.0) if whole else 0.0
