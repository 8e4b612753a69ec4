"""`scalelaw check`: is this run on the law, and if not, why; or which of several runs are off it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import (
    Data,
    Fixed,
    Hyper,
    Json,
    LawName,
    Level,
    Map,
    Outcome,
    Over,
    Where,
    columns,
    naming,
    read,
    read_judged,
    share,
)
from ._screen import ignored, interval, number, places, say, show_findings, table

if TYPE_CHECKING:
    from ..batch import Batch
    from ..verdict import Verdict

__all__ = ["check"]

OFF_LAW = 3
RUN = (
    "The run: a file of one row, or a trial's id in DATA. Or several: a file of rows, ids with commas between, or a condition "
    'that runs of DATA meet: "width == 1024".'
)


def check(
    data: Data,
    run: Annotated[str, typer.Argument(metavar="RUN", help=RUN)],
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

    Several runs are judged by the law of the others, with their number in mind (Benjamini and Hochberg); the exit code is 3 where
    any is off.

    Example: scalelaw check study.db large.json
    """
    from .. import check as judge
    from ..batch import check_all

    names = columns(over, "--over")
    share(level)
    trials = read(data, mapping, where, outcome, hyper)
    judged = read_judged(run, trials, mapping, outcome)
    with naming(data, trials):
        if len(judged) == 1:
            found = judge(trials, judged, level=level, fixed=fixed, over=names, law=law)
        else:
            found = check_all(trials, judged, level=level, fixed=fixed, over=names, law=law)
    if as_json:
        emit(found.to_dict())
    else:
        _show(found)
        ignored(trials)
    if found.verdict.name == "OFF_LAW":
        raise typer.Exit(OFF_LAW)


def _show(found: Verdict | Batch) -> None:
    from ..verdict import Verdict

    if isinstance(found, Verdict):
        show(found)
    else:
        show_all(found)


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


def show_all(found: Batch) -> None:
    """Print verdicts on several runs, the worst first."""
    say(found.message, STYLES[found.verdict.name])
    rows: list[tuple[str, ...]] = []
    for k in found.worst_first():
        each = found.verdicts[k]
        suspect = each.suspects[0] if each.suspects else None
        row = (
            found.names[k][:12],
            places(each.at),
            "diverged" if each.observed is None else number(each.observed),
            f"{number(each.expected)} ({interval(each.low, each.high)})",
            "-" if each.p_value is None else number(each.p_value, 2),
            number(found.adjusted[k], 2),
            found.rulings[k].name,
            "-" if suspect is None else f"{suspect.hyperparameter} {number(suspect.used / suspect.best, 2)}x its best",
        )
        rows.append(row)
    band = f"expected ({2 * found.level - 1:.0%} interval)"
    head = ("run", "at", "loss", band, "p", "adjusted p", "verdict", "first suspect")
    table(head, rows, left=("run", "at", "verdict", "first suspect"))
    show_findings({each.message: each for verdict in found.verdicts for each in verdict.findings}.values())
