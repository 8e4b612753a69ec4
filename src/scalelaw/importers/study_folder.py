"""A study kept as a folder: what was asked for and what came of it, side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ..errors import DataError
from ..trials import Trials
from ._base import Importer
from ._columns import Source, tabulate

__all__ = ["TRIALS", "StudyFolder"]

TRIALS = "trials.parquet"


class StudyFolder(Importer):
    """A folder that holds `trials.parquet`, one row per trial, beside the study's TOML and a README."""

    name = "study_folder"
    summary = f"a folder with {TRIALS}"

    def recognises(self, path: Path) -> bool:
        """By the file in it."""
        return path.is_dir() and (path / TRIALS).is_file()

    def read(self, path: Path, mapping: Mapping[str, str] | None = None, keep: Collection[str] = ()) -> Trials:
        """The table of `trials.parquet`."""
        import polars

        try:
            frame = polars.read_parquet(path / TRIALS)
        except (OSError, polars.exceptions.PolarsError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"this is not a Parquet file that can be read ({first})", str(path / TRIALS), "Run the study again"
            ) from error
        return tabulate(Source({name: frame[name].to_list() for name in frame.columns}, str(path)), mapping, keep)
