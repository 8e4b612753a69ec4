"""`scalelaw handover`: a study's trials as W&B sweeps or in Optuna's queue."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from ._json import emit
from ._options import Force, Json, new
from ._screen import say

__all__ = ["handover"]

_Study = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's TOML file, such as a plan's next.toml.")]
_Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write W&B sweeps: sweep.yaml.")]
_Optuna = Annotated[
    str | None, typer.Option("--optuna", metavar="URL", help="Queue in this Optuna storage: sqlite:///optuna.db.")
]
_Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of the Optuna study; default the study's own.")]
_Program = Annotated[str | None, typer.Option("--program", metavar="FILE", help="The script that W&B's agent starts.")]
_Metric = Annotated[str, typer.Option("--metric", metavar="NAME", help="What that script logs as its loss.")]


def handover(
    study: _Study,
    *,
    output: _Output = None,
    optuna: _Optuna = None,
    name: _Name = None,
    program: _Program = None,
    metric: _Metric = "loss",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Hand a study's trials to W&B as grid sweeps, or to Optuna's queue; import the runs when they are done.

    Example: scalelaw handover next.toml -o sweep.yaml --program train.py
    """
    from ..handover import enqueue_optuna, write_sweeps
    from ..study import read_study

    if (output is None) == (optuna is None):
        raise InputError("say where to: one of the two", "-o, --optuna", "Give -o sweep.yaml or --optuna sqlite:///optuna.db")
    plan = read_study(study)
    if output is not None:
        new(output, (".yaml", ".yml"), force)
        paths = write_sweeps(plan, output, program, metric, replace=force)
        if as_json:
            emit({"output": [str(path) for path in paths], "trials": len(plan.specs)})
            return
        say(f"Wrote {len(plan.specs)} trials to {', '.join(map(str, paths))}.")
        say(
            f"Next: {' && '.join(f'wandb sweep {shlex.quote(str(path))}' for path in paths)}, then the wandb agent that it names."
        )
        return
    assert optuna is not None
    queued = enqueue_optuna(plan, optuna, name)
    if as_json:
        emit({"output": optuna, "trials": len(plan.specs), "queued": queued})
        return
    there = len(plan.specs) - queued
    say(f"Queued {queued} trials in {optuna}, study {(name or plan.name)!r}" + (f"; {there} were there." if there else "."))
