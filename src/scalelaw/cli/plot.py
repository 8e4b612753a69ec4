"""`scalelaw plot`: one figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from ._files import replacing
from ._json import emit
from ._options import Data, Force, Hyper, Json, Ladder, Map, Outcome, Over, Run, Where, columns, new, read
from ._points import point
from ._screen import ignored, say

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["plot"]


def plot(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The figure; `scalelaw figures` lists them.")],
    data: Data,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="A .png, .svg or .pdf file.")] = None,
    *,
    at: Annotated[str | None, typer.Option("--at", metavar="POINT", help="Draw the forecast for this point: width=8192.")] = None,
    run: Run = None,
    ladder: Ladder = None,
    over: Over = None,
    hyper: Hyper = None,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    theme: Annotated[str, typer.Option("--theme", metavar="THEME", help="light or dark.")] = "light",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw a figure of DATA to a file; --json prints its numbers.

    Example: scalelaw plot four_pane study.db --at width=8192 -o study.png
    """
    from ..figures import figures

    figure = figures[name]
    if output is None and not as_json:
        raise InputError("no file is named", "-o", f"For example: -o {name}.png")
    if output is not None:
        new(output, (".png", ".svg", ".pdf"), force)
    trials = read(data, mapping, where, outcome, keep=hyper)
    names, tuned = columns(over, "--over"), columns(hyper, "--hyper")
    expected, verdicts = infer(trials, at, run, ladder, names, tuned)
    numbers = figure.data(trials, forecast=expected, verdicts=verdicts)
    if output is not None:
        from ..render import paint

        content = paint(numbers, format=output.suffix.lstrip("."), theme=theme)
        with replacing(output) as path:
            path.write_bytes(content)
    if as_json:
        emit(numbers.to_dict())
        return
    say(f"Drew {name} of {len(trials)} trials to {output}.")
    say(numbers.description)
    ignored(trials)


def infer(
    trials: Trials,
    at: str | None,
    run: list[str] | None,
    ladder: str | None,
    over: tuple[str, ...] | None,
    hyper: tuple[str, ...] | None,
) -> tuple[Forecast | None, tuple[Verdict, ...]]:
    """The forecast and the verdicts that a figure or a report is to show."""
    from .. import check, forecast
    from ..store import find_run

    fitted = trials.where(ladder) if ladder else trials
    expected = forecast(fitted, point(at), over=over, hyper=hyper) if at else None
    verdicts = tuple(check(fitted, find_run(each, trials), over=over, hyper=hyper) for each in run or ())
    return expected, verdicts
