"""Stopping runs that are certain to diverge, by what they report.

A loss that is not finite stops a run at once. So does one that has not come down to its start for long: every report of the last
quarter of the planned steps, and these are ten or more, is above the first one by 5 % and beyond the noise of a report
(`train.outcome.above_noise`). Nothing is stopped where the trial does not say its `steps`, where the first report comes later
than 5 % of them, or where losses are not positive.

A run is allowed to rise at first, however high: near the best rates networks do, and come back. In `benchmarks/stopping` no run
that ended well was above its start for longer than 15 % of its steps.
"""

from __future__ import annotations

from ..train.outcome import START_SHARE, above_noise
from ._course import Course

__all__ = ["hopeless"]

ABOVE = 0.05
WAIT = 0.25
LEAST = 10


def hopeless(course: Course, steps: float) -> bool:
    """Whether a run of so many steps is certain to end above its start."""
    first, last = course.first, course.last
    if first is None or last is None or first[1] <= 0 or first[0] > max(START_SHARE * steps, 1):
        return False
    bar = (1 + ABOVE) * first[1]
    if last[1] <= bar or last[0] < WAIT * steps:
        return False
    since, count = course.above(bar * above_noise(course.noise()))
    return count >= LEAST and last[0] - since >= WAIT * steps
