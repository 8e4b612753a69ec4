"""`scalelaw backtest`: how forecasts from the smaller scales did on the larger ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._json import emit
from ._options import Data, Fixed, Hyper, Json, LawName, Level, Map, Outcome, Over, Where, columns, naming, read, share
from ._screen import ignored, interval, number, places, say, table

if TYPE_CHECKING:
    from ..backtest import Backtest

__all__ = ["backtest"]


def backtest(
    data: Data,
    *,
    law: LawName = None,
    over: Over = None,
    hyper: Hyper = None,
    fixed: Fixed = False,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.9,
    as_json: Json = False,
) -> None:
    """Hold out the larger scales, forecast them from the smaller ones, and count how often that was right.

    Example: scalelaw backtest study.db
    """
    from .. import backtest as verify

    names = columns(over, "--over")
    share(level)
    trials = read(data, mapping, where, outcome, hyper)
    with naming(data, trials):
        found = verify(trials, over=names, law=law, fixed=fixed, level=level)
    if as_json:
        emit(found.to_dict())
        return
    if not found.n:
        say(found.message, "bold yellow")
        ignored(trials)
        return
    inside = sum(row.inside for row in found.rows)
    say(f"{inside} of {found.n} held-out sizes fell inside their {level:.0%} interval.", "bold")
    say(f"Typical error of the loss {found.error:.2%}, bias {found.bias:+.2%}, up to {number(found.horizon, 3)} times larger.")
    rows = [
        (
            number(row.sizes),
            places(row.at),
            f"x{number(row.ratio, 3)}",
            number(row.predicted),
            interval(row.low, row.high),
            number(row.observed),
            f"{row.error:+.2%}",
            "yes" if row.inside else "no",
        )
        for row in found.rows
    ]
    head = ("from sizes", "held out", "reach", "predicted", f"{level:.0%} interval", "observed", "error", "inside")
    table(head, rows, left=("held out", "inside"))
    _reached(found)
    ignored(trials)


def _reached(found: Backtest) -> None:
    """A table by how far ahead."""
    reached = [
        (
            f"up to x{number(each.ratio)}",
            number(each.n),
            f"{each.coverage:.0%}",
            f"{each.error:.2%}",
            f"{each.bias:+.2%}",
            f"{each.interval_score:.2%}",
        )
        for each in found.by_ratio()
    ]
    table(("reach", "held out", "inside", "typical error", "bias", "interval score"), reached)
