"""`scalelaw plot`: one figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from ._files import replacing
from ._json import emit
from ._options import (
    Data,
    Force,
    Hyper,
    Json,
    Level,
    Map,
    Outcome,
    Over,
    Run,
    Target,
    Upto,
    Where,
    With,
    columns,
    naming,
    new,
    read,
    read_run,
    share,
)
from ._points import point, setting
from ._screen import ignored, say

__all__ = ["plot"]


def plot(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The figure; `scalelaw figures` lists them.")],
    data: Data,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="A .png, .svg or .pdf file.")] = None,
    *,
    at: Target = None,
    upto: Upto = None,
    with_: With = None,
    run: Run = None,
    over: Over = None,
    hyper: Hyper = None,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.9,
    theme: Annotated[str, typer.Option("--theme", metavar="THEME", help="light or dark.")] = "light",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw a figure of DATA to a file; --json prints its numbers.

    Example: scalelaw plot four_pane study.db --at width=8192 -o study.png
    """
    from ..figures import figures
    from ..report import analyse

    figure = figures[name]
    if output is None and not as_json:
        raise InputError("no file is named", "-o", f"For example: -o {name}.png")
    if output is not None:
        new(output, (".png", ".svg", ".pdf"), force)
    target, most = point(at) if at else None, point(upto, "--upto") if upto else None
    kept = setting(with_, more=columns(hyper, "--hyper") or ())
    names = columns(over, "--over")
    share(level)
    trials = read(data, mapping, where, outcome, hyper)
    judged = read_run(run, trials, mapping, outcome) if run else None
    with naming(data, trials):
        found = analyse(trials, at=target, upto=most, setting=kept, over=names, run=judged, level=level)
        numbers = figure.data(trials, forecast=found.forecast, verdicts=found.verdicts)
    if output is not None:
        from ..render import paint

        content = paint(numbers, format=output.suffix.lstrip("."), theme=theme)
        with replacing(output) as path:
            path.write_bytes(content)
    if as_json:
        emit(numbers.to_dict())
        return
    say(f"Drew {name} of {len(trials)} trials to {output}.", "bold")
    say(numbers.description)
    if found.reason:
        say(f"It shows no forecast: {found.reason}")
    ignored(trials)
