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
    with naming(data):
        found = best(trials, over=names, at=target, level=level)
    if as_json:
        emit(found.to_dict())
        return
    for each in found.optima.values():
        say(" ".join(_sentences(each, found)), "bold")
    scales(found.frontier)
    for each in found.optima.values():
        safe = each.safe_ratio()
        least = f"{number(safe.low, 2)} or more" if math.isinf(safe.high) else interval(safe.low, safe.high, 2)
        ratio = "none, however much" if math.isinf(safe.value) else f"one {number(safe.value, 2)} times"
        say(f"Kept from a smaller model, {each.hyper} costs 2 % of the loss in {ratio} larger ({level:.0%} interval: {least}).")
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
