"""`scalelaw report`: one self-contained page."""

from __future__ import annotations

from ._files import replacing
from ._json import emit
from ._options import (
    Data,
    Force,
    Hyper,
    Json,
    Level,
    Map,
    Out,
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

__all__ = ["report"]


def report(
    data: Data,
    output: Out,
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
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: figures, laws, forecast, verdicts and the table of trials.

    Example: scalelaw report study.db --at width=8192 -o report.html
    """
    from .. import report as page

    new(output, (".html", ".htm"), force)
    target, most = point(at) if at else None, point(upto, "--upto") if upto else None
    kept = setting(with_, more=columns(hyper, "--hyper") or ())
    names = columns(over, "--over")
    share(level)
    trials = read(data, mapping, where, outcome, hyper)
    judged = read_run(run, trials, mapping, outcome) if run else None
    with naming(data, trials):
        text = page(trials, at=target, upto=most, setting=kept, over=names, run=judged, level=level)
    with replacing(output) as path:
        path.write_text(text, encoding="utf-8")
    if as_json:
        emit({"output": str(output), "trials": len(trials), "bytes": len(text.encode())})
        return
    say(f"Wrote the report on {len(trials)} trials to {output}.")
    ignored(trials)
