"""The size of one thing at several widths: its power of the width with an interval, and what that says."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._student import quantile
from .estimate import Estimate, number

__all__ = ["QUANTITIES", "Growth", "Slope", "growth", "slope", "widened"]

Array: TypeAlias = NDArray[np.float64]

QUANTITIES: Mapping[str, str] = {
    "activation": "RMS of the layer's output before its ReLU",
    "change": "RMS of what that has moved by since the start",
    "own": "RMS of the part of the change that the layer's own update makes",
    "ratio": "RMS of the update over RMS of the initial weights",
}


class Growth(enum.Enum):
    """What a slope's interval says."""

    STABLE = "the same size at every width, within the margin"
    GROWS = "grows with the width by more than the margin"
    SHRINKS = "shrinks with the width by more than the margin"
    UNDECIDED = "the interval reaches both inside and beyond the margin"


@dataclass(frozen=True)
class Slope:
    """One quantity of one layer at one step against the width.

    Args:
        quantity: key of `QUANTITIES`. layer: its name. step: training steps done, 0 at the start.
        slope: power of the width, with its interval.
        end: the power at the widest, from a parabola with its own interval; None below 4 widths.
        growth: what the slope's interval says. reason: why there is no slope; empty where there is.
        widths, seeds: how many. scatter: of the widths' means about the line, in ln RMS; `noise` what the seeds alone would make.
    """

    quantity: str
    layer: str
    step: int
    slope: Estimate
    end: Estimate | None
    growth: Growth
    reason: str
    widths: int
    seeds: int
    scatter: float
    noise: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **{name: getattr(self, name) for name in ("quantity", "layer", "step")},
            "slope": self.slope.to_dict(),
            "end": None if self.end is None else self.end.to_dict(),
            "growth": self.growth.name,
            "message": self.reason or self.growth.value,
            **{name: getattr(self, name) for name in ("widths", "seeds")},
            "scatter": number(self.scatter),
            "noise": number(self.noise),
        }


def slope(key: tuple[str, str, int], group: Mapping[tuple[float, Any], float], level: float, margin: float) -> Slope:
    """The slope of ln RMS against ln width.

    A line is fitted to the widths' means (over seeds) y of ln RMS at x = ln width, W widths, by least squares:

        s = sum (x - mean x) y / S,   S = sum (x - mean x)^2,   s +- t(W - 2) sqrt(sum r^2 / (W - 2) / S)

    with r the means' residuals: the width is the unit. A law is never quite a line, so widths scatter about it by more than
    seeds explain, and however many seeds there are, they say nothing about that scatter. The interval is exact where the
    scatter is normal, whatever share of it is the seeds'. What a seed shares over the widths, its data, cancels.

    Args:
        key: quantity, layer, step. group: (width, seed) -> RMS. level: of the interval.
        margin: see `growth`; STABLE also asks that the slope at the widest, from a parabola, is not shown to lie beyond it.
    """
    widths = sorted({width for width, _ in group})
    everywhere = [seed for seed in dict.fromkeys(seed for _, seed in group) if all((width, seed) in group for width in widths)]
    kept = {place: rms for place, rms in group.items() if not everywhere or place[1] in everywhere}
    bad = next((place for place, rms in kept.items() if not (math.isfinite(rms) and rms > 0)), None)
    reason = ""
    if bad is not None:
        what, mend = ("does not move", "raise the rate") if kept[bad] == 0 else ("is not finite", "lower the rate")
        reason = f"The {key[0]} of the layer {key[1]} {what} at width {bad[0]:g} after {key[2]} steps: {mend}"
    elif len(widths) < 3:
        reason = f"The layer {key[1]} has been measured at {len(widths)} widths only: give at least 3"
    none = Estimate(math.nan, -math.inf, math.inf, level)
    if reason:
        return Slope(*key, none, None, Growth.UNDECIDED, reason, len(widths), len(everywhere), math.nan, math.nan)
    x = np.log(widths)
    logs = [[math.log(rms) for (width, _), rms in kept.items() if width == each] for each in widths]
    y = np.array([math.fsum(each) / len(each) for each in logs], dtype=np.float64)
    found, residual = _straight(x, y, level)
    end = _end(x, y, level) if len(x) > 3 else None
    said = growth(found, margin)
    if said is Growth.STABLE and end is not None and growth(end, margin) in (Growth.GROWS, Growth.SHRINKS):
        said = Growth.UNDECIDED
    scatter = math.sqrt(float(residual @ residual) / (len(x) - 2))
    noise = _noise(np.array([[math.log(kept[width, seed]) for seed in everywhere] for width in widths]))
    return Slope(*key, found, end, said, "", len(widths), len(everywhere), scatter, noise)


def _straight(x: Array, y: Array, level: float) -> tuple[Estimate, Array]:
    """The slope with its interval, and the residuals."""
    off = x - x.mean()
    spread = float(off @ off)
    value = float(off @ y) / spread
    residual = y - y.mean() - value * off
    stderr = math.sqrt(float(residual @ residual) / (len(x) - 2) / spread)
    return _estimate(value, stderr, len(x) - 2, level), residual


def _end(x: Array, y: Array, level: float) -> Estimate:
    """The slope of a parabola at the largest x, b + 2 c x, with the interval of t(W - 3)."""
    design = np.vander(x - x[-1], 3, increasing=True)
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ (design.T @ y)
    residual = y - design @ beta
    stderr = math.sqrt(float(residual @ residual) / (len(x) - 3) * float(inverse[1, 1]))
    return _estimate(float(beta[1]), stderr, len(x) - 3, level)


def _estimate(value: float, stderr: float, degrees: int, level: float) -> Estimate:
    reach = quantile(0.5 + level / 2, degrees) * stderr
    return Estimate(value, value - reach, value + reach, level, stderr)


def _noise(y: Array) -> float:
    """Standard deviation of a width's mean by its seeds, what these share over widths taken out; (widths, seeds) -> number."""
    widths, seeds = y.shape if y.ndim == 2 else (len(y), 0)
    if seeds < 2:
        return math.nan
    left = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    return math.sqrt(float(np.sum(left**2)) / ((widths - 1) * (seeds - 1)) / seeds)


def widened(each: Slope, count: int) -> Estimate:
    """The slope with its level shared among `count` slopes (Bonferroni): 1 - (1 - level) / count."""
    return _estimate(each.slope.value, each.slope.stderr, each.widths - 2, 1 - (1 - each.slope.level) / count)


def growth(slope: Estimate, margin: float) -> Growth:
    """Two one-sided tests against the margin m (Schuirmann 1987).

    STABLE if the interval lies within (-m, m), GROWS if it lies above m, SHRINKS if below -m, else UNDECIDED. Each wrong call
    has probability (1 - level) / 2 at most: a slope beyond m is called STABLE, or one within it GROWS, that rarely.
    """
    if slope.low > margin:
        return Growth.GROWS
    if slope.high < -margin:
        return Growth.SHRINKS
    return Growth.STABLE if -margin < slope.low and slope.high < margin else Growth.UNDECIDED
