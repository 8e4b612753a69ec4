"""Optuna's relational storage in SQLite."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import DataError
from ._optuna import OptunaTrial, external, number_of, run_of, seconds_between
from ._reading import Reading, TrackedRun
from ._sqlite import databases, reading, rows
from ._tracked import Tracker

__all__ = ["OptunaSqlite"]

_TABLES = ("studies", "trials", "trial_params", "trial_values")


class OptunaSqlite(Tracker):
    """The database of `sqlite:///study.db`, opened to be read only; a trial is a run.

    A choice is stored as its place among the choices, and NaN and infinities by a word beside; both are read as what they were.
    Intermediate values are the curve, the final value the loss. Trials that have not begun are left out.
    """

    name = "optuna_sqlite"
    summary = "Optuna's storage in SQLite, read without Optuna"

    def recognises(self, path: Path) -> bool:
        """By the tables of the file, or of a file in the folder."""
        return bool(databases(path, _TABLES))

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """The trials of every study."""
        for file in databases(path, _TABLES):
            try:
                found = _trials(file)
            except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                raise DataError(f"a value in it does not read ({error})", str(file), "Restore it from a copy") from error
            for trial in reading.each(found):
                yield run_of(trial, str(file))


def _trials(file: Path) -> list[OptunaTrial]:
    with reading(file) as connection:
        studies = dict(connection.execute("SELECT study_id, study_name FROM studies"))
        first = "SELECT study_id, direction FROM study_directions WHERE objective = 0"
        directions = dict(connection.execute(first)) if _has(connection, "study_directions") else {}
        columns = ("trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete")
        found: dict[Any, OptunaTrial] = {}
        for key, number, study, state, start, end in rows(connection, "trials", columns):
            if state != "WAITING":
                trial = OptunaTrial(str(studies.get(study)), int(str(number if number is not None else key)), str(state))
                trial.maximised = directions.get(study) == "MAXIMIZE"
                trial.seconds = seconds_between(start, end)
                found[key] = trial
        rest: dict[Any, OptunaTrial] = defaultdict(lambda: OptunaTrial("", 0))  # trials that are left out
        rest.update(found)
        _fill(connection, rest)
    return list(found.values())


def _has(connection: Any, table: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone())


def _fill(connection: Any, found: dict[Any, OptunaTrial]) -> None:
    for key, name, value, distribution in rows(
        connection, "trial_params", ("trial_id", "param_name", "param_value", "distribution_json")
    ):
        found[key].params[str(name)] = external(value, distribution)
    for key, place, value, kind in rows(connection, "trial_values", ("trial_id", "objective", "value", "value_type")):
        found[key].values[int(str(place or 0))] = number_of(value, kind)
    columns = ("trial_id", "step", "intermediate_value", "intermediate_value_type")
    if _has(connection, "trial_intermediate_values"):
        for key, step, value, kind in rows(connection, "trial_intermediate_values", columns):
            found[key].steps[int(str(step))] = number_of(value, kind)
    if _has(connection, "trial_user_attributes"):
        for key, name, value in rows(connection, "trial_user_attributes", ("trial_id", "key", "value_json")):
            found[key].attributes[str(name)] = json.loads(str(value))
