"""Parquet files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ..trials import Trials
from ._base import Importer
from ._columns import Source, tabulate
from ._frame import read_frame
from ._long import gather_table
from ._reading import Found, Reading

__all__ = ["Parquet"]

MAGIC = b"PAR1"


class Parquet(Importer):
    """A Parquet file with one row per run, or one per record."""

    name = "parquet"
    summary = "a .parquet file, a row per run or per record"
    turn = 2

    def recognises(self, path: Path) -> bool:
        """By the ending, or by the first bytes."""
        if not path.is_file():
            return False
        if path.suffix.lower() in (".parquet", ".pq"):
            return True
        try:
            with path.open("rb") as stream:
                return stream.read(4) == MAGIC
        except OSError:
            return False

    def read(self, path: Path, mapping: Mapping[str, str] | None = None, keep: Collection[str] = ()) -> Trials:
        """The table; columns of lists or structures can only be ignored."""
        frame = read_frame(path)
        return tabulate(Source({name: frame[name].to_list() for name in frame.columns}, str(path)), mapping, keep)

    def gather(self, path: Path, reading: Reading) -> Found:
        """The same, with curves where the rows are records."""
        return gather_table(self, path, reading, lambda: read_frame(path))
