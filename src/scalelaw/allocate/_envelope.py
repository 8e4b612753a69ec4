"""Approach 1: which size is best at which compute, read off the curves of loss against compute.

Two sizes N_1 < N_2, a factor 2.5 or the step of the grid apart, are equally good at one compute C_12, where the envelope hands
over from one to the other; there ln N* lies half-way between them. Each pair gives one such handover, and the line
ln C = p + ln N / a is fitted through them. One point a pair counts what the data hold: reading the argmin off a grid of a
thousand computes (the usual way) repeats a few sizes a thousand times, and their errors with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..estimate import random_effects
from ._result import Applies, Approach, Line, missing
from ._runs import Array, Runs, sizes_of

__all__ = ["envelope", "handovers"]

# A handover is read off this many nodes, or all within so many nats of compute.
_NEAREST, _NATS = 5, 1.5
_LEAST = 3
# Sizes nearer than a factor 2.5 differ too little for a handover to be seen through the noise of single runs.
_APART = math.log(2.5)


def envelope(runs: Runs) -> Approach:
    """Approach 1, up to what depends on the compute that is asked for."""
    name = "approach_1"
    found, sizes = handovers(runs)
    if sizes < 3:
        return missing(name, Applies.TOO_FEW_SIZES, f"{sizes} sizes have three or more values of compute; three are needed.")
    if len(found) < _LEAST:
        return missing(name, Applies.NO_HANDOVER, f"{len(found)} found among {sizes} sizes; {_LEAST} are needed.")
    size, c, se = found[:, 0], found[:, 1], found[:, 2]
    # The sizes are exact and the error lies in ln C, so ln C is fitted to ln N and the line turned round.
    middle = float(size.mean())
    X = np.stack([np.ones_like(size), size - middle], axis=1)
    line = random_effects(X, c, se, scale=0.2)
    level, slope = (float(value) for value in line.beta)
    if not slope > 0:
        return missing(name, Applies.NO_HANDOVER, "The handovers found do not move to larger sizes with compute: they are noise.")
    turn = np.diag([-1 / slope, -1 / slope**2])
    covariance = turn @ line.covariance @ turn
    # Half-way between two sizes, on a straight line through a bent difference, is where N* lies but for a term of second order in
    # their distance; in worlds without noise it is up to distance^2 / 12, the same at every pair.
    covariance[0, 0] += (float(np.mean(found[:, 3])) ** 2 / 12) ** 2
    path = Line(np.array([middle, 1 / slope]), covariance, level, line.degrees)
    told = f"{len(found)} handovers between {sizes} sizes, at {math.exp(c.min()):.3g} to {math.exp(c.max()):.3g} FLOPs."
    return Approach(name, Applies.YES, told, path=path, detail={"handovers": len(found), "scatter": float(line.tau)})


def handovers(runs: Runs) -> tuple[Array, int]:
    """Rows (ln N half-way, ln C, its standard error, ln N2 / N1), and how many sizes have three or more values of compute."""
    curves: list[tuple[float, Array, Array]] = []
    for rows in sizes_of(runs.n):
        c, inverse = np.unique(np.round(runs.c[rows], 6), return_inverse=True)
        if len(c) >= 3:
            curves.append((float(runs.n[rows].mean()), c, np.bincount(inverse, runs.y[rows]) / np.bincount(inverse)))
    found = np.zeros((0, 4))
    # Far pairs are seen best through noise; where curves are too short to reach from one to the other, neighbours must do.
    for apart in (_APART, 0.0):
        if len(found) < _LEAST:
            found = _crossings(curves, apart)
    return found, len(curves)


def _crossings(curves: list[tuple[float, Array, Array]], apart: float) -> Array:
    """Each size against the next one that is at least `apart` larger in ln N."""
    pairs: list[tuple[float, float, _Gap]] = []
    for place, (small, *left) in enumerate(curves):
        for large, *right in [other for other in curves[place + 1 :] if other[0] - small >= apart][:1]:
            pair = _gap((left[0], left[1]), (right[0], right[1]))
            if pair is not None:
                pairs.append(((small + large) / 2, large - small, pair))
    freedom = sum(pair.freedom for *_, pair in pairs)
    noise = math.sqrt(sum(pair.squares for *_, pair in pairs) / freedom) if freedom else 0.0
    found = [(size, *at, distance) for size, distance, pair in pairs if (at := pair.crossing(noise)) is not None]
    return np.array(found, dtype=np.float64).reshape(-1, 4)


@dataclass(frozen=True, eq=False)
class _Gap:
    """A line through the difference of two curves, small size minus large, in ln compute about `middle`.

    Args:
        beta: level and slope. inverse: of their normal matrix. ends: of the overlap. squares, freedom: of the residuals.
    """

    middle: float
    beta: Array
    inverse: Array
    ends: tuple[float, float]
    squares: float
    freedom: int

    def crossing(self, noise: float) -> tuple[float, float] | None:
        """ln C where the difference is zero, and its standard error; None unless the overlap brackets it.

        It must lie twice the noise, at its slope, inside both ends of the overlap. Without that rule pairs whose handover lies
        beyond the data enter with one that noise put inside, all at the ends of the compute range, and steepen N* ~ C^a.
        """
        level, slope = (float(value) for value in self.beta)
        if not slope > 0:
            return None
        at, reach = -level / slope, 2 * noise / slope
        if not self.ends[0] + reach < self.middle + at < self.ends[1] - reach:
            return None
        row = np.array([1.0, at])
        return self.middle + at, noise / slope * math.sqrt(float(row @ self.inverse @ row))


def _gap(small: tuple[Array, Array], large: tuple[Array, Array]) -> _Gap | None:
    """The line through the nodes nearest to where the difference changes sign."""
    low, high = max(small[0][0], large[0][0]), min(small[0][-1], large[0][-1])
    nodes = np.unique(np.concatenate([small[0], large[0], [low, high]]))
    nodes = nodes[(nodes >= low) & (nodes <= high)]
    if len(nodes) < 3:
        return None
    gap = np.interp(nodes, *small) - np.interp(nodes, *large)
    # Where noise makes several crossings, the one that best parts "small wins" before from "large wins" after.
    before, after = np.concatenate([[0.0], np.cumsum(-gap)]), np.concatenate([np.cumsum(gap[::-1])[::-1], [0.0]])
    cut = int(np.clip(np.argmax(before + after), 1, len(nodes) - 1))
    centre = 0.5 * (nodes[cut - 1] + nodes[cut])
    far = np.abs(nodes - centre)
    near = far <= max(float(np.sort(far)[min(_NEAREST, len(far)) - 1]), _NATS)
    x, y = nodes[near], gap[near]
    middle = float(x.mean())
    X = np.vander(x - middle, 2, increasing=True)
    inverse = np.asarray(np.linalg.pinv(X.T @ X), dtype=np.float64)
    beta = np.asarray(inverse @ (X.T @ y), dtype=np.float64)
    squares = float(np.sum((y - X @ beta) ** 2))
    return _Gap(middle, beta, inverse, (float(low), float(high)), squares, len(x) - X.shape[1])
