"""Reading other people's measurements: one file is one format."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..registry import OpenSet
from ._base import Importer
from ._columns import names_in, parse_mapping

__all__ = ["Importer", "importers", "names_in", "parse_mapping", "recognise"]

importers = OpenSet("scalelaw.importers", __path__, "importer", Importer)


def recognise(path: Path) -> Importer:
    """The importer that reads `path`.

    Raises:
        DataError: there is nothing there, or no importer knows it.
    """
    if not path.exists():
        raise DataError("there is no such file", str(path), "Give a store, a CSV, Parquet or JSONL file, or a folder of results")
    for member in importers.values():
        if member.recognises(path):
            return member
    known = "; ".join(f"{name}: {member.summary}" for name, member in importers.items())
    raise DataError("no importer knows this", str(path), f"Give a store (study.db) or one of these. {known}")
