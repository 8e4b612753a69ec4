"""`scalelaw forecast`: what a larger model should reach, and how to set it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from ._json import emit
from ._options import (
    At,
    Data,
    Fixed,
    Force,
    Hyper,
    Json,
    LawName,
    Level,
    Map,
    Outcome,
    Over,
    Where,
    With,
    columns,
    naming,
    read,
    share,
)
from ._points import point, setting
from ._screen import basis, ignored, interval, number, places, say, show_findings, table

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..frozen import Frozen

__all__ = ["forecast"]

Freeze = Annotated[
    Path | None,
    typer.Option("--freeze", metavar="FILE", help="Write the forecast down, before its run is made: forecast.json."),
]


def forecast(
    data: Data,
    *,
    at: At,
    with_: With = None,
    law: LawName = None,
    over: Over = None,
    hyper: Hyper = None,
    fixed: Fixed = False,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.9,
    freeze: Freeze = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Forecast the loss at a larger scale when it is tuned, and the setting that reaches it.

    Example: scalelaw forecast study.db --at width=8192 --with learning_rate=3e-4
    """
    from .. import forecast as predict

    target = point(at)
    used = setting(with_, more=columns(hyper, "--hyper") or ())
    names = columns(over, "--over")
    share(level)
    _check(freeze, force)
    trials = read(data, mapping, where, outcome, hyper)
    with naming(data, trials):
        found = predict(trials, target, over=names, law=law, fixed=fixed, with_=used, level=level)
    frozen = None
    if freeze is not None:
        from ..frozen import freeze as write

        asked = _asked(mapping, where=where, outcome=outcome, law=law, fixed=fixed, with_=used)
        frozen = write(found, freeze, assumptions=asked, force=force)
    if as_json:
        kept = {} if frozen is None else {"frozen": {"path": frozen.path, "digest": frozen.digest}}
        emit({**found.to_dict(), **kept})
        return
    show(found)
    basis(found.frontier, asked=over is not None)
    if frozen is not None:
        _tell(frozen)
    ignored(trials)


def _check(freeze: Path | None, force: bool) -> None:
    """Refuse a place for the frozen forecast before anything is computed."""
    if freeze is not None:
        from ..frozen import refuse_used

        refuse_used(freeze, force)
    elif force:
        raise InputError("there is no file to replace", "--force", "Name it with --freeze FILE")


def _asked(mapping: str | None, *, with_: dict[str, float] | None, **rest: Any) -> dict[str, Any]:
    """How the forecast was asked for; the names of columns in full, since a file of them may change."""
    from ..importers import parse_mapping

    return {**rest, "with": with_, "map": None if mapping is None else parse_mapping(mapping)}


def _tell(frozen: Frozen) -> None:
    data = f"{frozen.data['rows']} rows of data with sha256 {frozen.data['sha256'][:12]}"
    say(f"Frozen in {frozen.path} (sha256 {frozen.digest[:12]}), made from {data}.", "bold")
    say(f"When the run is done: scalelaw score {frozen.path} RUN")


def show(found: Forecast) -> None:
    """Print a forecast."""
    basis = "when tuned" if found.frontier.tuned else f"at {places(found.frontier.settings)}" if found.frontier.settings else ""
    told = f"At {places(found.at)} expect a loss of {number(found.loss)} {basis}".rstrip()
    beyond = ""
    if found.reach.ratio > max(found.reach.checked, 1.0) * 1.0001:
        far = f"beyond the {number(found.reach.checked, 3)} times checked" if found.backtest.n else "and nothing could be checked"
        beyond = f" {number(found.reach.ratio, 3)} times out, {far}."
    say(f"{told} ({found.level:.0%} interval {interval(found.low, found.high)}).{beyond}", "bold")
    for name, each in found.optimum.items():
        say(f"Set {name} to {number(each.value, 3)} ({interval(each.low, each.high, 3)}).", "bold")
    if found.fixed is not None and found.frontier.tuned:
        each = found.fixed
        kept = f"Kept at {places(each.setting)} the same runs promise {number(each.loss)} ({interval(each.low, each.high)})"
        say(f"{kept}, if its best value did not move.")
    rows = [
        (each.name, f"{each.weight:.0%}", each.fit.law.formula, ", ".join(f"{k} {number(v)}" for k, v in each.fit.theta.items()))
        for each in found.laws
    ]
    table(("law", "weight", "formula", "fitted"), rows, left=("law", "formula", "fitted"))
    checks = found.backtest
    if checks.n:
        told = f"held {checks.coverage:.0%} of {checks.n} larger sizes; typical error {checks.error:.2%}"
        say(f"{found.reach.message} Forecasts made from the smaller sizes {told}.")
    else:
        say(f"{found.reach.message} {checks.message}".strip())
    show_findings(found.findings)
