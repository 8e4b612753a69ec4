"""Parquet files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from ..trials import Trials
from ._base import Importer
from ._columns import Source, tabulate
from ._long import gather_table
from ._reading import Found, Reading

if TYPE_CHECKING:
    import polars

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
        frame = _frame(path)
        return tabulate(Source({name: frame[name].to_list() for name in frame.columns}, str(path)), mapping, keep)

    def gather(self, path: Path, reading: Reading) -> Found:
        """The same, with curves where the rows are records."""
        return gather_table(self, path, reading, lambda: _frame(path))


def _frame(path: Path) -> polars.DataFrame:
    import polars

    try:
        return polars.read_parquet(path)
    except (OSError, polars.exceptions.PolarsError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"this is not a Parquet file that can be read ({first})", str(path), "Write it again") from error
