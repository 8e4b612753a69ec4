"""From the runs of any tracker to a table of trials with curves: what each was told, what its loss ended at, how it ended."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..notation import HYPERPARAMETERS, QUANTITIES, SCALES, match_columns, quantity
from ..trial import Status
from ..trials import Trials
from ._base import Importer
from ._columns import Source, number_in, tabulate
from ._loss import choose, loss_rank
from ._needs import account, told
from ._reading import Found, Reading, Series, TrackedRun

__all__ = ["Tracker", "flat", "gather"]

# A run that logged up to here is over, although its last step was not logged.
_END = 0.02
_SETTINGS = frozenset((*SCALES, *HYPERPARAMETERS))
_ACCUMULATION = ("gradient_accumulation_steps", "grad_accumulation_steps", "grad_accum_steps", "accumulate_grad_batches")
# Of a setting so many characters are kept, and so many settings of a run.
_LONGEST, _MOST = 500, 2_000


class Tracker(Importer):
    """An importer whose source holds whole runs. A member says how to find them; the rest is the same for all."""

    @abstractmethod
    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """The runs of `path`, one by one; parts of one run in the order in which they were written.

        Raises:
            DataError: contents that are wrong.
        """

    def read(self, path: Path, mapping: Mapping[str, str] | None = None, keep: Collection[str] = ()) -> Trials:
        """One row per run."""
        return self.gather(path, Reading(mapping or {}, keep)).table

    def gather(self, path: Path, reading: Reading) -> Found:
        """The runs with their curves."""
        return gather(self.name, self.tracked(path, reading), path, reading)


@dataclass(eq=False)
class _Kept:
    """What is kept of a run: curves that may be the loss, and one value of every other metric."""

    run: TrackedRun
    curves: dict[str, Series]
    values: dict[str, Any]


def gather(importer: str, runs: Iterable[TrackedRun], path: Path, reading: Reading) -> Found:
    """The table, curves and provenance of runs.

    - Runs of one id are one run; where its steps go back it was restarted, and what was logged again counts once, the last.
    - The loss is the metric that `reading.mapping` names; else the held-out loss that most runs have, else the training loss.
      The curve is the training loss where there is one, else the loss.
    - A run of which either ends non-finite is DIVERGED, whatever its tracker says. One of which the tracker says nothing is
      PRUNED where it ends before 98 % of its steps, else COMPLETE.
    - Of another metric the final value is kept by the same rule; of one that is a size or a setting the largest, such as the
      peak of a schedule.

    Raises:
        DataError: no run, no loss, or a mapped name that does not exist.
    """
    kept = sorted(_together(runs, reading), key=lambda each: each.run.id)
    if not kept and reading.skipped:
        raise reading.skipped[0]
    if not kept:
        raise DataError("there is no run in it", str(path), "Give a file or folder that holds runs")
    settings = list(dict.fromkeys(name for each in kept for name in each.run.config))
    chosen, others = choose([{*each.curves, *each.values} for each in kept], reading.mapping.get("loss"), settings, str(path))
    training = next((name for name in (chosen, *others) if (loss_rank(name) or (0,))[0]), chosen)
    rows, curves, restarts = [], [], []
    for each in kept:
        row, curve, back = _row(each, chosen, training, reading)
        rows.append(row)
        curves.append(curve)
        restarts.append(back)
    mapping, notes = _mapping(rows, settings, reading.mapping)
    notes = [
        _about_loss(chosen, others, reading),
        *notes,
        *_clean(rows, mapping, reading.mapping),
        *_restarted(restarts),
        *_skipped(reading),
    ]
    for row, each, curve in zip(rows, kept, curves, strict=True):
        row["status"] = _status(row, each.run, curve, mapping).name
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    table = tabulate(Source(columns, str(path)), mapping, reading.keep)
    last = [float(curve.steps[-1]) if curve is not None and len(curve.steps) else None for curve in curves]
    table, accounts = account(table, last, [_accumulation(each.run.config, mapping) for each in kept])
    notes += dict.fromkeys(note for each in kept for note in each.run.notes)
    ignored = tuple(name for name in table.ignored if name not in (chosen, training))
    table = replace(table, notes=(*notes, told(accounts), *table.notes), ignored=ignored)
    provenance = tuple(
        {
            **_origin(importer, each.run, curve, back),
            "loss": chosen,
            "curve": training if training in each.curves else chosen if curve is not None else None,
            "final": str(reading.final) if chosen in each.curves and chosen not in each.run.summary else "as given",
            "given": list(done.given),
            "derived": dict(done.derived),
            "missing": list(done.missing),
        }
        for each, curve, back, done in zip(kept, curves, restarts, accounts, strict=True)
    )
    return Found(table, tuple(curves), provenance)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """An object in an object as `outer.inner`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and len(prefix) < _LONGEST:
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


# ---- one run ------------------------------------------------------------------------------------------------------------


def _together(runs: Iterable[TrackedRun], reading: Reading) -> list[_Kept]:
    """The runs by id, the parts of each in one; only what is needed of them stays in memory."""
    found: dict[str, _Kept] = {}
    for part in runs:
        kept = _condensed(part, reading)
        before = found.get(part.id)
        if before is not None:
            curves = {name: before.curves[name].then(s) if name in before.curves else s for name, s in kept.curves.items()}
            values = {**before.values, **kept.values}
            for name in before.values.keys() & kept.values.keys():
                if _is_setting(name):
                    values[name] = max(before.values[name], kept.values[name])
            run = replace(
                kept.run,
                config={**before.run.config, **part.config},
                notes=tuple(dict.fromkeys((*before.run.notes, *part.notes))),
                sampled=before.run.sampled or part.sampled,
                seconds=_sum(before.run.seconds, part.seconds),
            )
            kept = _Kept(run, {**before.curves, **curves}, values)
        found[part.id] = kept
    return list(found.values())


def _condensed(run: TrackedRun, reading: Reading) -> _Kept:
    curves, values = {}, dict(run.summary)
    for name, series in run.series.items():
        if name == reading.mapping.get("loss") or loss_rank(name) is not None:
            curves[name] = series
            continue
        merged, _ = series.merged()
        finite = merged.values[np.isfinite(merged.values)]
        if _is_setting(name):
            values.setdefault(name, float(finite.max()) if len(finite) else None)
        else:
            values.setdefault(name, reading.final.of(merged.steps, merged.values))
    return _Kept(replace(run, series={}), curves, values)


def _is_setting(name: str) -> bool:
    known = quantity(name) or quantity(_tail(name))
    return known is not None and known.column in _SETTINGS


def _sum(first: float | None, second: float | None) -> float | None:
    return second if first is None else first if second is None else first + second


def _row(kept: _Kept, chosen: str, training: str, reading: Reading) -> tuple[dict[str, Any], Series | None, int]:
    """(cells, the curve, how often it was restarted)."""
    run = kept.run
    merged = {name: series.merged() for name, series in kept.curves.items()}
    finals = {name: reading.final.of(series.steps, series.values) for name, (series, _) in merged.items()}
    if run.sampled:  # the last point of a sample is not where the run ended
        finals = {}
    loss = run.summary.get(chosen, finals.get(chosen, kept.values.get(chosen, run.config.get(chosen))))
    curve, back = merged.get(training) or merged.get(chosen) or (None, 0)
    if curve is not None and len(curve.values) and not math.isfinite(curve.values[-1]):
        loss = math.nan
    row = {**finals, **kept.values, **run.config}
    row.update(id=run.id, loss=loss, seconds=run.seconds, **({} if run.group is None else {"task": run.group}))
    return {name: row[name] for name in sorted(row)}, curve if curve is not None and len(curve.steps) else None, back


def _status(row: Mapping[str, Any], run: TrackedRun, curve: Series | None, mapping: Mapping[str, str]) -> Status:
    loss = row["loss"]
    if isinstance(loss, float) and not math.isfinite(loss):
        return Status.DIVERGED
    if run.status is not None:
        return run.status
    total = number_in(row.get(mapping.get("steps", "steps")))
    if total is not None and total > 0 and curve is not None and curve.steps[-1] + 1 < (1 - _END) * total:
        return Status.PRUNED
    return Status.COMPLETE


def _origin(importer: str, run: TrackedRun, curve: Series | None, back: int) -> dict[str, Any]:
    """Where a run comes from, for the store."""
    lost: int | None = None
    if curve is not None and not np.isfinite(curve.values[-1]):
        good = np.flatnonzero(np.isfinite(curve.values))
        lost = int(curve.steps[good[-1] + 1 if len(good) else 0])
    config = {name: _short(value) for name, value in list(run.config.items())[:_MOST]}
    return {
        "importer": importer,
        "run": run.id,
        "name": run.name,
        "place": run.place,
        "sampled": run.sampled,
        "records": 0 if curve is None else len(curve.steps),
        "restarts": back,
        "diverged_step": lost,
        "last_loss": None if curve is None else next((float(v) for v in curve.values[::-1] if math.isfinite(v)), None),
        "error": run.error,
        "config": config,
    }


def _short(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)[:_LONGEST]


def _accumulation(config: Mapping[str, Any], mapping: Mapping[str, str]) -> float:
    """Micro-batches in a batch, where the batch size is that of a micro-batch."""
    batch = mapping.get("batch_size", "batch_size")
    if "global" in batch.lower() or "train_batch" in batch.lower():
        return 1.0
    for name, value in config.items():
        if _tail(name) in _ACCUMULATION:
            return number_in(value) or 1.0
    return 1.0


# ---- columns ------------------------------------------------------------------------------------------------------------


def _mapping(
    rows: Sequence[Mapping[str, Any]], settings: Sequence[str], given: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """(column by quantity, what to say of it). A setting in an object, `optim.lr`, counts as `lr` where nothing else does."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    direct, _ = match_columns(columns)
    # What a run was told goes before what it logged: a rate that was logged is a schedule.
    logged = {name for name, column in direct.items() if name in _SETTINGS and column not in settings}
    mapping = {name: column for name, column in direct.items() if name not in ("loss", "status", *logged)}
    mapping.update({name: _meant(column, columns) for name, column in given.items() if name not in ("loss", "step")})
    found: dict[str, list[str]] = {}
    metrics = [direct[name] for name in direct if name in logged] + [name for name in columns if name not in settings]
    for column in dict.fromkeys((*settings, *metrics)):
        known = quantity(_tail(column))
        if known is None or known.column in mapping or known.column not in {*_SETTINGS, "seed"}:
            continue
        if known.text or any(number_in(row.get(column)) is not None for row in rows):
            found.setdefault(known.column, []).append(column)
    notes = []
    for name, places in found.items():
        mapping[name] = places[0]
        if quantity(places[0]) is not None and len(places) == 1:
            continue  # it goes by its own name
        rest = f", not {', '.join(places[1:4])}" if len(places) > 1 else ""
        notes.append(f"{name} is {places[0]}{rest}")
    return mapping, [f"{'; '.join(notes)} (--map takes another)."] if notes else []


def _tail(column: str) -> str:
    return re.split(r"[./]", column)[-1]


def _meant(column: str, columns: Sequence[str]) -> str:
    """The column that a mapping means: by its name, else by the quantity it is a name of, else by that of its last word."""
    known = quantity(column)
    if column in columns or known is None:
        return column
    return next((each for each in columns if known in (quantity(each), quantity(_tail(each)))), column)


def _clean(rows: Sequence[dict[str, Any]], mapping: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Empty the cells of settings that were left to the trainer, such as `auto` or -1; a mapped column is taken as it stands."""
    notes = []
    for name, column in mapping.items():
        if name not in _SETTINGS or name in given or QUANTITIES[name].text:
            continue
        odd: list[Any] = []
        for row in rows:
            cell = row.get(column)
            value = number_in(cell)
            if cell is not None and (value is None or not math.isfinite(value) or value < 0):
                odd.append(cell)
                row[column] = None
        if any(str(cell).strip().lower() not in ("none", "null", "", "nan") for cell in odd):
            runs = f"{len(odd)} run{'s' if len(odd) > 1 else ''}"
            notes.append(f"{column} is {str(odd[0])[:30]!r} in {runs}: not given.")
    return notes


def _about_loss(chosen: str, others: Sequence[str], reading: Reading) -> str:
    rest = f"; --map loss=NAME takes another: {', '.join(others[:5])}" if others else ""
    return f"The loss is {chosen}, {reading.final} where there is a curve{rest}."


def _skipped(reading: Reading) -> list[str]:
    if not reading.skipped:
        return []
    first, count = reading.skipped[0], len(reading.skipped)
    files = "1 file is" if count == 1 else f"{count} files are"
    return [f"{files} left out{', the first' if count > 1 else ''}: {first.where}: {first.what}."]


def _restarted(restarts: Sequence[int]) -> list[str]:
    count = sum(back > 0 for back in restarts)
    if not count:
        return []
    runs = f"{count} run{'s were' if count > 1 else ' was'}"
    return [f"{runs} restarted: a step that was logged again counts once, as it was logged last."]
