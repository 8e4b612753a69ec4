"""Rows of metrics, as trackers that log dictionaries keep them: which of the columns is the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._reading import Series

__all__ = ["STEP", "by_row"]

# Names of a run's own count of steps. A tracker's count, such as `_step`, goes up once per call, whatever a step is.
STEP = (
    "train/global_step",
    "trainer/global_step",
    "global_step",
    "step",
    "iteration",
    "iter",
    "iterations",
    "train_step",
    "update",
    "_step",
)
_RUNTIME, _TIMES = "_runtime", ("_runtime", "_timestamp", "_step")


def by_row(
    rows: Sequence[float], metrics: Mapping[str, tuple[Sequence[int], Sequence[Any]]]
) -> tuple[dict[str, Series], float | None]:
    """(the series of each metric, seconds that the run took).

    Args:
        rows: the tracker's own step of each row, NaN where it has none.
        metrics: of each metric the rows it stands in, and its values there.
    """
    named = next((name for name in STEP if name in metrics and name not in _TIMES), None)
    own = named if named is not None else "_step" if "_step" in metrics else None
    steps = np.asarray(rows, dtype=np.float64)
    if own is not None and (named is not None or not np.isfinite(steps).any()):
        steps = np.full(len(rows), np.nan)
        places, values = metrics[own]
        steps[np.asarray(places, dtype=np.intp)] = values
        # A row that does not say belongs to the step of the row before.
        last = np.maximum.accumulate(np.where(np.isfinite(steps), np.arange(len(steps)), -1))
        steps = np.where(last >= 0, steps[last], np.nan)
    elif not np.isfinite(steps).any():
        steps = np.arange(1.0, len(rows) + 1)
    runtime = metrics.get(_RUNTIME)
    seconds = float(max(runtime[1])) if runtime is not None and len(runtime[1]) else None
    series = {
        name: Series.of(steps[np.asarray(places, dtype=np.intp)], values)
        for name, (places, values) in metrics.items()
        if name not in _TIMES and name != own
    }
    return series, seconds
