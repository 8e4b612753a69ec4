"""Reading other people's measurements: one file is one format."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..registry import OpenSet
from ._base import Importer
from ._columns import names_in, parse_mapping
from ._final import DEFAULT, FinalRule, parse_final
from ._reading import Found, Reading, Series, TrackedRun
from ._tracked import Tracker

__all__ = [
    "DEFAULT",
    "FinalRule",
    "Found",
    "Importer",
    "Reading",
    "Series",
    "TrackedRun",
    "Tracker",
    "importers",
    "names_in",
    "parse_final",
    "parse_mapping",
    "recognise",
]

importers = OpenSet("scalelaw.importers", __path__, "importer", Importer)


def recognise(path: Path) -> Importer:
    """The importer that reads `path`, which may be an address such as `wandb:entity/project`.

    Raises:
        DataError: there is nothing there, or no importer knows it.
    """
    members = sorted(importers.values(), key=lambda member: (member.turn, member.name))
    for member in members:
        if member.scheme is not None and str(path).startswith(f"{member.scheme}:"):
            return member
    if not path.exists():
        raise DataError("there is no such file", str(path), "Give a store, a CSV, Parquet or JSONL file, or a folder of results")
    if path.is_dir() and not any(path.iterdir()):
        raise DataError("the folder is empty", str(path), "Give the folder that holds the runs")
    for member in members:
        if member.recognises(path):
            return member
    mend = "Give a store (study.db), a table (.csv, .parquet, .jsonl) or what a tracker wrote; see scalelaw importers"
    raise DataError("no importer knows this", str(path), mend)
