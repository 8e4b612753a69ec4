"""Chosen candidates as rows of a table: scale, recipe, settings, seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..axis import axis_of
from ..notation import HYPERPARAMETERS
from ..study import Grid, Study
from ..trial import TrialSpec, Value
from ..trials import Trials
from ._candidates import Candidates
from ._result import Plan, PlannedRun
from ._select import Pick

__all__ = ["rows_of", "study_of"]


def rows_of(
    picks: Sequence[Pick], pool: Candidates, recipe: Callable[[Mapping[str, float]], dict[str, Any]], trials: Trials
) -> list[PlannedRun]:
    """Picks as rows: scale, recipe, settings, and the next seed of that setting."""
    seeds: dict[int, int] = {}
    first = _first_seed(trials)
    found: list[PlannedRun] = []
    for pick in picks:
        settings = {
            name: float(f"{axis_of(name).setting(float(value)):.8g}")
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
