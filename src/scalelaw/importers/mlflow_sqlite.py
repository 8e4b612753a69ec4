"""MLflow's database: `mlflow.db`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..trial import Status
from ._mlflow import LARGEST, seconds_between, steps_of
from ._reading import Reading, Series, TrackedRun
from ._sqlite import databases, reading, rows
from ._tracked import Tracker

__all__ = ["MlflowSqlite"]

_TABLES = ("runs", "experiments", "metrics", "params")
_STATES = {
    "FINISHED": Status.COMPLETE,
    "FAILED": Status.FAILED,
    "KILLED": Status.LOST,
    "RUNNING": Status.LOST,
    "SCHEDULED": Status.LOST,
}


class MlflowSqlite(Tracker):
    """An SQLite tracking store, opened to be read only.

    MLflow writes a NaN as the value 0 with a mark, and an infinity as the largest number there is; both are read as what they
    were. Deleted runs and experiments are left out. A metric that was logged without steps is counted in its order.
    """

    name = "mlflow_sqlite"
    summary = "MLflow's database (mlflow.db), read without MLflow"

    def recognises(self, path: Path) -> bool:
        """By the tables of the file, or of a file in the folder."""
        return bool(databases(path, _TABLES))

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """The runs that were not deleted."""
        for file in databases(path, _TABLES):
            yield from _runs(file, reading)


def _runs(file: Path, how: Reading) -> Iterable[TrackedRun]:
    with reading(file) as connection:
        experiments = {
            key: (name, stage)
            for key, name, stage in rows(connection, "experiments", ("experiment_id", "name", "lifecycle_stage"))
        }
        columns = ("run_uuid", "name", "experiment_id", "status", "start_time", "end_time", "lifecycle_stage")
        listed: list[Any] = [
            row
            for row in rows(connection, "runs", columns)
            if row[6] != "deleted" and experiments.get(row[2], ("", ""))[1] != "deleted"
        ]
        marked = any(row[1] == "is_nan" for row in connection.execute("PRAGMA table_info(metrics)"))
        flag = "is_nan" if marked else "0"
        for run, name, experiment, state, start, end, _ in how.each(listed):
            params = dict(connection.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run,)))
            points: dict[str, list[tuple[Any, Any]]] = {}
            query = f"SELECT key, step, value, {flag} FROM metrics WHERE run_uuid = ? ORDER BY timestamp, rowid"
            for key, step, value, missing in connection.execute(query, (run,)):
                number = math.nan if missing else math.copysign(math.inf, value) if abs(value) >= LARGEST else value
                points.setdefault(key, []).append((step, number))
            series = {key: Series.of(steps_of([p[0] for p in pairs]), [p[1] for p in pairs]) for key, pairs in points.items()}
            status = _STATES.get(str(state).upper())
            yield TrackedRun(
                str(run),
                str(file),
                params,
                series,
                status=status,
                group=str(experiments.get(experiment, ("mlflow", ""))[0]),
                name=None if name is None else str(name),
                seconds=seconds_between(start, end),
                error=None if status is Status.COMPLETE else f"its state in MLflow is {state}",
            )
