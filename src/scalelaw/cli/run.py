"""`scalelaw run`: train what a study still lacks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, SpecError, UnknownNameError
from ._json import emit
from ._options import Json, Storage
from ._progress import watching
from ._screen import note, say

if TYPE_CHECKING:
    from ..run import RunSummary

__all__ = ["run"]


def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's TOML file.")],
    *,
    storage: Storage = Path("study.db"),
    engine: Annotated[str, typer.Option("--engine", metavar="ENGINE", help="Where to train; see `scalelaw engines`.")] = "local",
    max_parallel: Annotated[
        int | None, typer.Option("--max-parallel", metavar="N", help="Train at most so many batches at once.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="DEVICE", help="What to train on: cpu, gpu or tpu.  [default: cpu, or JAX_PLATFORMS]"),
    ] = None,
    witnesses: Annotated[
        bool, typer.Option("--witnesses", help="Also measure what goes on inside while training; see `scalelaw export`.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train every trial of STUDY that the store lacks; run it again to go on after anything.

    Example: scalelaw run study.toml --storage study.db
    """
    from .. import run as fill
    from ..engines import engines
    from ..study import read_study

    if max_parallel is not None and max_parallel < 1:
        raise InputError(f"cannot train {max_parallel} batches at once", "--max-parallel", "Give a whole number of 1 or more")
    plan = read_study(study)
    _ = engines[engine]
    try:
        with watching(quiet=as_json) as watch:
            summary = fill(
                plan,
                storage,
                engine=engine,
                max_parallel=max_parallel,
                device=device,
                witnesses=witnesses,
                on_event=watch,
            )
    except (SpecError, UnknownNameError) as error:
        where = f"{study}: {error.where}" if error.where else str(study)
        raise InputError(error.what, where, error.mend) from error
    _tell(summary, storage, as_json)
    for path in summary.broken:
        note(f"{path} held no trial and was set aside; its trial is trained again.")
    if summary.interrupted:
        raise typer.Exit(143 if summary.interrupted == "SIGTERM" else 130)
    if summary.progress.failed or summary.progress.lost:
        raise typer.Exit(1)


def _tell(summary: RunSummary, storage: Path, as_json: bool) -> None:
    if as_json:
        at = summary.progress
        emit(
            {
                "study": summary.study,
                "storage": summary.storage,
                "trials": at.trials,
                "done": at.done,
                "skipped": summary.skipped,
                "trained": summary.trained,
                "diverged": at.diverged,
                "failed": at.failed,
                "lost": at.lost,
                "flops": at.flops,
                "seconds": at.elapsed,
                "complete": summary.complete,
                "interrupted": summary.interrupted,
                "message": summary.message,
            }
        )
    elif summary.interrupted:
        note(f"{summary.message} The command: scalelaw {shlex.join(sys.argv[1:])}")
    else:
        say(summary.message)
        if summary.complete:
            say(f"Next: scalelaw optimum {shlex.quote(str(storage))}")
