"""Approach 1: which size is best at which compute, read off the curves of loss against compute.

Two neighbouring sizes N_1 < N_2 are equally good at one compute C_12, where the envelope of the curves hands over from one to
the other; there ln N* lies half-way between them. Each pair gives one such handover, and ln N* = p + a ln C is fitted through
them. One point a pair counts what the data hold: reading the argmin off a grid of a thousand computes (the usual way) repeats a
few sizes a thousand times, and their errors with them.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from ..estimate import random_effects
from ._result import Applies, Approach, Line, missing
from ._runs import Array, Runs, sizes_of

__all__ = ["envelope", "handovers"]

_NEAREST = 5
_LEAST = 3


def envelope(runs: Runs) -> Approach:
    """Approach 1, up to what depends on the compute that is asked for."""
    name = "approach_1"
    found, sizes = handovers(runs)
    if sizes < 3:
        return missing(name, Applies.TOO_FEW_SIZES, f"{sizes} sizes have three or more values of compute; three are needed.")
    if len(found) < _LEAST:
        return missing(name, Applies.NO_HANDOVER, f"{len(found)} found among {sizes} sizes; {_LEAST} are needed.")
    size, c, se = found[:, 0], found[:, 1], found[:, 2]
    se = np.where(np.isfinite(se), se, np.nanmedian(se) if np.isfinite(se).any() else 0.0)
    X = np.stack([np.ones_like(c), c - c.mean()], axis=1)
    slope = float(np.polyfit(c, size, 1)[0])
    if not slope > 0:
        return missing(name, Applies.NO_HANDOVER, "The handovers found do not move to larger sizes with compute: they are noise.")
    # The error lies in ln C; the slope carries it to ln N.
    slope = float(random_effects(X, size, slope * se).beta[1])
    line = random_effects(X, size, abs(slope) * se)
    path = Line(line.beta, line.covariance, float(c.mean()), line.degrees)
    told = f"{len(found)} handovers between {sizes} sizes, at {math.exp(c.min()):.3g} to {math.exp(c.max()):.3g} FLOPs."
    return Approach(name, Applies.YES, told, path=path, detail={"handovers": len(found), "scatter": float(line.tau)})


def handovers(runs: Runs) -> tuple[Array, int]:
    """Rows (ln N half-way, ln C, standard error of ln C), and the number of sizes with three or more values of compute."""
    curves: list[tuple[float, Array, Array]] = []
    for rows in sizes_of(runs.n):
        c, inverse = np.unique(np.round(runs.c[rows], 6), return_inverse=True)
        if len(c) >= 3:
            curves.append((float(runs.n[rows].mean()), c, np.bincount(inverse, runs.y[rows]) / np.bincount(inverse)))
    result: list[tuple[float, float, float]] = []
    for (small, c_small, y_small), (large, c_large, y_large) in itertools.pairwise(curves):
        at = _handover(c_small, y_small, c_large, y_large)
        if at is not None:
            result.append(((small + large) / 2, *at))
    return np.array(result).reshape(-1, 3), len(curves)


def _handover(c_small: Array, y_small: Array, c_large: Array, y_large: Array) -> tuple[float, float] | None:
    """ln C where the difference of two curves crosses zero upwards, by a line through the nodes nearest to the crossing."""
    low, high = max(c_small[0], c_large[0]), min(c_small[-1], c_large[-1])
    nodes = np.unique(np.concatenate([c_small, c_large, [low, high]]))
    nodes = nodes[(nodes >= low) & (nodes <= high)]
    if len(nodes) < 2:
        return None
    gap = np.interp(nodes, c_small, y_small) - np.interp(nodes, c_large, y_large)
    # Where noise makes several crossings, the one that best parts the nodes into "small wins" before and "large wins" after.
    cut = int(np.argmax(np.concatenate([[0.0], np.cumsum(-gap)]) + np.concatenate([np.cumsum(gap[::-1])[::-1], [0.0]])))
    if cut in (0, len(nodes)):
        return None
    middle = 0.5 * (nodes[cut - 1] + nodes[cut])
    near = np.sort(np.argsort(np.abs(nodes - middle), kind="stable")[:_NEAREST])
    x, y = nodes[near] - middle, gap[near]
    if len(near) < 3:
        # Two nodes, on either side of the crossing: a line through them, without an error.
        return float(middle + x.mean() - y.mean() * (x[1] - x[0]) / (y[1] - y[0])), math.nan
    slope, level = np.polyfit(x, y, 1)
    if not slope > 0:
        return None
    at = middle - level / slope
    if not nodes[0] <= at <= nodes[-1]:
        return None
    left = y - level - slope * x
    se = math.sqrt(float(np.sum(left**2)) / (len(near) - 2) / len(near)) / slope
    return float(at), float(se)
