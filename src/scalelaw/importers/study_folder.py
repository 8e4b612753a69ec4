"""A study kept as a folder: what was asked for and what came of it, side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ..trials import Trials
from ._base import Importer
from ._columns import Source, tabulate
from ._frame import read_frame

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
        frame = read_frame(path / TRIALS)
        return tabulate(Source({name: frame[name].to_list() for name in frame.columns}, str(path)), mapping, keep)
