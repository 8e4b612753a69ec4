"""MLflow's file store: `mlruns/EXPERIMENT/RUN/`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError
from ..trial import Status
from ._files import find, has, read_text
from ._mlflow import seconds_between, steps_of
from ._reading import Reading, Series, TrackedRun
from ._tracked import Tracker
from ._yaml import read_yaml

__all__ = ["MlflowFiles"]

META = "meta.yaml"
_SMALL = 2**22
# mlflow.entities.RunStatus: RUNNING, SCHEDULED, FINISHED, FAILED, KILLED.
_STATES = {
    "1": Status.LOST,
    "2": Status.LOST,
    "3": Status.COMPLETE,
    "4": Status.FAILED,
    "5": Status.LOST,
    "FINISHED": Status.COMPLETE,
    "FAILED": Status.FAILED,
}


class MlflowFiles(Tracker):
    """A store of plain files: `meta.yaml`, `params/NAME`, and `metrics/NAME` with lines of time, value and step.

    Read as it lies on the disk: no MLflow is needed, nor its permission for file stores. Deleted runs are left out. A metric
    that was logged without steps is counted in its order.
    """

    name = "mlflow_files"
    summary = "MLflow's file store (mlruns/, an experiment or a run in it)"

    def recognises(self, path: Path) -> bool:
        """By a meta.yaml that names a run or an experiment."""
        if not path.is_dir() or not has(path, META):
            return False
        with contextlib.suppress(DataError, OSError):
            return any("experiment_id" in read_text(file, _SMALL) for file in find(path, META)[:5])
        return False

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """The runs that were not deleted."""
        folders = [file.parent for file in find(path, META) if (file.parent / "metrics").is_dir() and ".trash" not in file.parts]
        if not folders:
            raise DataError("there is no run in this MLflow store", str(path), "Give mlruns/, an experiment or a run")
        for _, run in reading.attempt(folders, _run):
            if run is not None:
                yield run


def _experiment(folder: Path) -> str | None:
    file = folder / META
    return str(read_yaml(read_text(file, _SMALL)).get("name") or folder.name) if file.is_file() else None


def _run(folder: Path) -> TrackedRun | None:
    """A run; None where it was deleted."""
    meta = read_yaml(read_text(folder / META, _SMALL))
    if meta.get("lifecycle_stage") == "deleted":
        return None
    params = {_key(file, folder / "params"): read_text(file, _SMALL) for file in _plain(folder / "params")}
    series = {_key(file, folder / "metrics"): _series(file) for file in _plain(folder / "metrics")}
    state = str(meta.get("status"))
    status = _STATES.get(state)
    return TrackedRun(
        str(meta.get("run_id") or meta.get("run_uuid") or folder.name),
        str(folder),
        params,
        series,
        status=status,
        group=_experiment(folder.parent),
        name=meta.get("run_name"),
        seconds=seconds_between(meta.get("start_time"), meta.get("end_time")),
        error=None if status is Status.COMPLETE else f"its state in MLflow is {state}",
    )


def _plain(folder: Path) -> list[Path]:
    return find(folder, "*") if folder.is_dir() else []


def _key(file: Path, folder: Path) -> str:
    """A name with slashes is a path of folders."""
    return file.relative_to(folder).as_posix()


def _series(file: Path) -> Series:
    """Lines of time, value and step; an old MLflow wrote no step. A last line that is cut off is left out."""
    text = read_text(file)
    steps: list[float] = []
    values: list[float] = []
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        cells = line.split()
        try:
            value, step = float(cells[1]), float(cells[2]) if len(cells) > 2 else 0.0
        except (ValueError, IndexError) as error:
            if not cells or (number == len(lines) and not text.endswith("\n")):
                continue
            raise DataError(
                f"{line[:40]!r} is not time, value, step", f"{file}: line {number}", "Mend or remove the line"
            ) from error
        steps.append(step)
        values.append(value)
    return Series.of(steps_of(steps), values)
