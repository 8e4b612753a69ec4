"""`scalelaw watch`: where a run that is training will end, and whether to let it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import At, Data, Hyper, Json, Level, Map, Over, Where, With, columns, naming, share
from ._points import point, setting
from ._screen import ignored, interval, number, say, table

if TYPE_CHECKING:
    from ..watch import Watch

__all__ = ["watch"]

ALARM = 3


def watch(
    data: Data,
    curve: Annotated[str, typer.Argument(metavar="CURVE", help="The run's log so far: CSV or JSON lines with step and loss.")],
    *,
    at: At,
    total: Annotated[
        float | None, typer.Option("--total", metavar="STEPS", help="Steps of the whole run; default those of the runs in DATA.")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", metavar="NAME", help="Its learning-rate schedule; default that of DATA."),
    ] = None,
    warmup: Annotated[float | None, typer.Option("--warmup", metavar="SHARE", help="Share of its steps that is warmup.")] = None,
    final_fraction: Annotated[
        float | None, typer.Option("--final-fraction", metavar="SHARE", help="Share of the peak rate to which it falls.")
    ] = None,
    with_: With = None,
    over: Over = None,
    hyper: Hyper = None,
    where: Where = None,
    mapping: Map = None,
    level: Level = 0.9,
    as_json: Json = False,
) -> None:
    """Watch a run while it trains: its end, its excess, an alarm that may be asked at any time, and whether a restart pays.

    Exit code 3 on an alarm. DATA holds the curves of smaller, tuned runs: a store, or a long table with a column step.

    Example: scalelaw watch study.db large.csv --at width=8192 --total 50000
    """
    from ..logs import read_curve, read_runs
    from ..watch import watch as look

    where_at = point(at)
    share(level)
    extra = columns(hyper, "--hyper") or ()
    given = {"schedule": schedule, "warmup": warmup, "final_fraction": final_fraction}
    settings = {**(setting(with_, more=extra) or {}), **{name: each for name, each in given.items() if each is not None}}
    runs = read_runs(data, mapping, where, extra)
    log = read_curve(curve, mapping, total)
    with naming(data):
        found = look(runs, log, where_at, total=total, settings=settings, over=columns(over, "--over"), level=level)
    if as_json:
        emit(found.to_dict())
    else:
        show(found)
        ignored(runs.table)
    if found.alarm:
        raise typer.Exit(ALARM)


STYLES = {"ON_LAW": "bold green", "OFF_LAW": "bold red", "DIVERGED": "bold red", "UNDECIDED": "bold yellow"}


def show(found: Watch) -> None:
    """Print what the curve says so far."""
    say(found.message, STYLES.get(found.verdict.name, "bold"))
    end = f"{number(found.final.value)} {interval(found.final.low, found.final.high)}"
    excess = f"{100 * found.excess['value']:.2g} % ({100 * found.excess['low']:.2g} to {100 * found.excess['high']:.2g})"
    evidence = f"{number(found.evidence, 3)} of {number(found.threshold, 3)}"
    table(("step", "final loss", "excess", "evidence"), [(number(found.step, 7), end, excess, evidence)], left=("final loss",))
    say(f"{found.restart.decision.name}: {found.restart.reason}")
    for text in found.findings:
        say(f"- {text}")
