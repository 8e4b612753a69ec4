"""`scalelaw fit`: one law, fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import Data, Fixed, Hyper, Json, Level, Map, Outcome, Over, Where, columns, naming, read, share
from ._screen import basis, ignored, interval, number, places, say, table

if TYPE_CHECKING:
    from ..fit import Fit
    from ..frontier import Frontier
    from ..laws import Law

__all__ = ["fit"]


def fit(
    data: Data,
    *,
    law: Annotated[str, typer.Option("--law", metavar="LAW", help="The law; `scalelaw laws` lists them.")],
    over: Over = None,
    hyper: Hyper = None,
    fixed: Fixed = False,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.95,
    as_json: Json = False,
) -> None:
    """Fit a law to the best case of each scale, or with --fixed to the rows as they stand.

    Example: scalelaw fit study.db --law saturating --over width
    """
    from .. import frontier
    from ..laws import resolve

    chosen = resolve(law)
    names = columns(over, "--over") or (None if chosen.inputs == ("x",) else chosen.inputs)
    share(level)
    trials = read(data, mapping, where, outcome, hyper)
    with naming(data):
        edge = frontier(trials, over=names, fixed=fixed)
        found = fitted(chosen, edge)
    if as_json:
        emit(found.to_dict(level))
        return
    ground = "the best case of each scale" if edge.tuned else f"runs at {places(edge.settings)}" if edge.settings else "all runs"
    say(f"{found.law.name} over {', '.join(found.over)}: {found.law.formula}, fitted to {ground} ({found.n} rows).", "bold")
    say(found.message)
    show(found, level)
    basis(edge, asked=names is not None)
    if edge.tuned:
        kept = frontier(trials, over=edge.over, hyper=edge.hyper, fixed=True)
        beside = fitted(chosen, kept)
        values = ", ".join(f"{name} = {number(value)}" for name, value in beside.theta.items())
        say(f"At the one setting {places(kept.settings)} the same law reads {values}: the gap is what tuning is worth.")
    ignored(trials)


def fitted(law: Law, edge: Frontier) -> Fit:
    """The law on a frontier's best cases, or on the rows as they stand where nothing was tuned."""
    from .. import fit as fit_law

    return fit_law(law, edge.trials if edge.tuned else edge.source.finished, over=edge.over, outcome="loss")


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
