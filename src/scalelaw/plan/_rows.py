"""Chosen candidates as rows of a table: scale, recipe, settings, seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..axis import axis_of
from ..trials import Trials
from ._candidates import Candidates
from ._result import PlannedRun
from ._select import Pick

__all__ = ["rows_of"]


def rows_of(
    picks: Sequence[Pick], pool: Candidates, recipe: Callable[[Mapping[str, float]], dict[str, Any]], trials: Trials
) -> list[PlannedRun]:
    """Picks as rows: scale, recipe, settings, and the next seed of that setting."""
    seeds: dict[int, int] = {}
    first = _first_seed(trials)
    found: list[PlannedRun] = []
    for pick in picks:
        settings = {
            name: float(f"{axis_of(name).setting(float(value)):.12g}")
            for name, value in zip(pool.hyper, pool.z[pick.index], strict=True)
        }
        seed = seeds.get(pick.index, int(pool.repeats[pick.index]))
        seeds[pick.index] = seed + 1
        gain = pick.gain if math.isfinite(pick.gain) else None
        values = {**recipe(pool.points[int(pool.cell[pick.index])]), **settings, "seed": first + seed}
        found.append(PlannedRun(values, pick.cost, gain, pick.filling))
    return found


def _first_seed(trials: Trials) -> int:
    """The least seed that is in use, 0 where none is told."""
    if "seed" not in trials or trials["seed"].dtype == object:
        return 0
    seeds = trials.numbers("seed")
    return int(np.nanmin(seeds)) if np.isfinite(seeds).any() else 0
