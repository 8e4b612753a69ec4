"""What MLflow's two stores have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["LARGEST", "seconds_between", "steps_of"]

# An infinity is stored as the largest float64.
LARGEST = 1.797e308


def steps_of(steps: Sequence[float]) -> Sequence[float]:
    """The steps, or 1, 2, 3, ... where every record was logged without one, which is stored as step 0."""
    return list(range(1, len(steps) + 1)) if len(steps) > 1 and not any(steps) else steps


def seconds_between(start: Any, end: Any) -> float | None:
    """The time between two stamps in milliseconds."""
    return (end - start) / 1000 if isinstance(start, int) and isinstance(end, int) and end >= start else None
