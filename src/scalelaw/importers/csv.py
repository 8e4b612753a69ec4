"""Text tables: CSV, TSV, and CSV with semicolons."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from ..trials import Trials
from ._base import Importer
from ._columns import Source, tabulate
from ._files import read_bytes
from ._long import gather_table
from ._reading import Found, Reading

if TYPE_CHECKING:
    import polars

__all__ = ["Csv"]

SEPARATORS = ",;\t|"


class Csv(Importer):
    """A table as text: a header line, then one line per run.

    Read with the standard library rather than a dataframe library: those fill short lines up in silence and do not say on which
    line a cell is wrong.
    """

    name = "csv"
    summary = "a .csv, .tsv or .txt file with a header line, a row per run or per record"
    turn = 2

    def recognises(self, path: Path) -> bool:
        """By the ending."""
        return path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".txt")

    def read(self, path: Path, mapping: Mapping[str, str] | None = None, keep: Collection[str] = ()) -> Trials:
        """The table; a missing header, lines of another length, and text that is not UTF-8 are refused with their line."""
        return tabulate(_source(path), mapping, keep)

    def gather(self, path: Path, reading: Reading) -> Found:
        """The same, with curves where the rows are records."""
        return gather_table(self, path, reading, lambda: _frame(_source(path)))


def _source(path: Path) -> Source:
    text = _decode(path)
    separator = _separator(text.split("\n", 1)[0], path)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=False)
    rows: list[list[str]] = []
    lines: list[int] = []
    began = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(began)
            began = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"not a table ({error})", f"{path}: line {reader.line_num}", "Save it as CSV") from error
    if not rows:
        raise DataError("the file is empty", str(path), "Give a table with a header line and one line per run")
    header = _header(rows[0], path)
    for place, row in enumerate(rows[1:], start=1):
        if len(row) != len(header):
            what, where = f"{len(row)} cells where the header has {len(header)}", f"{path}: row {place} (line {lines[place]})"
            raise DataError(what, where, "Give every line as many cells as the header")
    columns = {name: [row[place] for row in rows[1:]] for place, name in enumerate(header)}
    comma = separator == ";" and not any("." in cell for row in rows[1:] for cell in row)
    return Source(columns, str(path), lines[1:], comma)


def _frame(source: Source) -> polars.DataFrame:
    import polars

    columns = dict(source.columns)
    if source.decimal_comma:
        columns = {name: [re.sub(r"^([^,]*\d),(\d[^,]*)$", r"\1.\2", cell) for cell in cells] for name, cells in columns.items()}
    return polars.DataFrame(columns)


def _decode(path: Path) -> str:
    content = read_bytes(path)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in content[:4096]:
        raise DataError("this is not a text table (it holds binary data)", str(path), "Save the table as CSV")
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError("the text is not UTF-8", f"{path}: line {line}", "Save the file as UTF-8") from error


def _separator(header: str, path: Path) -> str:
    """The separator that the header uses most, outside quotes."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    bare = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=bare.count)


def _header(cells: list[str], path: Path) -> list[str]:
    """Column names. A nameless column (an index that pandas wrote) is named by its place."""
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(cells, start=1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two columns are called {twice!r}", f"{path}: line 1", "Rename one of them")
    return names
