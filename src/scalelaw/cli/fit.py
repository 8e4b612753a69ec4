"""`scalelaw fit`: one law, fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import Data, Fixed, Hyper, Json, Level, Map, Outcome, Over, Where, columns, naming, read, share
from ._screen import basis, ignored, interval, number, places, say, table

if TYPE_CHECKING:
    from ..fit import Fit

__all__ = ["fit"]


def fit(
    data: Data,
    *,
    law: Annotated[str, typer.Option("--law", metavar="LAW", help="The law; `scalelaw laws` lists them.")],
    over: Over = None,
    hyper: Hyper = None,
    fixed: Fixed = False,
    all_rows: Annotated[
        bool,
        typer.Option(
            "--all-rows",
            help="In a law over parameters, tokens or compute alone, keep the runs that the other variable holds back, too.",
        ),
    ] = False,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.95,
    as_json: Json = False,
) -> None:
    """Fit a law to the best case of each scale, or with --fixed to the rows as they stand.

    Example: scalelaw fit study.db --law saturating --over width
    """
    from .. import best_case
    from ..laws import resolve

    chosen = resolve(law)
    names = columns(over, "--over")
    share(level)
    trials = read(data, mapping, where, outcome, hyper)
    with naming(data, trials):
        case = best_case(chosen, trials, over=names, fixed=fixed, all_rows=all_rows)
    if as_json:
        emit(case.to_dict(level))
        return
    found, edge = case.fit, case.frontier
    whole = "all runs" if case.ample is None or not case.ample.dropped else "the runs that are not held back"
    ground = "the best case of each scale" if edge.tuned else f"runs at {places(edge.settings)}" if edge.settings else whole
    say(f"{found.law.name} over {', '.join(found.over)}: {found.law.formula}, fitted to {ground} ({found.n} rows).", "bold")
    say(found.message)
    show(found, level)
    basis(edge, asked=names is not None)
    if case.ample is not None:
        mend = "Keep them with --all-rows" if case.ample.dropped else case.ample.mend
        say(f"{case.ample.message} {mend}." if mend else case.ample.message)
    if case.kept is not None and case.kept_frontier is not None:
        held = places(case.kept_frontier.settings)
        values = ", ".join(f"{name} = {number(value)}" for name, value in case.kept.theta.items())
        say(f"At the one setting {held} the same law reads {values}: the gap is what tuning is worth.")
    ignored(trials)


def show(found: Fit, level: float) -> None:
    """A table of the parameters."""
    bounds = found.interval(level)
    rows = [
        (
            item.name,
            number(found.theta[item.name]),
            number(found.stderr[item.name], 2),
            interval(*bounds[item.name]),
            item.meaning,
        )
        for item in found.law.parameters
    ]
    table(("parameter", "value", "error", f"{level:.0%} interval", "what it is"), rows, left=("parameter", "what it is"))
