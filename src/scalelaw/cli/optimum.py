"""`scalelaw optimum`: where the best hyperparameters lie, per scale and at the next one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import Data, Hyper, Json, Level, Map, Outcome, Over, Where, columns, naming, read, share
from ._points import point
from ._screen import basis, ignored, interval, number, places, say, show_findings, table

if TYPE_CHECKING:
    from ..frontier import Frontier
    from ..optimum import Optima, Optimum

__all__ = ["optimum"]


_WHERE = {"INSIDE": "inside", "LOW": "at the low edge", "HIGH": "at the high edge", "ALONE": "one setting"}


def optimum(
    data: Data,
    *,
    at: Annotated[str | None, typer.Option("--at", metavar="POINT", help="Predict the best setting here: width=8192.")] = None,
    over: Over = None,
    hyper: Hyper = None,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    estimator: Annotated[
        str, typer.Option("--estimator", metavar="NAME", help="Who reads each size's best case: response, parabola or argmin.")
    ] = "response",
    bootstrap: Annotated[
        int,
        typer.Option("--bootstrap", metavar="N", min=0, help="Redraw the sizes N times too (from 8 sizes on; 0: never)."),
    ] = 200,
    level: Level = 0.9,
    as_json: Json = False,
) -> None:
    """Find the best hyperparameters per scale, their law, and their value at a larger scale.

    Example: scalelaw optimum study.db --at width=8192
    """
    from ..diagnostics import diagnose
    from ..optimum import optimum as best

    target = point(at) if at else None
    names = columns(over, "--over")
    share(level)
    trials = read(data, mapping, where, outcome, hyper)
    with naming(data, trials):
        found = best(trials, over=names, at=target, level=level, estimator=estimator)
    if as_json:
        emit(found.to_dict(bootstrap))
        return
    for each in found.optima.values():
        say(" ".join(_sentences(each, found)), "bold")
    scales(found.frontier)
    _laws(found)
    kept = [_kept(each) for each in found.optima.values()]
    for text in (*kept, *_ahead(found), _stability(found), _redrawn(found, bootstrap), _factors(found)):
        if text:
            say(text)
    basis(found.frontier, asked=over is not None)
    show_findings(diagnose(trials, found.frontier))
    ignored(trials)


def _sentences(each: Optimum, found: Optima) -> list[str]:
    told = each.to_dict()
    powers: list[str] = []
    for name, column in zip(list(each.coefficients)[1:], found.frontier.over, strict=True):
        low, high = told["interval"][name]
        reach = f"{found.level:.0%} interval of the exponent: {interval(-high, -low, 3)}"
        powers.append(f"{column}^{number(-each.coefficients[name], 3)} ({reach})")
    sentences = [f"The best {each.hyper} goes as {' x '.join(powers)}."]
    if found.at is not None:
        there = each.at(found.at, found.level)
        sentences.append(f"At {places(found.at)} it is {number(there.value, 3)} ({interval(there.low, there.high, 3)}).")
    return sentences


def _laws(found: Optima) -> None:
    """What each power owes to its estimator, and whether its law bends."""
    readings, over = found.spread(), found.frontier.over
    rows: list[list[str]] = []
    for name, each in found.optima.items():
        for column in over:
            others = [readings[reader][name][column]["exponent"]["value"] for reader in readings if reader != "response"]
            powers = [power for power in (each.exponent(column).value, *others) if power is not None]
            bend = each.bend(column)
            change = f"{number(bend.value, 2)} ({interval(bend.low, bend.high, 2)})"
            row = [name, *([column] if len(over) > 1 else []), interval(min(powers), max(powers), 2), change]
            rows.append([*row, f"{each.path.straight:.0%}"])
    sizes = ["size"] if len(over) > 1 else []
    head = ["hyperparameter", *sizes, "by estimator", "change per nat", "straight"]
    table(head, rows, left=("hyperparameter", "size"), title=f"Power of {', '.join(over)}")
    say(
        "By estimator: from the surface, parabolas and lowest runs. Change: of the power per nat of size, where the law bends; "
        f"straight: the chance that it does not. Intervals {found.level:.0%}.",
        "dim",
    )


def _kept(each: Optimum) -> str:
    safe = each.safe_ratio()
    least = f"{number(safe.low, 2)} or more" if math.isinf(safe.high) else interval(safe.low, safe.high, 2)
    ratio = "none, however much" if math.isinf(safe.value) else f"one {number(safe.value, 2)} times"
    return f"Kept from a smaller model, {each.hyper} costs 2 % of the loss in {ratio} larger ({least})."


def _ahead(found: Optima) -> list[str]:
    if found.at is None:
        return []
    regret = found.regret(found.at)
    return [
        f"A run at {places(found.at)} with the predicted settings is expected to lose {_percent(regret.value)} of the loss by "
        f"their error ({found.level:.0%}: {_percent(regret.low)} to {_percent(regret.high)})."
    ]


def _stability(found: Optima) -> str:
    """The margin between the best setting and the cliff, at the scale asked for or the largest."""
    wall = found.cliff
    if wall is None:
        return "No run failed above its size's best setting: the cliff lies beyond every setting tried."
    at = found.at or {name: found.frontier.trials.rows()[-1][name] for name in found.frontier.over}
    margin, slope = wall.margin(at), wall.slope()
    side = "below" if wall.side > 0 else "above"
    return (
        f"{wall.failed} of {wall.runs} runs failed. At {places(at)} the best {wall.hyper} stands {number(margin.value, 2)} nats "
        f"({interval(margin.low, margin.high, 2)}) {side} the cliff, where half fail; that margin changes per nat of "
        f"{found.frontier.over[0]} by {number(slope.value, 2)} ({interval(slope.low, slope.high, 2)})."
    )


def _redrawn(found: Optima, draws: int) -> str:
    redrawn = found.redrawn(draws)
    if redrawn is None:
        return ""
    parts: list[str] = []
    for name in found.optima:
        powers = [(column, redrawn.exponent(name, column, found.level)) for column in found.frontier.over]
        told = [f"power of {column} {interval(each.low, each.high, 2)}" for column, each in powers]
        if found.at is not None:
            there = redrawn.at(dict(found.at), name, found.level)
            told.append(f"value {interval(there.low, there.high, 3)}")
        parts.append(f"{name}: {', '.join(told)}")
    return f"By {draws} redrawn tables (cell-cluster bootstrap, {found.level:.0%}), {'; '.join(parts)}."


def _factors(found: Optima) -> str:
    """The best level of each factor and what the others cost there."""
    told: dict[str, list[str]] = {}
    best: dict[str, str] = {}
    for each in found.response.levels(found.level):
        if each.best:
            best[each.factor] = each.level
        elif each.effect is not None:
            effect = f"{_percent(each.effect.value)} ({_percent(each.effect.low)} to {_percent(each.effect.high)})"
            told.setdefault(each.factor, []).append(f"{each.level} costs {effect}")
        else:
            told.setdefault(each.factor, []).append(f"{each.level} was never run beside it")
    return " ".join(f"Best {name}: {level}; {', '.join(told.get(name, ['the only one']))}." for name, level in best.items())


def _percent(log: float) -> str:
    return f"{number(100 * math.expm1(min(log, 50.0)), 2)} %"


def scales(edge: Frontier) -> None:
    """A table of the best case of each scale."""
    head = [*edge.over]
    for name in edge.hyper if edge.tuned else ():
        head += [f"best {name}", "within a factor", "grid"]
    rows: list[list[str]] = []
    for row in edge.trials.rows():
        cells = [number(row[name]) for name in edge.over]
        for name in edge.hyper if edge.tuned else ():
            where = _WHERE[row[f"{name}_edge"]]
            error = row.get(f"{name}_se")
            cells += [number(row[name], 3), "-" if error is None else number(math.exp(min(error, 50.0)), 3), where]
        error = row.get("loss_se")
        rows.append([*cells, number(row["loss"], 4), "-" if error is None else number(error, 2), number(row["count"])])
    table((*head, "best loss" if edge.tuned else "loss", "error", "runs"), rows, left=("grid",))
