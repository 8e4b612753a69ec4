"""The losses that a run reports, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..train.outcome import points
from ..trial import Curve

__all__ = ["Course"]

# Reports that are kept; beyond, all but the newest are merged between points evenly spaced in the logarithm of their steps.
MOST = 4096
NEWEST = 1024
MERGED = 2048
# Points of the curve that is stored.
CURVE_POINTS = 200


class Course:
    """Reported losses by step. A step that is not after the last one starts again from there: of a restart the last wins."""

    def __init__(self) -> None:
        self.first: tuple[int, float] | None = None
        self._steps: list[int] = []
        self._losses: list[float] = []
        self._counts: list[int] = []

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def last(self) -> tuple[int, float] | None:
        """The last report; None before the first."""
        return (self._steps[-1], self._losses[-1]) if self._steps else None

    @property
    def steps(self) -> Sequence[int]:
        """Steps of the reports."""
        return self._steps

    @property
    def losses(self) -> Sequence[float]:
        """Losses of the reports, each the mean of those that were merged."""
        return self._losses

    def add(self, step: int, loss: float) -> None:
        """A report."""
        while self._steps and self._steps[-1] >= step:
            for each in (self._steps, self._losses, self._counts):
                each.pop()
        if not self._steps:
            self.first = (step, loss)
        self._steps.append(step)
        self._losses.append(loss)
        self._counts.append(1)
        if len(self._steps) > MOST:
            self._merge()

    def mean(self, after: float) -> tuple[float, int]:
        """Mean loss of the reports after a step, the last one at least; and of how many."""
        total, count = 0.0, 0
        for step, loss, weight in zip(reversed(self._steps), reversed(self._losses), reversed(self._counts), strict=True):
            if count and step <= after:
                break
            total, count = total + weight * loss, count + weight
        return total / count, count

    def noise(self) -> float:
        """Standard deviation of one report in ln loss, by the differences of neighbours: what moves in between is counted in.

        Reports that were merged tell nothing of a single one. 0 where a loss is not positive.
        """
        losses = np.array(self._losses)
        if len(losses) < 2 or losses.min() <= 0:
            return 0.0
        single = np.array(self._counts) == 1
        between = np.abs(np.diff(np.log(losses)))[single[1:] & single[:-1]]
        return float(np.median(between)) / (0.6745 * math.sqrt(2)) if len(between) else 0.0

    def curve(self) -> Curve | None:
        """At most about 200 points, evenly spaced in the logarithm of their steps, each the mean of its reports."""
        steps, losses, counts = self._arrays()
        if not len(steps):
            return None
        if len(steps) > CURVE_POINTS:
            steps, losses, _ = _between(points(int(steps[-1]), CURVE_POINTS), steps, losses, counts)
        return Curve(tuple(map(int, steps)), tuple(map(float, losses)))

    def _arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Without a report at step 0: that is the start, and no step's loss."""
        first = next((place for place, step in enumerate(self._steps) if step > 0), len(self._steps))
        steps, losses, counts = (np.array(each[first:], float) for each in (self._steps, self._losses, self._counts))
        return steps.astype(np.int64), losses, counts

    def _merge(self) -> None:
        arrays = [np.array(each, float) for each in (self._steps, self._losses, self._counts)]
        old, new = [each[:-NEWEST] for each in arrays], [each[-NEWEST:] for each in arrays]
        # A report at step 0 is the start, and no step's loss: it stays by itself.
        zero = int(old[0][0] == 0)
        merged = _between(points(self._steps[-1], MERGED), *(each[zero:] for each in old))
        steps, losses, counts = (np.concatenate([o[:zero], m, n]) for o, m, n in zip(old, merged, new, strict=True))
        self._steps, self._losses, self._counts = steps.astype(int).tolist(), losses.tolist(), counts.astype(int).tolist()


def _between(
    ends: NDArray[np.int64], steps: NDArray[Any], losses: NDArray[np.float64], counts: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """The last step, the mean loss and the number of the reports after each end up to the next."""
    _, starts = np.unique(np.searchsorted(ends, steps), return_index=True)
    weights = np.add.reduceat(counts, starts)
    means = np.add.reduceat(losses * counts, starts) / weights
    return steps[np.append(starts[1:], len(steps)) - 1], means, weights
