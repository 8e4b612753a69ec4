"""`scalelaw trials`: which trials there are."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, printable
from ._json import emit
from ._options import Data, Json, Map, Outcome, Where
from ._screen import ignored, note, number, say, spark, table

if TYPE_CHECKING:
    from ..store import Listing

__all__ = ["trials"]

_SHOWN = 50
_LONGEST = 160
_Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", help=f"The first N rows.  [default: {_SHOWN}; with --json all]")
]
_Curves = Annotated[bool, typer.Option("--curves", help="With the curve of each: drawn, or with --json as numbers.")]


def trials(
    data: Data,
    *,
    where: Where = None,
    limit: _Limit = None,
    curves: _Curves = False,
    mapping: Map = None,
    outcome: Outcome = None,
    as_json: Json = False,
) -> None:
    """List trials: id, how each ended, the settings that differ, loss, tags, and why one failed.

    Example: scalelaw trials study.db --where "status == 'FAILED'"
    """
    from ..store import listing

    if limit is not None and limit < 0:
        raise InputError(f"cannot show {limit} rows", "--limit", "Give 0 or more")
    most = limit if limit is not None else None if as_json else _SHOWN
    found = listing(data, mapping, where, outcome, limit=most, curves=curves)
    rows = found.trials.rows()
    if as_json:
        for row, curve in zip(rows, found.curves, strict=True) if curves else ():
            row["curve"] = None if curve is None else {"steps": curve.steps, "losses": curve.losses}
        for row, error in zip(rows, found.errors, strict=True):
            row.setdefault("error", error)  # a setting may be called so
        emit({"total": found.total, "varying": found.varying, "trials": rows})
        return
    counts = ", ".join(f"{count} {name}" for name, count in found.statuses.items())
    say(f"{found.total} trials: {counts}." if found.total != 1 else f"1 trial: {counts}.", "bold")
    _draw(found, rows, curves)
    if found.total > len(rows):
        note(f"{found.total - len(rows)} more: --limit {found.total} shows all, --where chooses.")
    ignored(found.trials)


def _draw(found: Listing, rows: list[dict[str, Any]], curves: bool) -> None:
    names = [name for name in ("id", "status", *found.varying, "loss", "tags", "reason") if name in found.trials]
    cells = [tuple(str(row[name]) if name == "id" else number(row[name]) for name in names) for row in rows]
    drawn = ["" if curve is None else spark(curve.losses) for curve in found.curves]
    why = [textwrap.shorten(printable(error or ""), _LONGEST, placeholder=" ...") for error in found.errors]
    for name, words in (("curve", drawn if curves else []), ("error", why if any(why) else [])):
        if words:
            names.append(name)
            cells = [(*each, word) for each, word in zip(cells, words, strict=True)]
    left = [name for name in names if any(isinstance(row.get(name), str) for row in rows)]
    table(names, cells, left=(*left, "curve", "error"))
