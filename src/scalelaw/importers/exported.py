"""What `scalelaw export` wrote: a table of trials that also holds all else that the store knew of them."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..errors import DataError
from ..trials import Trials
from ._base import Importer, plain
from ._columns import Source, tabulate
from ._frame import read_frame
from ._reading import Found, Reading, Series

__all__ = ["LOSSES", "STEPS", "TRIAL", "Exported", "Record", "guarded", "is_export", "records"]

# Columns beside those of the table: the trial as JSON without its curve, and the curve.
TRIAL, STEPS, LOSSES = "scalelaw_trial", "scalelaw_steps", "scalelaw_losses"
_INNER = (TRIAL, STEPS, LOSSES)
_HEAD = 1 << 20
_SUFFIXES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True, eq=False)
class Record:
    """One trial of an export: what was known of it, its curve if it has one, and the row of the file, for messages."""

    document: Mapping[str, Any]
    curve: tuple[list[int], list[float]] | None
    row: str


class Exported(Importer):
    """A CSV, Parquet or JSONL file with a row per trial and the column `scalelaw_trial`.

    As DATA it is the table that the store was, whoever changed a cell of it since. `scalelaw import` takes the trials themselves.
    """

    name = "exported"
    summary = "a .csv, .parquet or .jsonl file that `scalelaw export` wrote of a store"

    def recognises(self, path: Path) -> bool:
        """By the column in its head, or in the foot of a Parquet file."""
        return is_export(path)

    def read(self, path: Path, mapping: Mapping[str, str] | None = None, keep: Collection[str] = ()) -> Trials:
        """The table with every column it has."""
        columns = _columns(path)
        return tabulate(Source(columns, str(path)), mapping, {*keep, *columns})

    def gather(self, path: Path, reading: Reading) -> Found:
        """The same with curves."""
        found = plain(self.name, self.read(path, reading.mapping, reading.keep))
        curves = [None if each.curve is None else Series.of(*each.curve) for each in records(path)]
        if len(curves) != len(found.table):  # rows that came twice
            curves = [None] * len(found.table)
        rising = [each if each is not None and len(each.steps) and (np.diff(each.steps) > 0).all() else None for each in curves]
        return replace(found, curves=tuple(rising))


def is_export(path: Path) -> bool:
    """Whether a file is an export of a store. Never raises."""
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return False
    with contextlib.suppress(OSError), path.open("rb") as stream:
        if path.suffix.lower() == ".parquet":
            stream.seek(max(0, path.stat().st_size - _HEAD))
            return TRIAL.encode() in stream.read()
        return TRIAL.encode() in stream.read(_HEAD)
    return False


def records(path: Path) -> Iterator[Record]:
    """The trials of an export, one by one.

    Raises:
        DataError: a row that says nothing of a trial; the message names it.
    """
    for place, cells in enumerate(_rows(path), start=1):
        row = f"{path}: row {place}"
        try:
            document = json.loads(cells[TRIAL])
            steps, losses = (_numbers(cells.get(name)) for name in (STEPS, LOSSES))
            if not isinstance(document, dict) or (steps is None) != (losses is None) or len(steps or ()) != len(losses or ()):
                raise ValueError
            curve = None if steps is None or losses is None else ([int(each) for each in steps], [float(each) for each in losses])
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise DataError("this row does not hold a trial", row, "Export the store again") from error
        yield Record(document, curve, row)


def guarded(text: str) -> str:
    """A word as a cell of a CSV file that no spreadsheet takes for a formula; `_unguarded` takes the guard off."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "'")) else text


def _unguarded(text: str) -> str:
    return text.removeprefix("'")


def _numbers(cell: Any) -> list[Any] | None:
    values = json.loads(cell) if isinstance(cell, str) and cell else cell
    return None if values is None or isinstance(values, str) else list(values)


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    match path.suffix.lower():
        case ".parquet":
            frame = read_frame(path)
            if lacking := [name for name in _INNER if name not in frame.columns]:
                raise DataError(f"the export has no column {', '.join(lacking)}", str(path), "Export the store again")
            yield from frame.select(_INNER).iter_rows(named=True)
        case ".csv":
            with _opened(path) as stream:
                for place, row in enumerate(csv.DictReader(stream, strict=True), start=1):
                    if None in row or None in row.values():
                        raise DataError("this row has not as many cells as the header", f"{path}: row {place}", "Export it again")
                    yield row
        case _:
            with _opened(path) as stream:
                yield from (json.loads(line) for line in stream if line.strip())


def _columns(path: Path) -> dict[str, list[Any]]:
    """The cells of the table, without the trials."""
    if path.suffix.lower() == ".parquet":
        frame = read_frame(path)
        return {name: frame[name].to_list() for name in frame.columns if name not in _INNER}
    rows = [{name: cell for name, cell in row.items() if name not in _INNER} for row in _rows(path)]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    if path.suffix.lower() == ".csv":
        return {_unguarded(name): [_unguarded(cell or "") for cell in cells] for name, cells in columns.items()}
    return columns


@contextlib.contextmanager
def _opened(path: Path) -> Generator[TextIO]:
    """The file as text; what is wrong with it is a DataError of one line. A curve may be longer than csv takes a cell to be."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            yield stream
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"the export cannot be read ({error})", str(path), "Export the store again") from error
    finally:
        csv.field_size_limit(before)
