"""Lightning's CSVLogger: `version_N/metrics.csv` and `hparams.yaml`."""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import DataError
from ._columns import number_in
from ._files import find, has, labels, read_text
from ._reading import Reading, Series, TrackedRun, fingerprint
from ._tracked import Tracker, flat
from ._yaml import read_yaml

__all__ = ["LightningCsv"]

METRICS = "metrics.csv"


class LightningCsv(Tracker):
    """Sparse rows with a step, one folder per run. Lightning counts the steps it stands in from 0; here they count steps done.

    Settings come from `hparams.yaml`, of which only plain values are taken. A learning rate that LearningRateMonitor logged, as
    `lr-AdamW`, is the learning rate where no setting is.
    """

    name = "lightning_csv"
    summary = "Lightning's CSVLogger folders (version_N/metrics.csv)"

    def recognises(self, path: Path) -> bool:
        """By the file's name and a column of steps."""
        files = find(path, METRICS)[:1] if has(path, METRICS) else [path] if path.name == METRICS else []
        with contextlib.suppress(OSError, UnicodeDecodeError, IndexError), files[0].open(encoding="utf-8") as stream:
            return "step" in stream.readline(2**16).strip().split(",")
        return False

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """A run per folder."""
        files = find(path, METRICS) if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        names = dict(zip(files, labels(root, [file.parent for file in files]), strict=True))
        for _, run in reading.attempt(files, lambda file: _run(file, names[file])):
            yield run


def _run(file: Path, label: str) -> TrackedRun:
    text = read_text(file)
    rows = list(csv.reader(text.splitlines()))
    if len(rows) < 2 or "step" not in rows[0]:
        raise DataError("it holds no record", str(file), "Leave this run out, or wait for its first record")
    header, place = rows[0], rows[0].index("step")
    points: dict[str, tuple[list[float], list[float]]] = {}
    for number, row in enumerate(rows[1:], start=2):
        step = number_in(row[place]) if len(row) == len(header) else None
        if step is None:
            if number == len(rows) and not text.endswith("\n"):
                break  # still being written
            raise DataError("a row without a step, or of another length", f"{file}: line {number}", "Mend or remove the line")
        for name, cell in zip(header, row, strict=True):
            value = number_in(cell)
            if value is not None and name not in ("step", "epoch") and not math.isnan(step):
                steps, values = points.setdefault("lr" if name.startswith("lr-") else name, ([], []))
                steps.append(step + 1)
                values.append(value)
    series = {name: Series.of(steps, values) for name, (steps, values) in points.items()}
    return TrackedRun(f"{label}-{fingerprint(series)}", str(file), _hparams(file.parent), series, name=label)


def _hparams(folder: Path) -> dict[str, Any]:
    file = folder / "hparams.yaml"
    return flat(read_yaml(read_text(file, 2**22))) if file.is_file() and not file.is_symlink() else {}
