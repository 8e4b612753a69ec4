"""`scalelaw coordinates`: whether the layers of the built-in network move alike at every width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from ._json import emit
from ._options import Json, Level, share
from ._points import setting
from ._screen import number, places, say, table

if TYPE_CHECKING:
    from ..coordinates import Coordinates, Slope

__all__ = ["coordinates"]


def coordinates(
    *,
    widths: Annotated[str, typer.Option("--widths", metavar="LIST", help="At least 3 widths.")] = "64,128,256,512,1024",
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="RATE", help="Adam's rate at the smallest width.")
    ] = 1e-3,
    parametrisation: Annotated[
        str,
        typer.Option(
            "--parametrisation",
            metavar="NAME",
            help="How rates and starts go with the width: standard (as the trainer), scaled_rate, layer_rates, maximal_update.",
        ),
    ] = "standard",
    task: Annotated[str, typer.Option("--task", metavar="TASK", help="What to train on; `scalelaw tasks` lists them.")] = (
        "teacher_student"
    ),
    depth: Annotated[int, typer.Option("--depth", metavar="N", help="Hidden layers.")] = 3,
    steps: Annotated[str, typer.Option("--steps", metavar="LIST", help="Measure after these training steps.")] = "1,2,4,8",
    seeds: Annotated[int, typer.Option("--seeds", metavar="K", help="Networks per width.")] = 8,
    others: Annotated[
        str | None, typer.Option("--with", metavar="SETTING", help="Other hyperparameters: batch_size=64,weight_decay=0.1.")
    ] = None,
    level: Level = 0.9,
    as_json: Json = False,
) -> None:
    """Check in seconds whether a rate tuned at a small width can serve a large one: how do the layers' first changes scale?

    Example: scalelaw coordinates --widths 64,128,256,512 --learning-rate 3e-4
    """
    from ..coordinates import coordinates as check

    found = check(
        _whole(widths, "--widths"),
        learning_rate=learning_rate,
        parametrisation=parametrisation,
        task=task,
        depth=depth,
        steps=_whole(steps, "--steps"),
        seeds=seeds,
        hyperparameters=setting(others),
        level=share(level),
    )
    if as_json:
        emit(found.to_dict())
        return
    show(found)


def show(found: Coordinates) -> None:
    """Print the check."""
    say(f"{found.verdict.name}: {found.verdict.value}. {found.action}", "bold")
    for each in found.faults:
        say(f"{each.message}, step {each.step}. {each.action}")
    starts = [each for each in found.slopes if each.quantity == "activation" and each.step == 0]
    told = "; ".join(f"{each.layer} {_power(each)} ({_reach(each)})" for each in starts)
    say(f"Power of the width in the outputs at the start: {told}.")
    rows: list[list[str]] = []
    for change in (each for each in found.slopes if each.quantity == "change"):
        cells = [change.layer, number(change.step), _power(change), _reach(change), change.growth.name]
        for quantity in ("own", "ratio"):
            other = found.slope(quantity, change.layer, change.step)
            cells += [_power(other), _reach(other)]
        rows.append(cells)
    head = (
        "layer",
        "step",
        "change",
        f"{found.level:.0%} interval",
        "verdict",
        "own update",
        "interval",
        "update/weights",
        "interval",
    )
    table(head, rows, left=("layer", "verdict"), title="Power of the width")
    margin = f"a power within {number(-found.margin)} to {number(found.margin)} counts as none"
    say(f"Over {len(found.widths)} widths from {found.widths[0]} to {found.widths[-1]}, {places(found.recipe)}; {margin}.", "dim")


def _power(each: Slope) -> str:
    return "-" if each.reason else f"{each.slope.value:z.2f}"


def _reach(each: Slope) -> str:
    return "-" if each.reason else f"{each.slope.low:z.2f} to {each.slope.high:z.2f}"


def _whole(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{text!r} is no list of whole numbers", option, "Give them with commas between: 64,128,256") from error
