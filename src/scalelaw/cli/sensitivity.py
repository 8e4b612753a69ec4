"""`scalelaw sensitivity`: how far the answer moves with choices that are usually made silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._json import emit
from ._options import Data, Fixed, Json, Map, Outcome, Where, naming, read
from ._screen import ignored, number, say, table
from .allocate import Compute

if TYPE_CHECKING:
    from ..sensitivity import Sensitivity

__all__ = ["sensitivity"]


def sensitivity(
    data: Data,
    *,
    compute: Compute,
    fixed: Fixed = False,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    as_json: Json = False,
) -> None:
    """Show how the optimum moves with the objective, the law, what N counts and which points are dropped.

    Example: scalelaw sensitivity runs.csv --compute 1e24
    """
    from .. import sensitivity as panel

    trials = read(data, mapping, where, outcome)
    with naming(data):
        found = panel(trials, compute, fixed=fixed)
    if as_json:
        emit(found.to_dict())
        return
    show(found)
    ignored(trials)


def show(found: Sensitivity) -> None:
    """Print the panel."""
    answered = found.answered
    if not answered:
        say(f"None of {len(found.rows)} combinations has an answer: {found.rows[0].reason}", "bold yellow")
        return
    for name, spread in found.spread.items():
        told = f"{name}: {number(spread.low, 3)} to {number(spread.high, 3)}, a factor {number(spread.factor, 3)}"
        by = ", ".join(f"{choice} {number(factor, 3)}" for choice, factor in spread.by.items())
        say(f"{told}; one choice alone: {by}.", "bold")
    head = ("objective", "law", "N counts", "dropped", "parameters", "exponent of N", "loss", "points")
    rows = [
        (
            row.objective,
            row.law,
            row.count.lower(),
            row.dropped,
            number(row.parameters, 3),
            number(row.exponent, 3),
            number(row.loss, 4),
            number(row.n),
        )
        for row in answered
    ]
    table(head, rows, left=head[:4])
    silent = [row for row in found.rows if row.parameters is None]
    if silent:
        first = f"{silent[0].law}, {silent[0].objective}, {silent[0].dropped}: {silent[0].reason}"
        say(f"{len(silent)} of {len(found.rows)} combinations have no answer. {first}")
    for each in found.notes:
        say(each)
