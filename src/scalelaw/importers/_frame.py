"""Parquet files as dataframes, of a size that is known before anything is unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["read_frame"]

# A few kilobytes of Parquet can say a trillion times the same; cells that are unpacked take at least 8 bytes each.
MOST_CELLS = 500_000_000


def read_frame(path: Path) -> polars.DataFrame:
    """The table in a Parquet file.

    Raises:
        DataError: it cannot be read, or has more cells than `MOST_CELLS`.
    """
    import polars

    try:
        lazy = polars.scan_parquet(path)
        rows, columns = int(lazy.select(polars.len()).collect().item()), len(lazy.collect_schema())
        if rows * max(columns, 1) > MOST_CELLS:
            what = f"it unpacks to {rows:,} rows of {columns} columns; at most {MOST_CELLS:,} cells are read"
            raise DataError(what, str(path), "Keep the columns that are needed, or split the file by runs")
        return lazy.collect()
    except (OSError, polars.exceptions.PolarsError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"this is not a Parquet file that can be read ({first})", str(path), "Write it again") from error
