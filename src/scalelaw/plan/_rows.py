"""Chosen candidates as rows of a table: scale, recipe, settings, seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..axis import axis_of
from ..notation import HYPERPARAMETERS
from ..study import Grid, Study
from ..trial import TrialSpec, Value
from ..trials import Trials
from ._candidates import Candidates
from ._result import Plan, PlannedRun
from ._select import Pick

__all__ = ["rows_of", "study_of"]

Array: TypeAlias = NDArray[np.float64]


def rows_of(
    picks: Sequence[Pick], pool: Candidates, recipe: Callable[[Mapping[str, float]], dict[str, Any]], trials: Trials
) -> list[PlannedRun]:
    """Picks as rows: scale, recipe, settings, and the next seed of that setting."""
    used = _used_seeds(trials, pool)
    found: list[PlannedRun] = []
    for pick in picks:
        settings = {
            name: float(f"{axis_of(name).setting(float(value)):.8g}")
            for name, value in zip(pool.hyper, pool.z[pick.index], strict=True)
        }
        point = pool.points[int(pool.cell[pick.index])]
        taken = used.setdefault(_key(tuple(point.values()), pool.z[pick.index]), set())
        seed = next(each for each in itertools.count() if each not in taken)
        taken.add(seed)
        gain = pick.gain if math.isfinite(pick.gain) else None
        found.append(PlannedRun({**recipe(point), **settings, "seed": seed}, pick.cost, gain, pick.filling))
    return found


def _used_seeds(trials: Trials, pool: Candidates) -> dict[tuple[float, ...], set[int]]:
    """Seeds by scale and setting, of runs that failed too; runs without a seed count 0, 1, 2 ..."""
    used: dict[tuple[float, ...], set[int]] = {}
    if not all(name in trials for name in (*pool.over, *pool.hyper)):
        return used
    sizes = np.stack([trials.numbers(name) for name in pool.over], axis=1)
    z = np.stack([axis_of(name).coordinate(trials.numbers(name)) for name in pool.hyper], axis=1)
    told = "seed" in trials and trials["seed"].dtype != object
    seeds = trials.numbers("seed") if told else np.full(len(trials), np.nan)
    for size, setting, seed in zip(sizes, z, seeds, strict=True):
        if np.all(np.isfinite(setting)) and np.all(np.isfinite(size)):
            taken = used.setdefault(_key(tuple(size), setting), set())
            taken.add(int(seed) if np.isfinite(seed) else len(taken))
    return used


def _key(size: Sequence[float], setting: Array) -> tuple[float, ...]:
    return (*(float(f"{value:.9g}") for value in size), *(round(float(value), 6) for value in setting))


def study_of(found: Plan, template: TrialSpec, name: str) -> Study:
    """The plan's runs as a study that `scalelaw run` executes.

    What a run does not say (task, model, depth, schedule, batch ...) is as in the template. Runs that differ in their first
    hyperparameter only share a grid.

    Args:
        template: a run of the same recipe.
        name: of the study.
    """
    groups: dict[tuple[Any, ...], list[Value]] = {}
    first = found.hyper[0] if found.hyper else ""
    for run in found.runs:
        scale = {**template.scale, **{key: value for key, value in run.values.items() if key in template.scale}}
        scale |= {key: value for key, value in run.values.items() if key in found.target}
        settings = {key: value for key, value in run.values.items() if key in HYPERPARAMETERS or key in found.hyper}
        settings = {**template.hyperparameters, **settings}
        value = settings.pop(first)
        key = (tuple(scale.items()), tuple(settings.items()), int(run.values["seed"]))
        groups.setdefault(key, []).append(value)
    grids = tuple(
        Grid(
            {column: (value,) for column, value in scale},
            {first: tuple(values), **{column: (value,) for column, value in settings}},
            (seed,),
        )
        for (scale, settings, seed), values in groups.items()
    )
    options = dict(template.task_options)
    return Study(name, template.task, grids, template.model, options, found.target, found.budget)
