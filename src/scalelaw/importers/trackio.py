"""Trackio's databases: one SQLite file per project."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ._columns import as_number
from ._reading import Reading, TrackedRun
from ._sqlite import databases, reading, rows
from ._tracked import Tracker, flat
from ._xaxis import by_row

__all__ = ["Trackio"]

_TABLES = ("metrics", "configs")
_WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class Trackio(Tracker):
    """The project's database, opened to be read only. Trackio keeps no state of a run: its steps tell whether it ended early."""

    name = "trackio"
    summary = "Trackio's database of a project, or the folder of them"

    def recognises(self, path: Path) -> bool:
        """By the tables of the file, or of a file in the folder, and by their columns."""
        return any(_is_trackio(file) for file in databases(path, _TABLES))

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """The runs of each project."""
        for file in databases(path, _TABLES):
            if _is_trackio(file):
                yield from _runs(file, reading)


def _is_trackio(file: Path) -> bool:
    try:
        with reading(file) as connection:
            return {"run_name", "metrics"} <= {row[1] for row in connection.execute("PRAGMA table_info(metrics)")}
    except (DataError, sqlite3.Error):
        return False


def _runs(file: Path, how: Reading) -> Iterable[TrackedRun]:
    with reading(file) as connection:
        told = rows(connection, "configs", ("run_id", "run_name", "config"))
        configs = {key or name: _object(text, file) for key, name, text in told}
        parts: dict[str, list[tuple[Any, Any]]] = {}
        names: dict[str, str] = {}
        for key, name, step, text in rows(connection, "metrics", ("run_id", "run_name", "step", "metrics"), "id"):
            parts.setdefault(key or name, []).append((step, text))
            names[key or name] = name
    for key in how.each(list(parts)):
        metrics: dict[str, tuple[list[int], list[float]]] = {}
        for row, (_, text) in enumerate(parts[key]):
            for name, value in flat(_object(text, file)).items():
                number = _WORDS.get(value) if isinstance(value, str) else as_number(value)
                if number is not None:
                    places, values = metrics.setdefault(name, ([], []))
                    places.append(row)
                    values.append(number)
        steps = [float("nan") if step is None else float(step) for step, _ in parts[key]]
        series, seconds = by_row(steps, metrics)
        config = {name: value for name, value in flat(configs.get(key, {})).items() if not name.startswith("_")}
        yield TrackedRun(key, str(file), config, series, group=file.stem, name=names[key], seconds=seconds)


def _object(text: Any, file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"a row of it is not JSON ({error})", str(file), "Restore it from a copy") from error
    return found if isinstance(found, dict) else {}
