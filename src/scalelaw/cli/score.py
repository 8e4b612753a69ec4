"""`scalelaw score`: how frozen forecasts did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, RunError
from ._json import emit
from ._options import Json, Map, Outcome, read, read_run
from ._screen import interval, number, places, say, screen, table

if TYPE_CHECKING:
    from ..frozen import Frozen
    from ..scoring import Register, Registered, Score
    from ..trials import Trials

__all__ = ["score"]

WIDE = 112

Forecasts = Annotated[
    list[str],
    typer.Argument(
        metavar="FORECAST [RUN]", help="A frozen forecast and its run; or any number of forecasts, and folders of them."
    ),
]
DataOption = Annotated[str | None, typer.Option("--data", metavar="DATA", help="Where RUN is a trial's id: the data it is in.")]
NoRecord = Annotated[bool, typer.Option("--no-record", help="Only print the score; keep it nowhere.")]


def score(
    forecasts: Forecasts,
    *,
    data: DataOption = None,
    mapping: Map = None,
    outcome: Outcome = None,
    no_record: NoRecord = False,
    as_json: Json = False,
) -> None:
    """Score a frozen forecast on its run; with no run, list forecasts and how they did. Scores are kept beside the forecast.

    Example: scalelaw score forecast.json large.json
    """
    from ..frozen import is_frozen, thaw

    *named, last = forecasts
    if not named or all(is_frozen(each) or Path(each).is_dir() for each in forecasts):
        _no_run(data, mapping, outcome, no_record)
        _list(forecasts, as_json)
        return
    if len(named) > 1:
        wrong = next(each for each in forecasts if not (is_frozen(each) or Path(each).is_dir()))
        raise InputError("this is no frozen forecast", wrong, "Score one forecast at a time: scalelaw score forecast.json RUN")
    frozen = thaw(named[0])
    _one(frozen, _run(last, frozen, data, mapping, outcome), no_record, as_json)


def _no_run(data: str | None, mapping: str | None, outcome: str | None, no_record: bool) -> None:
    """Options about a run mean nothing without one."""
    given = {"--data": data, "--map": mapping, "--outcome": outcome, "--no-record": no_record or None}
    for option, value in given.items():
        if value is not None:
            raise InputError("there is no run to score", option, "Name it: scalelaw score forecast.json RUN")


def _run(run: str, frozen: Frozen, data: str | None, mapping: str | None, outcome: str | None) -> Trials:
    """The run, read with the names that the forecast's data were read with unless others are given."""
    from ..trials import Trials

    asked = frozen.assumptions
    pairs = asked.get("map") or {}
    mapping = mapping or ",".join(f"{name}={column}" for name, column in pairs.items()) or None
    outcome = outcome or asked.get("outcome")
    hyper = list(frozen.recommended)
    known = Trials({}, hyper=tuple(hyper)) if data is None else read(data, mapping, None, outcome, hyper)
    try:
        return read_run(run, known, mapping, outcome)
    except RunError as error:
        if data is None and not Path(run).exists():
            raise RunError("there is no such file", run, "Give a file of one row, or a trial's id with --data DATA") from error
        raise


def _one(frozen: Frozen, run: Trials, no_record: bool, as_json: bool) -> None:
    from .. import score as judge
    from ..scoring import record

    scored = judge(frozen, run)
    kept = None if no_record else record(scored)
    if as_json:
        emit({**scored.to_dict(), "recorded": kept})
        return
    show(scored)
    if kept is not None:
        say(f"Kept in {kept}.", "dim")


def show(scored: Score) -> None:
    """Print a score."""
    say(scored.message, "bold green" if scored.inside else "bold red")
    frozen = scored.forecast
    observed = "diverged" if scored.observed is None else number(scored.observed)
    row = [f"{number(frozen.loss)} ({interval(frozen.low, frozen.high)})", observed]
    scores = [number(each, 3) for each in (scored.z, scored.pit, scored.interval_score, scored.crps)]
    table((f"expected ({frozen.level:.0%} interval)", "observed", "z", "place", "interval score", "CRPS"), [(*row, *scores)])
    if scored.observed is not None:
        say(
            "Scores are of ln loss, where 0.01 is about 1% of the loss; less is better. Place: what share was expected below.",
            "dim",
        )
    _settings(scored)
    seen = frozen.data.get("at_target", 0)
    if seen:
        say(f"The data held {seen} finished runs at this size already: this was no forecast of something new.", "yellow")
    for each in frozen.findings:
        say(f"Said when it was frozen: {each['message']}", "dim")


def _settings(scored: Score) -> None:
    """Whether the run was what the forecast is of."""
    kind = "a tuned run" if scored.forecast.tuned else "runs at one setting"
    for each in scored.settings:
        best = each.recommended
        wide = f" ({interval(best.low, best.high, 3)})" if best.low < best.high else ""
        told = f"{each.name} {number(best.value, 3)}{wide}"
        if each.followed is None:
            say(f"The run does not tell its {each.name}; the forecast was for {kind}, at {told}.", "yellow")
        elif each.followed:
            say(f"{each.name} {number(each.value, 3)} is what the forecast was for: {told}.")
        else:
            say(
                f"The forecast was for {kind}, at {told}; this run used {number(each.value, 3)}, so it tests that setting.",
                "yellow",
            )


def _list(paths: list[str], as_json: bool) -> None:
    from ..scoring import register

    found = register(paths)
    if as_json:
        emit(found.to_dict())
        return
    levels = {each.frozen.level for each in found.rows if each.frozen is not None}
    band = f"expected ({levels.pop():.0%} interval)" if len(levels) == 1 else ""
    rows = [line for each in found.rows for line in _lines(each, own=not band)]
    head = ("forecast", "frozen on", "at", band or "expected (interval)", "observed", "inside", "z", "score", "run")
    # A narrow screen has room for what happened, not for when it was said.
    shown = range(len(head)) if screen().width >= WIDE else (0, 3, 4, 5, 6, 8)
    table([head[k] for k in shown], [[row[k] for k in shown] for row in rows], left=("forecast", "at", "run"))
    for each in found.rows:
        if each.frozen is None:
            say(f"{each.path} does not count: {each.reason}.", "bold red")
    if any(len(each.fair) < len(each.scores) for each in found.rows):
        say("* The run used other settings than the forecast was made for: it tests those settings, and is not counted.")
    _together(found)


def _lines(row: Registered, own: bool) -> list[tuple[str, ...]]:
    """A line per run, or one for a forecast that waits for its run; `own`: each tells its level."""
    name, frozen = Path(row.path).name, row.frozen
    if frozen is None:
        return [(name, *"--------")]
    level = f", {frozen.level:.0%}" if own else ""
    told = (f"{number(frozen.loss)} ({interval(frozen.low, frozen.high)}{level})",)
    head = (name, frozen.created[:10], places(frozen.at), *told)
    if not row.scores:
        return [(*head, "waiting", "-", "-", "-", "-")]
    return [(*(head if place == 0 else ("",) * 4), *_result(each)) for place, each in enumerate(row.scores)]


def _result(scored: Any) -> tuple[str, ...]:
    observed = "diverged" if scored["observed"] is None else number(scored["observed"])
    inside = "yes" if scored["inside"] else "no"
    mark = "*" if scored["followed"] is False else ""
    return (observed, inside, number(scored["z"], 2), number(scored["interval_score"], 3), f"{Path(scored['run']).name}{mark}")


def _together(found: Register) -> None:
    """The summary over forecasts."""
    waiting = f"{len(found.waiting)} of {len(found.rows)} forecasts wait for their run."
    if not found.coverage:
        say(waiting)
        return
    n = found.coverage[0].n
    rows = [(f"{each.level:.0%}", f"{each.share:.0%}", f"{each.low:.0%} to {each.high:.0%}") for each in found.coverage]
    say(f"{n} {'forecasts were' if n > 1 else 'forecast was'} scored and count{'' if n > 1 else 's'}; {waiting}", "bold")
    table(("nominal", "held", "95% binomial interval"), rows)
    if found.interval_score is not None:
        say(f"Mean interval score {number(found.interval_score, 3)}, mean CRPS {number(found.crps, 3)}, both of ln loss.")
    if found.pit is not None and found.pit_sd is not None:
        say(f"Mean place {found.pit:.2f}, where calibrated forecasts give 0.50 with standard error {found.pit_sd:.2f}.")
