"""`scalelaw check`: is this run on the law, and if not, why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import Data, Fixed, Hyper, Json, LawName, Level, Map, Outcome, Over, Where, columns, naming, read, read_run, share
from ._screen import ignored, interval, number, say, show_findings, table

if TYPE_CHECKING:
    from ..verdict import Verdict

__all__ = ["check"]

OFF_LAW = 3


def check(
    data: Data,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run: a file of one row, or a trial's id in DATA.")],
    *,
    law: LawName = None,
    over: Over = None,
    hyper: Hyper = None,
    fixed: Fixed = False,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.95,
    as_json: Json = False,
) -> None:
    """Judge a run against the law of DATA: on it, off it, or undecided; exit code 3 where it is off.

    Example: scalelaw check study.db large.json
    """
    from .. import check as judge

    names = columns(over, "--over")
    share(level)
    trials = read(data, mapping, where, outcome, hyper)
    judged = read_run(run, trials, mapping, outcome)
    with naming(data):
        verdict = judge(trials, judged, level=level, fixed=fixed, over=names, law=law)
    if as_json:
        emit(verdict.to_dict())
    else:
        show(verdict)
        ignored(trials)
    if verdict.verdict.name == "OFF_LAW":
        raise typer.Exit(OFF_LAW)


STYLES = {"ON_LAW": "bold green", "OFF_LAW": "bold red", "UNDECIDED": "bold yellow"}


def show(verdict: Verdict) -> None:
    """Print a verdict."""
    say(verdict.message, STYLES[verdict.verdict.name])
    band = f"{interval(verdict.low, verdict.high)} ({2 * verdict.level - 1:.0%} interval)"
    chance = "-" if verdict.p_value is None else number(verdict.p_value, 2)
    observed = "diverged" if verdict.observed is None else number(verdict.observed)
    table(("expected", "interval", "observed", "p"), [(number(verdict.expected), band, observed, chance)])
    rows = [
        (each.hyperparameter, number(each.used, 3), number(each.best, 3), f"{each.share:.0%}", f"{each.probability:.0%}")
        for each in verdict.suspects
    ]
    if verdict.unexplained is not None:
        rows.append(("unexplained", "-", "-", f"{verdict.unexplained:.0%}", "-"))
        table(("suspect", "used", "predicted best", "explains of the gap", "chance it explains most"), rows, left=("suspect",))
        say("Unexplained is a cause that was not tuned, the law's own error, or chance.")
    if verdict.detectable:
        seen = ", ".join(f"{name} a factor {number(factor, 3)} off" for name, factor in verdict.detectable.items())
        say(f"The least mistuning that this test would have seen: {seen}.")
    show_findings(verdict.findings)
