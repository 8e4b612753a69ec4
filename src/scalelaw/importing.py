"""Other people's runs into a store: trials with their curves, and where each number comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import DataError
from .importers import DEFAULT, FinalRule, Found, Reading, parse_final, parse_mapping, recognise
from .importers.exported import is_export
from .notation import HYPERPARAMETERS, SCALES
from .store import Store, is_store, shown
from .trial import Origin, Status, Trial, TrialSpec, Value

__all__ = ["Imported", "import_into"]

_COUNTED = ("parameters", "tokens", "compute")


@dataclass(frozen=True)
class Imported:
    """What an import brought.

    Args:
        rows: runs read.
        added: runs that were stored; `known` were there already.
        curves: runs among those read that have a curve; `sampled` of them only a sample of what was logged.
        ignored: columns nobody claimed.
        notes: what the reader should know, a sentence each.
        needs: of N, D and C in how many runs each is given, derived or missing.
    """

    rows: int
    added: int
    known: int
    curves: int = 0
    sampled: int = 0
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    needs: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])


def import_into(
    paths: Sequence[str | Path],
    store: str | Path,
    mapping: Mapping[str, str] | str | None = None,
    *,
    final: FinalRule | str = DEFAULT,
    pattern: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Store the runs of files, folders or addresses as trials whose origin is IMPORTED. Doing it twice adds nothing.

    What `scalelaw export` wrote of a store comes back as it was, and its trials keep their origin: with curves, provenance, tags,
    and what is left out. `mapping`, `final` and `pattern` say nothing there.

    A run without a task belongs to the task named after its source. Rows that ask for the same run, which ids, seeds or recipes
    do not tell apart, are taken as repeats of it. A run that had not ended when it was imported is replaced when it has.

    Args:
        paths: what an importer recognises.
        store: the store; made where it is absent.
        mapping: column or metric by quantity, or the text or file given with `--map`.
        final: the rule for the final loss of a curve, see `FinalRule`.
        pattern: a regular expression with named groups for the lines of plain logs.
        on_progress: called with (runs read, runs in all) for each source.

    Raises:
        DataError: a source that cannot be read; nothing has been stored then.
        StoreError: the store cannot be used.
    """
    rule = parse_final(final) if isinstance(final, str) else final
    reading = Reading(parse_mapping(mapping) if mapping else {}, (), rule, pattern, on_progress)
    places = list(map(_source, paths))
    exports = [path for path in places if is_export(path)]
    found = [(path, recognise(path).gather(path, reading)) for path in places if path not in exports]
    known: list[tuple[str, Mapping[str, Any]]] = []
    added = 0
    with Store(store) as opened:
        there, new = opened.restore(*exports) if exports else (0, 0)  # what may yet turn out to be wrong comes first
        for path, each in found:
            trials = list(_trials(each, path.stem))
            written = set(opened.put_imported(trials))
            added += len(written)
            known += [(trial.id, origin) for trial, _, origin in trials if trial.id not in written]
        notes = _otherwise(opened, known)
    rows = there + sum(len(each.table) for _, each in found)
    return _told([each for _, each in found], rows, new + added, notes)


def _source(given: str | Path) -> Path:
    if is_store(given):
        mend = "Give runs of another tool, or what `scalelaw export STORE -o all.parquet` writes"
        raise DataError("this is a store, or an SQLite file that no importer knows", shown(given), mend)
    return Path(given)


def _told(found: Sequence[Found], rows: int, added: int, notes: Sequence[str]) -> Imported:
    """The account of an import."""
    tables = [each.table for each in found]
    origins = [origin for each in found for origin in each.provenance]
    return Imported(
        rows=rows,
        added=added,
        known=rows - added,
        curves=sum(curve is not None for each in found for curve in each.curves),
        sampled=sum(bool(origin["sampled"]) for origin in origins),
        ignored=tuple(dict.fromkeys(name for table in tables for name in table.ignored)),
        notes=(*(note for table in tables for note in table.notes), *notes),
        needs={
            name: {kind: sum(name in origin[kind] for origin in origins) for kind in ("given", "derived", "missing")}
            for name in _COUNTED
        },
    )


def _otherwise(store: Store, known: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    """A sentence where runs that were there already had been read by another rule."""
    if not known:
        return ()
    there = store.provenance()
    moved = sum(key not in there for key, origin in known if origin.get("run") is not None)
    rules = Counter(
        (str(there[key].get("loss")), str(there[key].get("final")))
        for key, origin in known
        if key in there and (there[key].get("loss"), there[key].get("final")) != (origin.get("loss"), origin.get("final"))
    )
    told = [
        f"{_runs(count)} there already with {loss}, {final}: to take another loss or rule, import into a new store."
        for (loss, final), count in rules.items()
    ]
    if moved:
        told.append(f"{_runs(moved)} there already, read with other settings: to take these, import into a new store.")
    return tuple(told)


def _runs(count: int) -> str:
    return f"{count} run is" if count == 1 else f"{count} runs are"


def _trials(found: Found, task: str) -> Iterator[tuple[Trial, tuple[Any, Any] | None, dict[str, Any]]]:
    seen: dict[str, int] = {}
    for row, curve, origin in zip(found.table.rows(), found.curves, found.provenance, strict=True):
        derived = origin["derived"]
        asked = {name: value for name, value in row.items() if name not in derived}
        spec = _spec(asked, task)
        repeat = seen[spec.id] = seen.get(spec.id, -1) + 1
        if repeat and row.get("seed") is None:
            spec = _spec({**asked, "seed": repeat}, task)
        elif repeat:
            spec = _spec(asked, task, repeat)
        made = {name: row[name] for name in derived}
        status, last = Status[row["status"]], row.get("last_loss")
        trial = Trial(
            spec,
            status,
            loss=row["loss"],
            parameters=round(made["parameters"]) if "parameters" in made else None,
            tokens=made.get("tokens"),
            compute=made.get("compute"),
            compute_rule=derived.get("compute"),
            initial_loss=row.get("initial_loss"),
            last_loss=last if last is not None or status is Status.COMPLETE else origin.get("last_loss"),
            diverged_step=origin.get("diverged_step") if status is Status.DIVERGED else None,
            at_chance=bool(row.get("at_chance") or False),
            seconds=row.get("seconds"),
            metrics={name: row[name] for name in ("accuracy", "loss_se") if row.get(name) is not None},
            origin=Origin.IMPORTED,
            error=origin.get("error") if status is not Status.COMPLETE else None,
        )
        yield trial, None if curve is None else (curve.steps, curve.values), dict(origin)


def _spec(row: Mapping[str, Any], task: str, repeat: int = 0) -> TrialSpec:
    def part(names: Sequence[str]) -> dict[str, Value]:
        return {name: row[name] for name in names if row.get(name) not in (None, "")}

    options = part(("recipe", "id"))
    if repeat:
        options["repeat"] = repeat
    seed = int(row.get("seed") or 0)
    return TrialSpec(row.get("task") or task, part(SCALES), part(HYPERPARAMETERS), seed, row.get("model") or "imported", options)
