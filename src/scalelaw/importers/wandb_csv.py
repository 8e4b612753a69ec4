"""CSV files that W&B's pages export: the table of runs, and the lines of a chart."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..trial import Status
from ._columns import STATES, number_in
from ._files import read_text
from ._loss import loss_rank
from ._reading import Reading, Series, TrackedRun
from ._tracked import Tracker

__all__ = ["WandbCsv"]

_ABOUT = frozenset({"Created", "Runtime", "End Time", "Updated", "Sweep", "Tags", "User", "Hostname", "ID", "Notes", "Group"})
_LINE = re.compile(r"(.+) - (.+?)(__MIN|__MAX)?")
_STEPS = ("Step", "_step", "global_step", "train/global_step", "trainer/global_step", "step", "iter", "iteration")


class WandbCsv(Tracker):
    """The two kinds of CSV file that W&B's pages give.

    The table of runs has a row per run with its settings and last values. A chart's export has a row per step and a column
    `RUN - METRIC` per line, with its __MIN and __MAX, which are left out. A chart shows a sample of what was logged: its curves
    are marked so, and no final loss is taken from them. Settings and final losses come from the table, or from the runs.
    """

    name = "wandb_csv"
    summary = "CSV files exported from W&B's pages: the table of runs, or a chart"

    def recognises(self, path: Path) -> bool:
        """By the header."""
        return path.is_file() and path.suffix.lower() == ".csv" and _kind(_header(path)) is not None

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """The rows of a table, or the lines of a chart."""
        text = read_text(path)
        rows = [row for row in csv.reader(text.splitlines()) if row]
        for number, row in enumerate(rows[1:], start=2):
            if len(row) != len(rows[0]):
                what = f"{len(row)} cells where the header has {len(rows[0])}"
                raise DataError(what, f"{path}: line {number}", "Export the file again")
        if _kind(rows[0]) == "runs":
            for row in reading.each(rows[1:]):
                yield _row(dict(zip(rows[0], row, strict=True)), path)
        else:
            yield from _lines(rows, path)


def _header(path: Path) -> Sequence[str]:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return next(csv.reader([stream.readline(2**20)]), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _kind(header: Sequence[str]) -> str | None:
    if {"Name", "State"} <= set(header) and _ABOUT & set(header):
        return "runs"
    lines = [name for name in header[1:] if _LINE.fullmatch(name)]
    return "chart" if header[:1] and header[0] in _STEPS and lines and any(name.endswith("__MIN") for name in lines) else None


def _row(cells: dict[str, str], path: Path) -> TrackedRun:
    settings: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    for name, cell in cells.items():
        number = number_in(cell)
        if loss_rank(name) is not None and number is not None:
            metrics[name] = number
        elif name not in _ABOUT and name not in ("Name", "State") and cell != "":
            settings[name] = cell
    word = cells["State"].strip().lower()
    status = Status.LOST if word == "running" else STATES.get(word)
    error = None if status is Status.COMPLETE else f"its state in W&B is {word or 'not told'}"
    return TrackedRun(
        cells.get("ID") or cells["Name"],
        str(path),
        settings,
        summary=metrics,
        status=status,
        name=cells["Name"],
        seconds=number_in(cells.get("Runtime")),
        error=error,
    )


def _lines(rows: Sequence[Sequence[str]], path: Path) -> Iterable[TrackedRun]:
    steps = [number_in(row[0]) for row in rows[1:]]
    found: dict[str, dict[str, Series]] = {}
    for place, name in enumerate(rows[0][1:], start=1):
        line = _LINE.fullmatch(name)
        if line is None or line[3] or line[2] == "_step":
            continue
        pairs = [(step, number_in(row[place])) for step, row in zip(steps, rows[1:], strict=True)]
        kept = [(step, value) for step, value in pairs if step is not None and value is not None]
        found.setdefault(line[1], {})[line[2]] = Series.of([step for step, _ in kept], [value for _, value in kept])
    note = (
        "A chart's curves are a sample of what was logged: no final loss is taken from them; export the table of runs for those."
    )
    for name, series in found.items():
        yield TrackedRun(name, str(path), {}, series, name=name, sampled=True, notes=(note,))
