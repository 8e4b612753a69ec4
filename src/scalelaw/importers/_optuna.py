"""What Optuna's two stores have in common: a trial becomes a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..trial import Status
from ._reading import Series, TrackedRun
from ._tracked import flat

__all__ = ["OptunaTrial", "external", "number_of", "run_of", "seconds_between"]

STATES = {"COMPLETE": Status.COMPLETE, "PRUNED": Status.PRUNED, "FAIL": Status.FAILED, "RUNNING": Status.LOST}


@dataclass(eq=False)
class OptunaTrial:
    """A trial: its study, number and state, what it was given, and what it reported."""

    study: str
    number: int
    state: str = "WAITING"
    maximised: bool = False
    study_id: int = 0
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    steps: dict[int, float] = field(default_factory=dict[int, float])
    values: dict[int, float] = field(default_factory=dict[int, float])
    seconds: float | None = None


def run_of(trial: OptunaTrial, place: str) -> TrackedRun:
    """The run. The objective is the loss where it was minimised; what was maximised is `value`, which is no loss by itself.

    A trial of several objectives has the first as its loss and the others as `value_1`, ...
    """
    name = "value" if trial.maximised else "loss"
    summary = {name if place == 0 else f"value_{place}": value for place, value in trial.values.items()}
    series = {name: Series.of(list(trial.steps), list(trial.steps.values()))} if trial.steps else {}
    status = STATES.get(trial.state)
    return TrackedRun(
        f"{trial.study}/{trial.number}",
        place,
        {**flat(trial.attributes), **trial.params},
        series,
        summary,
        status,
        group=trial.study,
        name=f"trial {trial.number}",
        seconds=trial.seconds,
        error=None if status is Status.COMPLETE else f"its state in Optuna is {trial.state}",
    )


def external(value: float | None, distribution: str | Mapping[str, Any] | None) -> Any:
    """A parameter as the user wrote it: a choice is stored as its place among the choices, an integer as a float."""
    if value is None or distribution is None:
        return value
    told: Any = json.loads(distribution) if isinstance(distribution, str) else distribution
    choices = told.get("attributes", {}).get("choices")
    if isinstance(choices, list):
        place = int(value)
        return choices[place] if 0 <= place < len(choices) else None
    return int(value) if str(told.get("name", "")).startswith("Int") and float(value).is_integer() else value


def number_of(value: float | None, kind: str | None) -> float:
    """A stored value; what no database can hold is told by its kind."""
    words = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
    return words.get(str(kind), math.nan if value is None else value)


def seconds_between(start: Any, end: Any) -> float | None:
    """The time between two stamps in ISO 8601."""
    try:
        return (datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(start))).total_seconds()
    except ValueError:
        return None
