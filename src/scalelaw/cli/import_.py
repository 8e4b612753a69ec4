"""`scalelaw import`: other people's runs into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._json import emit
from ._options import Json, Map, Storage
from ._screen import note, say

__all__ = ["import_"]


def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders that an importer knows.")],
    *,
    storage: Storage,
    mapping: Map = None,
    as_json: Json = False,
) -> None:
    """Read runs that others trained into a store; doing it again changes nothing.

    Example: scalelaw import runs.csv --storage study.db
    """
    from ..run import import_into

    found = import_into(paths, storage, mapping)
    if as_json:
        emit({"rows": found.rows, "added": found.added, "known": found.known, "ignored": found.ignored, "notes": found.notes})
        return
    say(f"Read {found.rows} rows: {found.added} were added to {storage}, {found.known} were there already.")
    for each in found.notes:
        note(each)
    if found.ignored:
        note(f"Ignored columns: {', '.join(found.ignored)} (--map NAME=COLUMN uses one).")
