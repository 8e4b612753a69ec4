"""`scalelaw export`: the trials as a table."""

from __future__ import annotations

from ._files import replacing
from ._json import emit
from ._options import Data, Force, Json, Map, Out, Outcome, Where, new, read
from ._screen import ignored, say

__all__ = ["export"]

SUFFIXES = (".csv", ".parquet", ".jsonl")


def export(
    data: Data,
    output: Out,
    *,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write DATA as one table: CSV, Parquet or JSONL, with columns under their common names.

    Example: scalelaw export study.db -o trials.parquet
    """
    new(output, SUFFIXES, force)
    trials = read(data, mapping, where, outcome)
    frame = trials.to_frame()
    with replacing(output) as path:
        match output.suffix.lower():
            case ".csv":
                frame.write_csv(path)
            case ".parquet":
                frame.write_parquet(path)
            case _:
                frame.write_ndjson(path)
    if as_json:
        emit({"output": str(output), "trials": len(trials), "columns": list(trials.columns)})
        return
    say(f"Wrote {len(trials)} trials with {len(trials.columns)} columns to {output}.")
    ignored(trials)
