"""Training curves from files: the log of a run that still grows, and the curves of finished runs in a store or a long table.

A log is CSV, TSV or JSON lines with a column of steps and one of losses. Many runs come from a store, or from anything that an
importer knows.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .curves import Runs, TrainingCurve, mend
from .errors import DataError, InputError, RunError, near
from .importers import Reading, parse_mapping, recognise
from .notation import HYPERPARAMETERS, QUANTITIES, match_columns, quantity
from .store import Store, is_store, shown
from .trial import Status

__all__ = ["read_curve", "read_runs"]

_STEP = ("step", "steps", "iteration", "iter", "iterations", "global_step", "_step", "train/global_step", "train_step", "update")
_LOSS = ("train_loss", "train/loss", "training_loss", "loss/train")
_TOTAL = ("total_steps", "max_steps", "num_steps", "train_steps")
_RATE = ("train/learning_rate", "lr-AdamW", "lr-Adam")
_EMPTY = ("", "na", "n/a", "null", "none", "-")


def read_curve(path: str | Path, mapping: str | None = None, total: float | None = None) -> TrainingCurve:
    """The log of one run, mended (`curves.mend`). A last line that is still being written is left out.

    Args:
        path: a .csv, .tsv, .txt, .jsonl, .ndjson or .json file.
        mapping: names that are not known: `loss=my_loss,step=my_step,learning_rate=my_rate`.
        total: steps of the whole run; default a column such as `total_steps`.

    Raises:
        RunError: the file cannot be read, or holds no column of steps or losses, or no finite loss.
    """
    path = Path(path)
    columns = _columns(path)
    named = parse_mapping(mapping) if mapping else {}
    step = _find(columns, named.get("step"), _STEP, "step", path)
    loss = _find(columns, named.get("loss"), ("loss", *QUANTITIES["loss"].aliases, *_LOSS), "loss", path)
    rate = _maybe(columns, (named.get("learning_rate", ""), "learning_rate", *QUANTITIES["learning_rate"].aliases, *_RATE))
    steps, losses = (_numbers(columns[name], name, path) for name in (step, loss))
    # Trackers write a row per event: rows that hold no loss at all are not records of it.
    here = np.array([str(cell).strip().lower() not in _EMPTY if cell is not None else False for cell in columns[loss]])
    rates = None if rate is None else _numbers(columns[rate], rate, path)[here]
    if total is None:
        length = _maybe(columns, tuple(name for name in _TOTAL if name != step))
        found = _numbers(columns[length], length, path) if length else np.zeros(0)
        total = float(found[np.isfinite(found)][-1]) if np.isfinite(found).any() else math.nan
    if rates is not None and len(np.unique(rates[np.isfinite(rates)])) < 2:
        rates = None  # the peak rate on every line: a setting, not a schedule
    curve = mend(steps[here], losses[here], total=total, rates=rates, source=str(path))
    settings = _settings(columns)
    return TrainingCurve(curve.steps, curve.middle, curve.losses, curve.total, curve.notes, curve.lost, curve.rates, settings)


def read_runs(data: str | Path, mapping: str | None = None, where: str | None = None, hyper: Sequence[str] = ()) -> Runs:
    """The runs of DATA with their curves: a store, or what an importer finds: a tracker's folder, a long table with steps.

    A run without steps, or one that did not reach its end, has no curve.

    Raises:
        DataError, StoreError: DATA cannot be read.
    """
    if is_store(data):
        with Store(data, read_only=True) as store:
            runs = Runs.of(store.trials(), store.name)
    else:
        runs = _tracked(Path(data), mapping)
    if hyper:
        runs = Runs(runs.table.counting(hyper), runs.curves)
    if not where:
        return runs
    kept = runs.where(where)
    if not len(kept.table):
        raise DataError(f"no row meets --where {where!r}", shown(data), "Loosen the condition")
    return kept


def _tracked(path: Path, mapping: str | None) -> Runs:
    """The runs that an importer finds. Only a run that reached its end has a curve to learn from."""
    found = recognise(path).gather(path, Reading(parse_mapping(mapping) if mapping else {}))
    table = found.table
    if all(curve is None for curve in found.curves):
        return Runs(table, (None,) * len(table))
    stated = table.numbers("steps") if "steps" in table else np.full(len(table), math.nan)
    last = np.array([math.nan if curve is None else curve.steps[-1] for curve in found.curves])
    totals = np.where(np.isfinite(stated), stated, last)
    curves: list[TrainingCurve | None] = []
    for each, total, status in zip(found.curves, totals, table["status"], strict=True):
        curve = None
        if each is not None and status == Status.COMPLETE.name:
            with contextlib.suppress(RunError):
                curve = mend(each.steps, each.values, total=float(total), source=str(path))
        curves.append(curve)
    return Runs(table.with_column("steps", totals), tuple(curves))


def _columns(path: Path) -> dict[str, list[Any]]:
    """The cells of a log by column. A last line without its end is left out where it does not read."""
    if not path.is_file():
        raise RunError("there is no such file", str(path), "Give the log of the run: CSV or JSON lines with step and loss")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RunError("the log is not UTF-8 text", str(path), "Save it as CSV or JSON lines") from error
    lines = [line for line in text.splitlines() if line.strip()]
    open_end = not text.endswith("\n")
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson", ".json"):
        rows = _json_rows(text, lines, open_end, path)
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}
    if suffix not in (".csv", ".tsv", ".txt"):
        raise RunError(f"a log ending in {suffix or 'nothing'} is not known", str(path), "Give a .csv or .jsonl file")
    if len(lines) < 2:
        raise RunError("the log holds no record yet", str(path), "Wait for its first line")
    separator = "\t" if suffix == ".tsv" else max(",;\t", key=lines[0].count)
    cells = list(csv.reader(lines, delimiter=separator))
    header = [name.strip() for name in cells[0]]
    if open_end and len(cells[-1]) != len(header):
        cells.pop()
    for number, row in enumerate(cells[1:], start=2):
        if len(row) != len(header):
            what = f"{len(row)} cells where the header has {len(header)}"
            raise RunError(what, f"{path}: line {number}", "Give every line as many cells as the header")
    return {name: [row[place] for row in cells[1:]] for place, name in enumerate(header)}


def _json_rows(text: str, lines: list[str], open_end: bool, path: Path) -> list[dict[str, Any]]:
    rows: list[Any] = []
    if path.suffix.lower() == ".json" and text.lstrip().startswith("["):
        lines, open_end = [text], False
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
        except ValueError as error:
            if open_end and number == len(lines):
                break
            raise RunError(f"not valid JSON ({error})", f"{path}: line {number}", "Write one JSON object per line") from error
        rows += found if isinstance(found, list) else [found]
    if not rows:
        raise RunError("the log holds no record yet", str(path), "Wait for its first line")
    if not all(isinstance(row, dict) for row in rows):
        raise RunError("a line is not an object with names and values", str(path), 'Write for example {"step": 10, "loss": 3.2}')
    return rows


def _find(columns: Mapping[str, Any], asked: str | None, known: Sequence[str], what: str, path: Path) -> str:
    if asked is not None:
        if asked in columns:
            return asked
        close = near(asked, columns)
        hint = f"Did you mean {close!r}?" if close else f"It has: {', '.join(columns)}"
        raise RunError(f"there is no column {asked!r}", str(path), hint)
    found = _maybe(columns, known)
    if found is None:
        raise RunError(f"no column of {what}s", str(path), f"Name it: --map {what}=NAME. It has: {', '.join(columns)}")
    return found


def _maybe(columns: Mapping[str, Any], known: Sequence[str]) -> str | None:
    folded = {name.strip().lower(): name for name in reversed(list(columns))}
    return next((folded[name.lower()] for name in known if name.lower() in folded), None)


def _numbers(cells: Sequence[Any], name: str, path: Path) -> np.ndarray:
    """Cells as numbers, NaN where empty."""
    values: list[float] = []
    for row, cell in enumerate(cells, start=1):
        text = "" if cell is None else str(cell).strip()
        try:
            values.append(math.nan if text.lower() in _EMPTY else float(text))
        except ValueError as error:
            raise RunError(f"{text!r} is not a number", f"{path}: record {row}, column {name!r}", "Mend the value") from error
    return np.array(values)


def _settings(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Hyperparameters that are the same on every line."""
    found: dict[str, Any] = {}
    for name, column in match_columns(columns)[0].items():
        known = quantity(name)
        values = {str(cell) for cell in columns[column] if cell is not None and str(cell).strip()}
        if name not in HYPERPARAMETERS or len(values) != 1 or known is None:
            continue
        text = values.pop()
        if known.text:
            found[name] = text
            continue
        try:
            found[name] = float(text)
        except ValueError as error:
            raise InputError(f"{name} is {text!r}, not a number", "the log", "Mend the value") from error
    return found
