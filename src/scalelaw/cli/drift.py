"""`scalelaw drift`: which hyperparameter's best setting moves away, and whose fault a run's gap is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import Data, Hyper, Json, Level, Map, Outcome, Over, Run, Where, columns, naming, read, read_run, share
from ._points import point
from ._screen import basis, ignored, interval, number, places, say, table

if TYPE_CHECKING:
    from .._confirm import Experiment
    from ..drift import Drift, Gap, Screened, Unscreened
    from ..estimate import Estimate

__all__ = ["drift"]


def drift(
    data: Data,
    *,
    target: Annotated[str, typer.Option("--target", metavar="POINT", help="The scale of the large run: width=8192.")],
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="POINT", help="Keep the best settings of this scale; default the largest of DATA."),
    ] = None,
    run: Run = None,
    over: Over = None,
    hyper: Hyper = None,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.9,
    as_json: Json = False,
) -> None:
    """Rank hyperparameters by what keeping each costs at a larger scale; with --run, share out the gap of a run that missed.

    Example: scalelaw drift study.db --target width=8192
    """
    from ..drift import drift as find

    there, here = point(target, "--target"), None if start is None else point(start, "--start")
    names = columns(over, "--over")
    share(level)
    trials = read(data, mapping, where, outcome, hyper)
    judged = None if run is None else read_run(run, trials, mapping, outcome)
    with naming(data, trials):
        found = find(trials, there, over=names, start=here, level=level, run=judged)
    if as_json:
        emit(found.to_dict())
        return
    show(found, asked=names is not None)
    ignored(trials)


def show(found: Drift, asked: bool = False) -> None:
    """Print a screen."""
    say(found.message, "bold")
    if found.gap is not None:
        _gap(found.gap)
    _ranking(found)
    _unscreened(found.unscreened)
    _confirm(found.confirm)
    basis(found.forecast.frontier, asked=asked)


def _ranking(found: Drift) -> None:
    rows: list[list[str]] = []
    over = found.forecast.frontier.over
    for each in found.hyperparameters:
        powers = [_power(each.exponent)] if len(over) == 1 else []
        excess = f"{_share(each.excess.value)} ({_share(each.excess.low)} to {_share(each.excess.high)})"
        safe = "any" if math.isinf(each.safe_ratio.value) else number(each.safe_ratio.value, 2)
        values = [number(each.kept, 3), number(each.best.value, 3), *powers]
        rows.append([each.name, *values, excess, number(each.score, 2), f"{each.probability:.0%}", safe])
    tolerance = f"{found.tolerance:.0%}"
    head = ["hyperparameter", "kept", "best there", *(f"power of {name}" for name in over if len(over) == 1)]
    head += ["% lost if kept", "score", f"over {tolerance}", "safe ratio"]
    table(head, rows, left=("hyperparameter",), title=f"Kept from {places(found.start)}, seen at {places(found.target)}")
    where = f" in {over[0]}" if len(over) > 1 else ""
    legend = (
        f"Score: that loss in standard deviations of the forecast ({_share(found.forecast.sd_log)} %); from 2 on it shows. Over "
        f"{tolerance}: probability of losing more. Safe ratio: how many times larger{where} {tolerance} is lost. "
        f"Intervals {found.level:.0%}."
    )
    say(legend, "dim")
    if len(over) > 1:
        rows = [[each.name, *map(_power, each.exponents.values())] for each in found.hyperparameters]
        table(("hyperparameter", *(f"power of {name}" for name in over)), rows, left=("hyperparameter",))
    for text in _motions(found):
        say(text)


def _power(power: Estimate) -> str:
    return f"{number(power.value, 2)} ({interval(power.low, power.high, 2)})"


def _motions(found: Drift) -> list[str]:
    """What the data show of each hyperparameter's movement, those of one kind together."""
    told: list[str] = []
    kinds: dict[str, list[Screened]] = {}
    for each in found.hyperparameters:
        kinds.setdefault(each.motion.name, []).append(each)
    rate = f"{1 - found.level:.0%} false discoveries"
    if "MOVES" in kinds:
        told.append(f"Moves with size (at {rate}): {_names(kinds['MOVES'])}.")
    if "UNSHOWN" in kinds:
        told.append(f"Not shown to move: {_names(kinds['UNSHOWN'])}.")
    for each in kinds.get("INSENSITIVE", []):
        told.append(
            f"Insensitive at these sizes: {each.name}; ten times more or less costs {number(each.noise_at_ten, 2)} of one run's "
            "noise. Leave it alone."
        )
    for each in found.hyperparameters:
        for column, trend in each.growth.items():
            if trend.low > 0 or trend.high < 0:
                way = "sharpens" if trend.value > 0 else "flattens"
                told.append(
                    f"The bowl of {each.name} {way}: its curvature goes as {column}^{number(trend.value, 2)} "
                    f"({interval(trend.low, trend.high, 2)})."
                )
    return told


def _names(these: list[Screened]) -> str:
    return ", ".join(f"{each.name} (p {number(each.p_value, 2)})" for each in these)


def _unscreened(these: tuple[Unscreened, ...]) -> None:
    if not these:
        return
    parts: list[str] = []
    for each in these:
        values = ", ".join(number(value, 3) for value in each.values)
        own = f"; this run {number(each.used, 3)}" if each.differs else ""
        why = "" if each.reason.name == "CONSTANT" else f": {each.reason.value[0].lower()}{each.reason.value[1:-1]}"
        parts.append(f"{each.name} ({values}{own}{why})")
    say(f"Unscreened: {'; '.join(parts)}. Nothing is known about how their best values move: vary them within a size to learn.")


def _gap(gap: Gap) -> None:
    if not gap.shares:
        return
    rows = [
        [
            each.hyperparameter,
            number(each.used, 3),
            number(each.best, 3),
            _share(each.cost),
            f"{each.share:.0%}",
            f"{each.probability:.0%}",
        ]
        for each in gap.shares
    ]
    rows.append(["unexplained", "-", "-", "-", f"{gap.unexplained:.0%}", "-"])
    head = ("suspect", "used", "predicted best", "% it costs by the law", "share of the gap", "chance it is most of it")
    table(head, rows, left=("suspect",), title=f"The gap of {_share(gap.gap)} %, shared out")


def _confirm(plan: Experiment) -> None:
    say(f"To confirm: {plan.message}")
    if plan.at is None:
        return
    rows = [["0", "nothing", places(plan.kept), "-"]]
    for place, each in enumerate(plan.configurations, start=1):
        moved = "all" if len(each.moved) == len(plan.order) else ", ".join(each.moved)
        rows.append([str(place), moved, places(each.settings), number(each.difference, 2)])
    table(("run", "moved", "settings", "loss against run 0"), rows, left=("moved", "settings"))
    if len(plan.configurations) > 1:
        say(
            "If run 1 gains less than half of that, the cause is none of these. Else go on while each run gains more than half "
            "of what run 1 gained; where one does not, the fault is with those that it left in place."
        )


def _share(log: float | None) -> str:
    return "-" if log is None else number(100 * math.expm1(min(log, 50.0)), 2)
