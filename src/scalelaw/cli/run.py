"""`scalelaw run`: train what a study still lacks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, SpecError, UnknownNameError
from ._json import emit
from ._options import Json, Storage
from ._points import point, size, texts
from ._progress import flops, watching
from ._screen import note, say

if TYPE_CHECKING:
    from ..run import RunSummary
    from ..study import Study
    from ..until import Loop

__all__ = ["run"]


_StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's TOML file.")]
_Engine = Annotated[str, typer.Option("--engine", metavar="ENGINE", help="Where to train; see `scalelaw engines`.")]
_Parallel = Annotated[int | None, typer.Option("--max-parallel", metavar="N", help="Train at most so many batches at once.")]
_Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="What to train on: cpu, gpu or tpu.  [default: cpu, or JAX_PLATFORMS]"),
]
_Witnesses = Annotated[
    bool, typer.Option("--witnesses", help="Also measure what goes on inside while training; see `scalelaw export`.")
]
_Until = Annotated[
    str | None,
    typer.Option("--until", metavar="CONDITION", help='Train only as many as it takes: "regret < 0.2 %"; see docs/planning.md.'),
]
_Target = Annotated[
    str | None, typer.Option("--target", metavar="POINT", help="The large run that --until is about; default the study's.")
]
_Budget = Annotated[
    float | None, typer.Option("--budget", metavar="FLOPS", help="FLOPs at most; without --until the cheapest trials go first.")
]
_Set = Annotated[
    list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Of the engine: address=auto, partition=gpu, ...")
]
_Cpus = Annotated[float, typer.Option("--cpus", metavar="N", help="Cores of a batch.")]
_Gpus = Annotated[float, typer.Option("--gpus", metavar="N", help="GPUs of a batch; 0.25 puts four batches on one.")]
_Memory = Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Memory of a batch, for example 4GiB.")]
_Batch = Annotated[int | None, typer.Option("--batch", metavar="N", help="At most so many trials of one shape in a batch.")]
_Retries = Annotated[
    int, typer.Option("--retries", metavar="N", help="How often a trial whose worker vanished is tried again.", min=0)
]
_Drain = Annotated[float, typer.Option("--drain", metavar="SECONDS", help="After Ctrl-C, let trials end that long.", min=0)]
_Spool = Annotated[
    Path | None, typer.Option("--spool", metavar="FOLDER", help="Where workers leave results.  [default: beside the store]")
]


def run(
    study: _StudyFile,
    *,
    storage: Storage = "study.db",
    engine: _Engine = "local",
    max_parallel: _Parallel = None,
    device: _Device = None,
    witnesses: _Witnesses = False,
    until: _Until = None,
    target: _Target = None,
    budget: _Budget = None,
    option: _Set = None,
    cpus: _Cpus = 1.0,
    gpus: _Gpus = 0.0,
    memory: _Memory = None,
    batch: _Batch = None,
    retries: _Retries = 2,
    drain: _Drain = 0.0,
    spool: _Spool = None,
    as_json: Json = False,
) -> None:
    """Train every trial of STUDY that the store lacks; run it again to go on after anything.

    Example: scalelaw run study.toml --storage study.db
    """
    from .. import run as fill
    from ..engines import Resources, engines
    from ..study import read_study

    resources = Resources(cpus, gpus, None if memory is None else size(memory, "--memory"), max_parallel=max_parallel)
    plan = read_study(study)
    _ = engines[engine]
    until = until or (plan.until if target else None)
    if until is None and target is not None:
        raise InputError("this belongs to --until", "--target", 'Add --until "regret < 0.2 %"')
    summary, ended = None, None
    options: dict[str, Any] = {"engine": engine, "resources": resources, "device": device, "witnesses": witnesses}
    options |= {"options": texts(option or [], "--option"), "batch": batch, "retries": retries, "drain": drain, "spool": spool}
    _network(storage, as_json)
    try:
        with watching(quiet=as_json) as watch:
            if until is None:
                summary = fill(plan, storage, **options, budget=budget, on_event=watch)
            else:
                ended = _loop(plan, storage, until, (target, budget), {**options, "on_event": watch}, as_json)
    except (SpecError, UnknownNameError) as error:
        where = f"{study}: {error.where}" if error.where else str(study)
        raise InputError(error.what, where, error.mend) from error
    if ended is not None:
        _end(ended, until or "", as_json)
        return
    assert summary is not None
    _tell(summary, storage, as_json)
    _leave(summary, storage, as_json)


def _leave(summary: RunSummary, storage: str, quiet: bool) -> None:
    """What else a person should know, and the exit code."""
    from .._store.address import shown

    for path in summary.broken:
        note(f"{path} held no trial and was set aside; its trial is trained again.")
    if summary.interrupted:
        raise typer.Exit(143 if summary.interrupted == "SIGTERM" else 130)
    if summary.progress.failed or summary.progress.lost:
        if not quiet:
            bad = "FAILED" if summary.progress.failed else "LOST"
            note(f"Why each did: scalelaw trials {shlex.quote(shown(storage))} --where \"status == '{bad}'\"")
        raise typer.Exit(1)
    if not summary.complete and not quiet:
        note("The budget pays for no more of them; a larger --budget goes on.")


def _network(storage: str, quiet: bool) -> None:
    """Say once what a store on a network file system is like."""
    from .._store.address import parse
    from .._store.mounts import MOUNTS, network

    place = parse(storage)
    kind = network(place, MOUNTS) if isinstance(place, Path) else None
    if kind is not None and not quiet:
        note(f"{storage} lies on a network file system ({kind}): it is written without a log, by one scalelaw run at a time.")


def _loop(
    plan: Study, storage: str, until: str, asked: tuple[str | None, float | None], options: dict[str, Any], quiet: bool
) -> Loop:
    """Plan, run, plan again; a line for each round on stderr."""
    from ..until import Round, run_until

    def told(each: Round) -> None:
        known = "no bowl can be told yet" if each.regret is None else f"expected regret {each.regret.value:.3%}"
        band = "" if each.regret is None else f" ({each.regret.low:.3%} to {each.regret.high:.3%})"
        if not quiet:
            note(f"Round {each.number}: {each.runs} runs, {flops(each.spend)}; {known}{band}; {each.next} more chosen.")

    target, budget = asked
    there = None if target is None else point(target, "--target")
    return run_until(plan, storage, until, target=there, budget=budget, on_round=told, **options)


def _end(ended: Loop, until: str, as_json: bool) -> None:
    last = ended.rounds[-1]
    if as_json:
        emit({**ended.to_dict(), "until": until})
    else:
        share = last.spend / ended.flops
        say(f"{ended.ended.value} {last.runs} of {ended.trials} trials, {share:.1%} of the study's FLOPs ({until}).")
    if ended.summary is not None and ended.summary.interrupted:
        raise typer.Exit(143 if ended.summary.interrupted == "SIGTERM" else 130)
    if ended.failed:
        note(f"{ended.failed} of its trials failed and were left out; the same command tries them again.")
        raise typer.Exit(1)


def _tell(summary: RunSummary, storage: str, as_json: bool) -> None:
    from .._store.address import masked, shown

    if as_json:
        at = summary.progress
        emit(
            {
                "study": summary.study,
                "storage": shown(summary.storage),
                "trials": at.trials,
                "done": at.done,
                "skipped": summary.skipped,
                "trained": summary.trained,
                "diverged": at.diverged,
                "failed": at.failed,
                "lost": at.lost,
                "flops": at.flops,
                "seconds": at.elapsed,
                "errors": dict(summary.errors),
                "complete": summary.complete,
                "interrupted": summary.interrupted,
                "message": summary.message,
            }
        )
    elif summary.interrupted:
        note(masked(f"{summary.message} The command: scalelaw {shlex.join(sys.argv[1:])}"))
    else:
        say(masked(summary.message))
        if summary.complete:
            say(f"Next: scalelaw optimum {shlex.quote(shown(storage))}")
