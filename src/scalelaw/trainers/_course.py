"""The losses that a run reports, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..train.outcome import points
from ..trial import Curve

__all__ = ["Course"]

# Reports that are kept apart; beyond, neighbours are merged in pairs.
MOST = 4096
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

        0 where a loss is not positive.
        """
        losses = np.array(self._losses)
        if len(losses) < 2 or losses.min() <= 0:
            return 0.0
        return float(np.median(np.abs(np.diff(np.log(losses))))) / (0.6745 * math.sqrt(2))

    def curve(self) -> Curve | None:
        """At most about 200 points, evenly spaced in the logarithm of their steps, each the mean of its reports."""
        steps, losses, counts = self._arrays()
        if not len(steps):
            return None
        if len(steps) > CURVE_POINTS:
            ends = points(int(steps[-1]), CURVE_POINTS)
            _, starts = np.unique(np.searchsorted(ends, steps), return_index=True)
            weights = np.add.reduceat(counts, starts)
            losses = np.add.reduceat(losses * counts, starts) / weights
            steps = steps[np.append(starts[1:], len(steps)) - 1]
        return Curve(tuple(map(int, steps)), tuple(map(float, losses)))

    def _arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Without a report at step 0: that is the start, and no step's loss."""
        first = next((place for place, step in enumerate(self._steps) if step > 0), len(self._steps))
        steps, losses, counts = (np.array(each[first:], float) for each in (self._steps, self._losses, self._counts))
        return steps.astype(np.int64), losses, counts

    def _merge(self) -> None:
        steps, losses, counts = (np.array(each) for each in (self._steps, self._losses, self._counts))
        odd = len(steps) % 2  # the last one stays by itself: it is the newest
        pairs = [each[: len(each) - odd].reshape(-1, 2) for each in (steps, losses, counts)]
        merged = (pairs[1] * pairs[2]).sum(axis=1) / pairs[2].sum(axis=1)
        self._steps = [*pairs[0][:, 1].tolist(), *steps[len(steps) - odd :].tolist()]
        self._losses = [*merged.tolist(), *losses[len(losses) - odd :].tolist()]
        self._counts = [*pairs[2].sum(axis=1).tolist(), *counts[len(counts) - odd :].tolist()]
