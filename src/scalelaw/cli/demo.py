"""`scalelaw demo`: the width study at laptop scale, start to report."""

from __future__ import annotations

from typing import Annotated

import typer

from ._json import emit
from ._options import Json, Storage
from ._progress import duration, watching
from ._screen import note, say

__all__ = ["demo"]


def demo(
    *,
    storage: Storage = "demo/study.db",
    seed: Annotated[int, typer.Option("--seed", metavar="K", min=0, help="Shift every seed: a rerun with other networks.")] = 0,
    max_parallel: Annotated[
        int | None, typer.Option("--max-parallel", metavar="N", min=1, help="Train at most so many batches at once.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a ladder of small networks, fit the law, watch it break at a large one, mend it; about a minute.

    Example: scalelaw demo
    """
    from ..demo import demo as tell
    from ..store import shown

    with watching(quiet=as_json) as watch:
        step = (lambda _: None) if as_json else note
        account = tell(storage, seed=seed, max_parallel=max_parallel, on_event=watch, on_step=step)
    if as_json:
        emit(account.to_dict())
        return
    say("")
    for sentence in account.sentences():
        say(sentence, "bold red" if sentence.startswith("Verdict: OFF_LAW") else "")
    say(f"Report: {account.report}")
    figures = " and ".join(str(path) for path in account.figures)
    note(f"{account.trials} trials, {duration(account.seconds)}. Figure: {figures}. Trials: {shown(storage)}.")
