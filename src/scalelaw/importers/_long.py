"""Long tables: a row per record, many runs in one file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..notation import HYPERPARAMETERS, QUANTITIES, SCALES, Kind, match_columns
from ._base import plain
from ._columns import STATES, number_in
from ._loss import loss_rank
from ._reading import Found, Reading, Series, TrackedRun
from ._tracked import gather
from ._xaxis import STEP

if TYPE_CHECKING:
    import polars

    from ._base import Importer

__all__ = ["gather_table"]

_KEY = ("id", "task", "recipe", "model", "seed")


def gather_table(importer: Importer, path: Path, reading: Reading, columns: Callable[[], polars.DataFrame]) -> Found:
    """A table of runs, or of the records of runs: then each run's rows become its curve.

    A table is long where it has a column of steps in which some run has more than one value. Runs are told apart by their `id`,
    else by their sizes, settings, task and seed.

    Args:
        importer: the member that reads the file.
        path: the file.
        reading: how.
        columns: a function that gives the cells as a polars dataframe; called before anything else is read.
    """
    found = _records(columns(), path, reading)
    if found is None:
        return plain(importer.name, importer.read(path, reading.mapping, reading.keep))
    rest = {name: column for name, column in reading.mapping.items() if name not in ("id", "step")}  # used up here
    return gather(importer.name, found, path, replace(reading, mapping=rest))


def _records(frame: polars.DataFrame, path: Path, reading: Reading) -> list[TrackedRun] | None:
    folded = {name.strip().lower(): name for name in reversed(frame.columns)}
    step = reading.mapping.get("step") or next((folded[name] for name in STEP if name in folded), None)
    if step not in frame.columns or len(frame) < 2:
        return None
    matched, _ = match_columns(name for name in frame.columns if name != step)
    matched.update({name: column for name, column in reading.mapping.items() if column in frame.columns and name in QUANTITIES})
    key = (
        [matched["id"]]
        if "id" in matched
        else [
            column
            for name, column in matched.items()
            if column != step and (name in _KEY or (name in (*SCALES, *HYPERPARAMETERS) and name != "learning_rate"))
        ]
    )
    order, starts = _groups(frame, key)
    in_order = bool((np.diff(order) == 1).all())
    steps, _ = _floats(frame[step], None if in_order else order)
    bounds = list(itertools.pairwise([*starts, len(order)]))
    if all(len(np.unique(steps[a:b])) < 2 for a, b in bounds):
        return None
    asked = {reading.mapping.get("loss"), *reading.keep}
    curves = {
        name: _floats(frame[name], None if in_order else order)
        for name in frame.columns
        if name != step and (name in asked or loss_rank(name) is not None)
    }
    cells = {
        name: frame[column]
        for name, column in matched.items()
        if column not in curves and name != "id" and (QUANTITIES[name].kind is not Kind.OUTCOME or name in ("status", "seconds"))
    }
    label = key[0] if key == [matched.get("id")] else None
    runs: list[TrackedRun] = []
    for a, b in bounds:
        first = int(order[a])
        here = {name: Series(steps[a:b][there[a:b]], values[a:b][there[a:b]]) for name, (values, there) in curves.items()}
        told = {name: _last(each, order[a:b], name) for name, each in cells.items()}
        word, seconds = told.pop("status", None), number_in(told.pop("seconds", None))
        config = {matched[name]: value for name, value in told.items()}
        name = str(frame[label][first]) if label else ",".join(f"{k}={frame[k][first]}" for k in key) or path.stem
        status = STATES.get(str(word).strip().lower()) if word is not None else None
        series = {name: each for name, each in here.items() if len(each.steps)}
        runs.append(TrackedRun(name, str(path), config, series, status=status, seconds=seconds))
    return runs


def _groups(frame: polars.DataFrame, key: Sequence[str]) -> tuple[np.ndarray, list[int]]:
    """(rows in the order of their run, the file's order within it; where each run begins)."""
    if not key:
        return np.arange(len(frame)), [0]
    codes = frame.select(key).with_row_index("_row").group_by(key, maintain_order=True).agg("_row")["_row"]
    order = codes.explode().to_numpy().astype(np.intp)
    lengths = codes.list.len().to_numpy()
    return order, [0, *np.cumsum(lengths)[:-1].tolist()]


def _floats(column: polars.Series, order: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(numbers, whether there is one), in an order: a cell may hold NaN, which is not an empty cell."""
    import polars

    if column.dtype == polars.String:
        cells = [number_in(cell) for cell in column.to_list()]
        there = np.array([cell is not None for cell in cells], dtype=np.bool_)
        values = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
    else:
        numbers = column.cast(polars.Float64, strict=False)
        values, there = numbers.to_numpy(), numbers.is_not_null().to_numpy()
    return (values, there) if order is None else (values[order], there[order])


def _last(column: polars.Series, rows: np.ndarray, name: str) -> Any:
    """What a run's rows say of a setting: the last word, of a learning rate the peak."""
    if name == "learning_rate":
        values, _ = _floats(column[rows])
        finite = values[np.isfinite(values)]
        return float(finite.max()) if len(finite) else None
    return next((cell for cell in (column[int(row)] for row in rows[::-1][:1_000]) if cell is not None and cell != ""), None)
