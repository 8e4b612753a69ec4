"""Files that hold all that a store knows of its trials, and back.

A row has the columns of the table, so that the file is DATA like any other, and beside them the trial as JSON and its curve
(`importers/exported.py` names the columns and reads them). Floats are written with as many digits as bring them back.
"""

from __future__ import annotations

import csv
import errno
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import exc

from ..errors import DataError, StoreError
from ..importers.exported import LOSSES, STEPS, TRIAL, Record, guarded
from ..trial import Curve, Status, Trial
from ..trials import Trials, as_os_error
from . import packed, rows
from .tables import tags, trials

__all__ = ["restore", "told", "write"]

# Beside the row of the table `trials`.
_JSON = ("spec", "metrics")


# ---- out ----------------------------------------------------------------------------------------------------------------


def write(connection: sa.Connection, path: Path, table: Trials, ids: Sequence[str]) -> None:
    """Write trials, given as the rows of a table and their ids, to a .csv, .parquet or .jsonl file. Raises OSError."""
    kind, whole, table = path.suffix.lower(), _records(connection, ids), _encodable(table)
    if kind == ".parquet":
        _write_parquet(path, table, whole)
        return
    names = list(table.columns)
    cells = zip(*(table.columns[name].tolist() for name in names), strict=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        if kind == ".csv":
            writer = csv.writer(stream)  # its line ends quote cells that hold a part of one
            writer.writerow((*map(guarded, names), TRIAL, STEPS, LOSSES))
            for row, (document, curve) in zip(cells, whole, strict=True):
                lists = ("", "") if curve is None else (json.dumps(curve.steps), json.dumps(curve.losses))
                writer.writerow((*map(_cell, row), json.dumps(document), *lists))
            return
        for row, (document, curve) in zip(cells, whole, strict=True):
            line = {name: _plain(value) for name, value in zip(names, row, strict=True)} | {TRIAL: json.dumps(document)}
            if curve is not None:
                line |= {STEPS: curve.steps, LOSSES: list(map(_plain, curve.losses))}
            stream.write(json.dumps(line, allow_nan=False) + "\n")


def told(error: OSError, path: Path) -> StoreError:
    """Why a file could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError("the disk is full", str(path), "Free some space and run the same command again")
    return StoreError(f"the file cannot be written ({error.strerror})", str(path), "Choose another path")


def _write_parquet(path: Path, table: Trials, whole: Iterator[tuple[dict[str, Any], Curve | None]]) -> None:
    import polars

    documents: list[str] = []
    steps: list[polars.Series | None] = []
    losses: list[polars.Series | None] = []
    for document, curve in whole:
        documents.append(json.dumps(document))
        steps.append(None if curve is None else polars.Series(curve.steps, dtype=polars.Int64))
        losses.append(None if curve is None else polars.Series(curve.losses, dtype=polars.Float64))
    beside = (
        polars.Series(TRIAL, documents, dtype=polars.String),
        polars.Series(STEPS, steps, dtype=polars.List(polars.Int64)),
        polars.Series(LOSSES, losses, dtype=polars.List(polars.Float64)),
    )
    with as_os_error(path):
        table.to_frame().with_columns(beside).write_parquet(path)


def _records(connection: sa.Connection, ids: Sequence[str]) -> Iterator[tuple[dict[str, Any], Curve | None]]:
    """Of each trial all but its curve, as JSON knows it, and its curve."""
    for some in rows.chunks(ids):
        found = {row["id"]: row for row in rows.read_rows(connection, some)}
        drawn, marks = rows.read_curves(connection, some), rows.marks(connection, some)
        origins, runs = rows.origins(connection, some), rows.runs(connection, some)
        for key in some:
            document = {name: value for name, value in found[key].items() if value is not None}
            document |= {name: json.loads(document[name]) for name in _JSON}
            document |= {"tags": marks[key]} if key in marks else {}
            document |= {"provenance": origins[key], "run": runs[key]} if key in origins else {}
            yield document, drawn.get(key)


def _encodable(table: Trials) -> Trials:
    """The table with words that files can hold; half a surrogate pair comes back from the trial as JSON, which can."""

    def sound(word: str) -> str:
        return word.encode("utf-8", "backslashreplace").decode()

    columns: dict[str, Any] = {}
    for name, column in table.columns.items():
        odd = column.dtype == object and any(word != sound(word) for word in set(column.tolist()))
        columns[sound(name)] = np.array(list(map(sound, column.tolist())), object) if odd else column
    return replace(table, columns=columns)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return guarded(value)
    return "" if value != value else repr(value)


def _plain(value: Any) -> Any:
    """A value as strict JSON knows it: what is not finite is a word, what is missing is null."""
    if isinstance(value, str) or math.isfinite(value):
        return value
    return None if math.isnan(value) and not isinstance(value, int) else str(value)


# ---- back ---------------------------------------------------------------------------------------------------------------


def restore(connection: sa.Connection, found: Iterable[Record]) -> tuple[int, int]:
    """Write the trials of an export, each with its curve, tags, provenance and exclusion; returns (read, written).

    A finished trial that is there already stays, with what is said of it.

    Raises:
        DataError: a record that is no trial.
    """
    read = written = 0
    for some in rows.chunks(found):
        made = {trial.id: (trial, each) for trial, each in ((_trial(each), each) for each in some)}
        kept = rows.known(connection, [key for key, (trial, _) in made.items() if trial.status.name in rows.REDO])
        made = {key: each for key, each in made.items() if key not in kept}  # what failed is known to have failed
        sources = {key: each.document.get("source") for key, (_, each) in made.items()}
        try:
            new = list(rows.upsert(connection, (trial for trial, _ in made.values()), sources))
            for trial in new:
                _beside(connection, trial.id, made[trial.id][1].document)
        except exc.OperationalError:
            raise  # the database's own trouble, which is told as such
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, exc.StatementError) as error:
            what = f"a row does not hold a trial ({' '.join(str(error).split())[:100]})"
            raise DataError(what, some[0].row, "Export the store again") from error
        read, written = read + len(some), written + len(new)
    packed.settle(connection)
    return read, written


def _trial(record: Record) -> Trial:
    """The trial as it was before it was left out."""
    try:
        row = {column.name: None for column in trials.columns} | dict(record.document)
        row |= {"status": row.get("before") or row["status"], "before": None, "at_chance": row.get("at_chance", False)}
        row |= {name: json.dumps(record.document[name]) for name in _JSON}
        curve = None if record.curve is None else Curve(tuple(record.curve[0]), tuple(record.curve[1]))
        trial = rows.unpack(row, curve)
        if trial.id != row["id"]:
            raise ValueError("its id is not that of its settings")
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"this row does not hold a trial ({error})", record.row, "Export the store again") from error
    return trial


def _beside(connection: sa.Connection, key: str, document: Mapping[str, Any]) -> None:
    """What else is known of a trial that has been written."""
    if document.get("before") or document.get("reason"):
        status = Status[document["status"]].name
        values = {"status": status, "before": document.get("before"), "reason": document.get("reason")}
        connection.execute(sa.update(trials).where(trials.c.id == key).values(values))
    if document.get("tags"):
        statement = rows.insert(connection, tags).on_conflict_do_nothing()
        connection.execute(statement, [{"id": key, "tag": str(tag)} for tag in document["tags"]])
    if document.get("provenance") is not None:
        rows.tell_origin(connection, key, document.get("run"), document["provenance"])
