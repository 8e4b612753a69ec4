"""`scalelaw compare`: which recipe wins at scale, and what it is worth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import At, Data, Hyper, Json, LawName, Level, Map, Outcome, Over, Where, columns, naming, share
from ._points import names, point
from ._screen import ignored, interval, number, places, say, show_findings, table

if TYPE_CHECKING:
    from ..compare import Comparison, Crossing, Gap
    from ..trials import Trials

__all__ = ["compare"]


def compare(
    data: Data,
    *,
    by: Annotated[str, typer.Option("--by", metavar="COLUMN", help="The column that tells recipes apart: recipe, optimiser.")],
    at: At,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="ARM", help="Measure the others against this one; default the first in DATA."),
    ] = None,
    law: LawName = None,
    over: Over = None,
    hyper: Hyper = None,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.9,
    as_json: Json = False,
) -> None:
    """Compare recipes at a scale, each at its own best settings: who wins, from which size on, and what it is worth in compute.

    Example: scalelaw compare study.db --by optimiser --at width=8192
    """
    from .. import compare as judge

    target = point(at)
    scales = columns(over, "--over")
    share(level)
    (arm,) = names([by], "--by")[:1]
    trials = _read(data, arm, mapping, where, outcome, hyper)
    with naming(data, trials):
        found = judge(trials, arm if arm in trials else "recipe", target, reference=against, over=scales, law=law, level=level)
    if as_json:
        emit({**found.to_dict(), "by": arm})
        return
    show(found, arm)
    ignored(trials)


def _read(data: str, by: str, mapping: str | None, where: str | None, outcome: str | None, hyper: list[str] | None) -> Trials:
    """DATA with the column that tells arms apart, which may be one that no quantity claims: then it is taken as the recipe."""
    from ..importers import parse_mapping
    from ..notation import quantity
    from ..store import load

    named = parse_mapping(mapping) if mapping else {}
    if quantity(by) is None:
        named = {**named, "recipe": by}
    return load(data, named, where, outcome, hyper=columns(hyper, "--hyper") or ())


def show(found: Comparison, by: str = "") -> None:
    """Print a comparison."""
    best = found.winner
    rest = ", ".join(f"{arm.name} {arm.probability:.0%}" for arm in found.arms if arm is not best)
    say(f"At {places(found.at)} {best.name} wins with probability {best.probability:.0%} ({rest}).", "bold")
    for gap in found.gaps:
        say(_worth(gap, found), "bold")
    rows = [
        [
            arm.name,
            number(arm.forecast.loss),
            interval(arm.forecast.low, arm.forecast.high),
            f"{arm.probability:.0%}",
            str(len(arm.forecast.frontier.trials)),
            str(len(arm.forecast.frontier.source.finished)),
            ", ".join(arm.tuning.hyper) or "nothing",
            number(arm.tuning.settings, 3),
        ]
        for arm in found.arms
    ]
    head = (by or found.by, "loss", f"{found.level:.0%} interval", "wins", "sizes", "runs", "tuned over", "settings a size")
    table(head, rows, left=(head[0], "tuned over"))
    rows = [
        [
            gap.name,
            f"{_percent(gap.difference.value)} ({_percent(gap.difference.low)} to {_percent(gap.difference.high)})",
            f"{_times(gap.multiplier.value)} ({_times(gap.multiplier.low)} to {_times(gap.multiplier.high)})",
            _crossing(gap.crossing),
            f"{gap.crossing.probability:.0%}",
            _percent(gap.detectable),
        ]
        for gap in found.gaps
    ]
    cross = f"crosses at {found.gaps[0].crossing.column}"
    head = (f"against {found.reference}", "% of the loss", f"{found.column} it needs", cross, "in reach", "% detectable")
    table(head, rows, left=(head[0],))
    crossing = found.gaps[0].crossing
    say(
        f"{found.currency} In reach: probability that they cross between {crossing.column} {number(crossing.reach[0])} and "
        f"{number(crossing.reach[1])}. Detectable: the difference that would show four times out of five. "
        f"Intervals {found.level:.0%}.",
        "dim",
    )
    say(found.pairing.message)
    show_findings(found.findings)


def _worth(gap: Gap, found: Comparison) -> str:
    """One arm against the reference, in a sentence."""
    side = "below" if gap.difference.value < 0 else "above"
    told = f"{gap.name} ends {_percent(abs(gap.difference.value))} % {side} {found.reference}"
    if math.isinf(gap.multiplier.value):
        return f"{told}, and no {found.column} within reach makes it match. {gap.crossing.message}"
    ends = f"({_times(gap.multiplier.low)} to {_times(gap.multiplier.high)})"
    return f"{told}: it needs {_times(gap.multiplier.value)} the {found.column} {ends} to match it. {gap.crossing.message}"


def _percent(log: float) -> str:
    return number(100 * math.expm1(min(log, 50.0)), 2)


def _times(factor: float) -> str:
    return "any" if math.isinf(factor) else "0" if factor == 0 else f"{number(factor, 3)}x"


def _crossing(found: Crossing) -> str:
    """The scale, with the ends that lie out of reach in words."""
    if math.isinf(found.value) or found.value == 0:
        return "not in reach"
    low = "below" if found.low == 0 else number(found.low, 3)
    high = "never" if math.isinf(found.high) else number(found.high, 3)
    return f"{number(found.value, 3)} ({low} to {high})"
