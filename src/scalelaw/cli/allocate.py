"""`scalelaw allocate`: how to split a compute budget between size and data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ._json import emit
from ._options import Data, Fixed, Json, Level, Map, Outcome, Where, naming, read, share
from ._screen import ignored, interval, number, say, table

if TYPE_CHECKING:
    from ..allocate import Allocation
    from ..estimate import Estimate

__all__ = ["Compute", "allocate"]

Compute = Annotated[float, typer.Option("--compute", metavar="FLOPS", help="The budget in FLOPs: 1e24.")]


def allocate(
    data: Data,
    *,
    compute: Compute,
    count: Annotated[
        str, typer.Option("--count", metavar="KIND", help="N without embeddings, parameters, or total.")
    ] = "parameters",
    curve: Annotated[str, typer.Option("--curve", metavar="CURVE", help="IsoFLOP profiles: cubic, or parabola.")] = "cubic",
    law: Annotated[str, typer.Option("--law", metavar="LAW", help="chinchilla, chinchilla_shared or skaling.")] = "chinchilla",
    inference: Annotated[
        float | None, typer.Option("--inference", metavar="TOKENS", help="Tokens the model will serve: least lifetime compute.")
    ] = None,
    unique: Annotated[
        float | None, typer.Option("--unique", metavar="TOKENS", help="Tokens there are; more than these are repeats.")
    ] = None,
    fixed: Fixed = False,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.9,
    as_json: Json = False,
) -> None:
    """Find the compute-optimal size and data for a budget, by three approaches, and how far these disagree.

    Example: scalelaw allocate runs.csv --compute 1e24
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
    for each in (found.count.value, *found.notes):
        say(each)


def _told(each: Estimate | None, digits: int = 3) -> str:
    if each is None:
        return "-"
    return f"{number(each.value, digits)} ({interval(each.low, each.high, digits)})"
