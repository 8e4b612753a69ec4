"""Training a study and keeping it: its trials as Parquet, curves where they are asked for, and how it was made."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars

from scalelaw.engines.local import cores
from scalelaw.importers.study_folder import TRIALS
from scalelaw.run import run
from scalelaw.store import Store
from scalelaw.study import Study, read_study
from scalelaw.trial import Trial

__all__ = ["ROOT", "Part", "record", "write_toml"]

ROOT = Path(__file__).resolve().parents[2] / "studies"
STORES = Path(__file__).resolve().parents[2] / "build" / "studies"


@dataclass(frozen=True)
class Part:
    """One folder of trials.

    Args:
        folder: where it is kept; its `study.toml` says what is trained.
        curves: whether the curves are kept too, as `curves.parquet`: id, step, loss.
        labels: adds columns of its own to the table's rows, by the trials.
        study: what is trained, where that follows from other trials and not from `study.toml`.
    """

    folder: Path
    curves: bool = False
    labels: Callable[[list[Trial]], Mapping[str, Mapping[str, Any]]] | None = None
    study: Study | None = None


def record(part: Part, workers: int | None = None) -> None:
    """Train what the part's store lacks with so many workers (default: one a core), then write its folder."""
    study = part.study or read_study(part.folder / "study.toml")
    STORES.mkdir(parents=True, exist_ok=True)
    storage = STORES / f"{part.folder.relative_to(ROOT)}.db".replace("/", "_")
    began = time.perf_counter()
    summary = run(study, storage, max_parallel=workers)
    seconds = time.perf_counter() - began
    asked = {spec.id for spec in study.specs}
    with Store(storage, read_only=True) as store:
        frame = store.table().to_frame().filter(polars.col("id").is_in(list(asked)))
        trials = [trial for trial in store.trials(curves=part.curves) if trial.id in asked]
    if part.labels is not None:
        labels = part.labels(trials)
        frame = frame.join(polars.DataFrame([{"id": key, **values} for key, values in labels.items()]), on="id", how="left")
    frame.write_parquet(part.folder / TRIALS, compression="zstd", compression_level=12)
    if part.curves:
        rows = [
            {"id": trial.id, "step": step, "loss": loss}
            for trial in trials
            if trial.curve is not None
            for step, loss in zip(trial.curve.steps, trial.curve.losses, strict=True)
        ]
        curves = polars.DataFrame(rows).with_columns(
            polars.col("loss").cast(polars.Float32), polars.col("step").cast(polars.Int32)
        )
        curves.write_parquet(part.folder / "curves.parquet", compression="zstd", compression_level=12)
    if summary.trained:
        (part.folder / "MADE.md").write_text(_made(study, trials, summary.trained, seconds, workers), encoding="utf-8")
    print(f"{part.folder.relative_to(ROOT)}: {summary.message} {seconds:.0f} s, {summary.trained} trained now.\n")


def write_toml(part: Part, about: str) -> None:
    """The part's study as the TOML that `scalelaw run` takes, under one line that says what it is."""
    assert part.study is not None
    study = part.study
    lines = [f"# {about}", f'name = "{study.name}"', f'task = "{study.task}"']
    lines += [f'model = "{study.model}"'] if study.model != "mlp" else []
    lines += ["", "[task_options]", *(f"{name} = {_plain(value)}" for name, value in study.task_options.items())]
    for grid in study.grids:
        lines += ["", "[[grid]]", f"seeds = {list(grid.seeds)}", f"scale = {_inline(grid.scale)}"]
        lines += [f"hyperparameters = {_inline(grid.hyperparameters)}"]
    part.folder.mkdir(parents=True, exist_ok=True)
    (part.folder / "study.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _inline(axes: Mapping[str, tuple[Any, ...]]) -> str:
    told = ((name, values[0] if len(values) == 1 else list(values)) for name, values in axes.items())
    return "{ " + ", ".join(f"{name} = {_plain(value)}" for name, value in told) + " }"


def _plain(value: Any) -> str:
    """A number, a word or a list of them as TOML writes it too, which is JSON's way."""
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, list) else json.dumps(value)


def _made(study: Study, trials: list[Trial], trained: int, seconds: float, workers: int | None) -> str:
    """On what the trials were made, and what that took."""
    import jax
    import numpy

    compute = sum(trial.compute or 0.0 for trial in trials)
    diverged = sum(trial.status.name == "DIVERGED" for trial in trials)
    again = "" if trained == len(trials) else f" (the last run trained {trained} of them)"
    return "\n".join(
        [
            f"{len(trials)} trials of `{study.name}`, {diverged} diverged, {compute:.2e} FLOPs of training.",
            "",
            f"- Time: {seconds / 60:.1f} min of wall clock{again}; {sum(trial.seconds or 0.0 for trial in trials) / 60:.1f} min"
            " summed over trials. Other work shared the cores.",
            f"- Hardware: {_processor()}, {len(cores())} cores, {_layout(workers)}; no accelerator.",
            f"- Software: Python {platform.python_version()}, JAX {jax.__version__}, NumPy {numpy.__version__}.",
            "",
        ]
    )


def _layout(workers: int | None) -> str:
    if workers is None:
        return "one single-threaded worker each"
    return f"{workers} single-threaded worker{'s' if workers > 1 else ''}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
