"""`scalelaw export`: the trials as a file."""

from __future__ import annotations

from typing import Annotated

import typer

from ._files import placed, replacing
from ._json import emit
from ._options import Data, Force, Json, Map, Out, Outcome, Where, new, read
from ._screen import ignored, say

__all__ = ["export"]

SUFFIXES = (".csv", ".parquet", ".jsonl")
_Table = Annotated[bool, typer.Option("--table", help="Of a store only the table: no curves, provenance and exact settings.")]


def export(
    data: Data,
    output: Out,
    *,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    table: _Table = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write DATA as one table: CSV, Parquet or JSONL, with columns under their common names.

    Of a store it also holds the trials as they are, with their curves, tags and provenance; `scalelaw import` brings them back.
    --map and --outcome, which rename columns, ask for the table alone.

    Example: scalelaw export study.db -o trials.parquet
    """
    from ..store import Store, is_store

    new(output, SUFFIXES, force)
    trials = read(data, mapping, where, outcome)
    whole = is_store(data) and not (table or mapping or outcome)
    if whole:
        placed(output)
        with Store(data, read_only=True) as store:
            store.export(output, where)
    else:
        with replacing(output) as path:
            trials.write(path)
    if as_json:
        emit({"output": str(output), "trials": len(trials), "columns": list(trials.columns), "whole": whole})
        return
    also = ", and all that the store knows of them" if whole else ""
    say(f"Wrote {len(trials)} trials with {len(trials.columns)} columns{also} to {output}.")
    ignored(trials)
