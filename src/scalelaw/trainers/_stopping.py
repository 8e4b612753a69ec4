"""Stopping runs that are certain to diverge, by what they report.

A loss that is not finite stops a run at once, and so does one above a billion and a billion times the first report. Nothing less
is certain: in `benchmarks/stopping` cross-entropies came back from 30,000 times their start, and runs that ended well had been
above it for most of their steps, until the rate fell. A billion leaves as much room to squared errors, in which the same outputs
count for the square.
"""

from __future__ import annotations

from ._course import Course

__all__ = ["hopeless"]

BLOWN_UP = 1e9


def hopeless(course: Course) -> bool:
    """Whether the last report is beyond return."""
    first, last = course.first, course.last
    return first is not None and last is not None and last[1] > BLOWN_UP * max(abs(first[1]), 1.0)
