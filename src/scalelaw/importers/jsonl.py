"""JSON: one object per line, a list of objects, or a single object."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..trials import Trials
from ._base import Importer
from ._columns import Source, tabulate
from ._files import read_text
from ._long import gather_table
from ._reading import Found, Reading

if TYPE_CHECKING:
    import polars

__all__ = ["Jsonl"]


class Jsonl(Importer):
    """One JSON object per run: on a line each, or in a list. An object in an object is read as `outer.inner`."""

    name = "jsonl"
    summary = "a .jsonl, .ndjson or .json file of one object per run or per record"
    turn = 2

    def recognises(self, path: Path) -> bool:
        """By the ending."""
        return path.is_file() and path.suffix.lower() in (".jsonl", ".ndjson", ".json")

    def read(self, path: Path, mapping: Mapping[str, str] | None = None, keep: Collection[str] = ()) -> Trials:
        """The table; a key that an object lacks is an empty cell. A line that is not JSON is refused with its number."""
        return tabulate(_source(path), mapping, keep)

    def gather(self, path: Path, reading: Reading) -> Found:
        """The same, with curves where the objects are records."""
        return gather_table(self, path, reading, lambda: _frame(_source(path)))


def _source(path: Path) -> Source:
    text = read_text(path)
    if not text.strip():
        raise DataError("the file is empty", str(path), "Give one JSON object per run")
    objects, lines = _objects(text, path)
    rows = [_flat(each) for each in objects]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    return Source(columns, str(path), lines)


def _frame(source: Source) -> polars.DataFrame:
    """The cells as a dataframe; a column that holds anything but numbers holds text."""
    import polars

    plain = (bool, int, float, type(None))
    columns = {
        name: cells if all(isinstance(cell, plain) for cell in cells) else [None if cell is None else str(cell) for cell in cells]
        for name, cells in source.columns.items()
    }
    return polars.DataFrame(columns, strict=False)


def _objects(text: str, path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """(objects, the line of each; no lines for a list)."""
    try:
        whole = json.loads(text)
        found = whole if isinstance(whole, list) else [whole]
        lines: list[int] = []
    except ValueError:
        found, lines = [], []
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                mend = "Write one JSON object per line"
                raise DataError(f"not valid JSON ({error})", f"{path}: line {number}", mend) from error
            lines.append(number)
    except RecursionError as error:
        raise DataError("the JSON is nested too deeply", str(path), "Write one JSON object per line") from error
    for place, each in enumerate(found):
        if not isinstance(each, dict):
            where = f"{path}: line {lines[place]}" if lines else f"{path}: row {place + 1}"
            raise DataError("this is not an object with names and values", where, 'Write for example {"width": 64, "loss": 3.2}')
    return found, lines


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
