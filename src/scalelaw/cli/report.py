"""`scalelaw report`: one self-contained page."""

from __future__ import annotations

from typing import Annotated

import typer

from ._files import replacing
from ._json import emit
from ._options import Data, Force, Hyper, Json, Ladder, Map, Out, Outcome, Over, Run, Where, columns, new, read
from ._screen import ignored, say
from .plot import infer

__all__ = ["report"]


def report(
    data: Data,
    output: Out,
    *,
    at: Annotated[str | None, typer.Option("--at", metavar="POINT", help="Forecast this point: width=8192.")] = None,
    run: Run = None,
    ladder: Ladder = None,
    over: Over = None,
    hyper: Hyper = None,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: figures, laws, forecast, verdicts and the table of trials.

    Example: scalelaw report study.db --at width=8192 -o report.html
    """
    from .. import report as page

    new(output, (".html", ".htm"), force)
    trials = read(data, mapping, where, outcome, keep=hyper)
    expected, verdicts = infer(trials, at, run, ladder, columns(over, "--over"), columns(hyper, "--hyper"))
    text = page(trials, forecast=expected, verdicts=verdicts)
    with replacing(output) as path:
        path.write_text(text, encoding="utf-8")
    if as_json:
        emit({"output": str(output), "trials": len(trials), "bytes": len(text.encode())})
        return
    say(f"Wrote the report on {len(trials)} trials to {output}.")
    ignored(trials)
