"""`scalelaw allocate`: how to split a compute budget between size and data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import Data, Fixed, Json, Level, Map, Outcome, Where, naming, read, share
from ._screen import ignored, interval, number, say, table

if TYPE_CHECKING:
    from ..allocate import Allocation, Rounded
    from ..estimate import Estimate

__all__ = ["Compute", "allocate"]

Compute = Annotated[float, typer.Option("--compute", metavar="FLOPS", help="The budget in FLOPs: 1e24.")]


Kind = Annotated[str, typer.Option("--count", metavar="KIND", help="N without embeddings, parameters, or total.")]
Curve = Annotated[str, typer.Option("--curve", metavar="CURVE", help="IsoFLOP profiles: cubic, or parabola.")]
LawName = Annotated[str, typer.Option("--law", metavar="LAW", help="chinchilla, chinchilla_shared or skaling.")]
Inference = Annotated[
    float | None, typer.Option("--inference", metavar="TOKENS", help="Tokens the model will serve: least lifetime compute.")
]
Unique = Annotated[
    float | None, typer.Option("--unique", metavar="TOKENS", help="Tokens there are; more than these are repeats.")
]
Built = Annotated[
    str | None,
    typer.Option(
        "--shapes",
        metavar="SHAPES",
        help="Round to what can be built: transformer; sizes, 7e9,13e9; or width=1024:8192:128,depth=16/24/32,heads=8/16.",
    ),
]
Batch = Annotated[
    float | None, typer.Option("--batch", metavar="TOKENS", help="Tokens of a step: round the data to whole steps.")
]


def allocate(
    data: Data,
    *,
    compute: Compute,
    count: Kind = "parameters",
    curve: Curve = "cubic",
    law: LawName = "chinchilla",
    inference: Inference = None,
    unique: Unique = None,
    shapes: Built = None,
    batch: Batch = None,
    fixed: Fixed = False,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.9,
    as_json: Json = False,
) -> None:
    """Find the compute-optimal size and data for a budget, by three approaches, and how far these disagree.

    Example: scalelaw allocate runs.csv --compute 1e24 --shapes transformer --batch 4e6
    """
    from .. import allocate as divide

    share(level)
    trials = read(data, mapping, where, outcome)
    with naming(data):
        found = divide(
            trials,
            compute,
            level=level,
            count=count,
            curve=curve,
            law=law,
            fixed=fixed,
            inference_tokens=inference,
            unique_tokens=unique,
            shapes=shapes,
            batch_tokens=batch,
        )
    if as_json:
        emit(found.to_dict())
        return
    show(found)
    ignored(trials)


def show(found: Allocation) -> None:
    """Print an allocation."""
    say(f"At {number(found.compute)} FLOPs, {number(found.reach, 3)} times the largest run:", "bold")
    answered = [each for each in found.approaches if each.parameters is not None]
    if answered:
        lines = {
            "parameters": [_told(each.parameters) for each in answered],
            "tokens": [_told(each.tokens) for each in answered],
            "tokens per parameter": [_told(each.tokens_per_parameter) for each in answered],
            "exponent of N": [_told(each.exponent) for each in answered],
            "loss": [_told(each.loss, 4) for each in answered],
        }
        head = (f"{found.level:.0%} intervals", *(each.name for each in answered))
        table(head, [(name, *cells) for name, cells in lines.items()], left=head[:1])
    for each in found.approaches:
        say(f"{each.name}: {each.reason}", "" if each.parameters is not None else "yellow")
    for each in found.approaches:
        if each.basin is not None:
            costs = ", ".join(f"{cost:+.2%} at {factor:g} N" for factor, cost in each.basin.penalties.items())
            inside = interval(each.basin.low, each.basin.high, 3)
            say(f"Deviating, by {each.name}: {costs}; within {each.basin.tolerance:.1%} for N from {inside}.")
    say(found.disagreement.message, "bold")
    for name, each in found.special.items():
        if each.parameters is None:
            say(f"{name}: {each.reason}", "yellow")
            continue
        numbers = ", ".join(f"{key.replace('_', ' ')} {number(value, 4)}" for key, value in each.numbers.items())
        say(f"{name}: parameters {_told(each.parameters)}, tokens {_told(each.tokens)}; {numbers}. {each.reason}")
    if found.rounded is not None:
        _rounded(found.rounded)
    for each in (found.count.value, *found.notes):
        say(each)


def _rounded(found: Rounded) -> None:
    """Print the shapes near the optimum."""
    if found.choices:
        rows: list[tuple[str, ...]] = []
        for each in found.choices:
            shape = each.shape
            form = tuple(number(value) for value in (shape.width, shape.depth, shape.heads, shape.parameters))
            steps = "-" if each.steps is None else f"{each.steps:,}"
            rows.append((*form, number(each.tokens), steps, _share(each.excess), _share(each.regret)))
        head = ("width", "depth", "heads", "parameters", "tokens", "steps", "rounding costs, %", "regret, %")
        table(head, rows, title="What can be built near the optimum, within the budget")
        say("Rounding costs: loss over the optimum as estimated. Regret: over the optimum as it may be, mean and interval.")
    say(found.reason, "" if found.choices else "yellow")


def _share(each: Estimate | None) -> str:
    if each is None:
        return "-"
    return f"{100 * each.value:.4f} ({100 * each.low:.4f} to {100 * each.high:.4f})"


def _told(each: Estimate | None, digits: int = 3) -> str:
    if each is None:
        return "-"
    return f"{number(each.value, digits)} ({interval(each.low, each.high, digits)})"
