"""The store, and DATA and RUN of the command line: trials from a store, or from anybody's file."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ._store.address import Server, parse, shown
from ._store.held import is_held
from ._store.ids import place_of
from ._store.store import Ingested, Store
from .condition import is_condition, select
from .errors import DataError, RunError, StoreError
from .importers import Reading, importers, names_in, parse_mapping, recognise
from .importers.exported import is_export
from .notation import quantity
from .study import read_study
from .trial import Curve, Origin, Status, TrialSpec
from .trials import Trials

__all__ = ["Ingested", "Listing", "Store", "find_run", "find_runs", "is_store", "listing", "load", "several_tasks", "shown"]

MAGIC = b"SQLite format 3\0"
UNFINISHED = (Status.FAILED.name, Status.LOST.name)


def load(
    path: str | Path,
    mapping: Mapping[str, str] | str | None = None,
    where: str | None = None,
    outcome: str | None = None,
    *,
    hyper: Sequence[str] = (),
) -> Trials:
    """DATA: a store, or a file or folder that an importer recognises, as a table.

    Args:
        path: where the trials are, a path or an address; it is only read.
        mapping: column names of the source by quantity, `{"loss": "final_loss"}`, or the text or file given with `--map`.
        where: only the rows that meet this condition, for example `width <= 512 and learning_rate == 3e-4`. It may name
            columns of the source that no quantity claims.
        outcome: another column that takes the place of the loss.
        hyper: columns to count as hyperparameters besides those of `notation`, although no quantity may claim them.

    Raises:
        DataError: there is nothing there, nothing recognises it, or its contents are wrong; the message says where.
        StoreError: it is a store that cannot be read.
    """
    return _load(path, mapping, where, outcome, hyper)[0]


def _load(
    path: str | Path, mapping: Mapping[str, str] | str | None, where: str | None, outcome: str | None, hyper: Sequence[str]
) -> tuple[Trials, np.ndarray]:
    """The table, and which rows of the source its rows are."""
    hyper = [known.column if (known := quantity(name)) else name for name in hyper]
    table = _read(path, mapping, outcome, {*hyper, *(names_in(where) if where else ())}).counting(hyper)
    places = np.flatnonzero(select(where, dict(table.columns), len(table)) if where else np.ones(len(table), bool))
    if where and not len(places):
        raise DataError(f"no row meets --where {where!r}", shown(path), "Loosen the condition")
    rows = table.where(places) if where else table
    kept = is_store(path) or (isinstance(place := parse(path), Path) and is_export(place))
    return (replace(rows, notes=(*rows.notes, *several_tasks(rows))) if kept else rows), places


def several_tasks(table: Trials) -> tuple[str, ...]:
    """A sentence where the trials are of several tasks: a law of them all is a law of none."""
    tasks = Counter(table["task"].tolist()) if "task" in table else Counter[str]()
    if len(tasks) < 2:
        return ()
    some = ", ".join(f"{name} ({count} trials)" for name, count in tasks.most_common(5))
    more = f" and {len(tasks) - 5} more" if len(tasks) > 5 else ""
    first = tasks.most_common(1)[0][0]
    return (f"{table.source} holds {len(tasks)} tasks: {some}{more}. Choose one with --where \"task == '{first}'\".",)


def _read(path: str | Path, mapping: Mapping[str, str] | str | None, outcome: str | None, keep: Collection[str]) -> Trials:
    """A store, or a file or folder that an importer recognises, with the columns of `keep` although no quantity claims them."""
    named = parse_mapping(mapping) if mapping else {}
    if outcome:
        named = {**named, "loss": outcome}
    place = parse(path)
    if not is_store(path) and isinstance(place, Path):
        return recognise(place).read(place, named, keep)
    with Store(path, read_only=True) as store:
        table = store.table()
    for name, column in named.items():
        table = table.with_column(name, table.numbers(_resolve(column, table)) if name == "loss" else table[column])
    return table


@dataclass(frozen=True, eq=False)
class Listing:
    """Trials as a list.

    Args:
        trials: the first of them as a table.
        total: how many there are.
        varying: settings that differ among all.
        statuses: how many ended how.
        curves: of the first, as they are stored; all None where none are asked for.
        errors: why the first of them failed or were lost; None for the others, and where it is not known.
    """

    trials: Trials
    total: int
    varying: tuple[str, ...]
    statuses: Mapping[str, int]
    curves: tuple[Curve | None, ...]
    errors: tuple[str | None, ...]


def listing(
    path: str | Path,
    mapping: Mapping[str, str] | str | None = None,
    where: str | None = None,
    outcome: str | None = None,
    *,
    limit: int | None = None,
    curves: bool = False,
) -> Listing:
    """List the trials of DATA: see `load`.

    Args:
        limit: the first so many; None takes all.
        curves: also what is known of how the loss fell.

    Raises:
        DataError, StoreError: as `load`.
    """
    table, places = _load(path, mapping, where, outcome, ())
    first = table.where(np.arange(len(table))[:limit])
    statuses = Counter(table["status"].tolist()) if len(table) else Counter[str]()
    named = ("task", "model", "recipe", "init_from", *table.scales, *table.hyperparameters, "seed")
    drawn: tuple[Curve | None, ...] = (None,) * len(first)
    errors: tuple[str | None, ...] = (None,) * len(first)
    failed = np.isin(first["status"], UNFINISHED) if len(first) and "status" in first else np.zeros(len(first), bool)
    if is_store(path) and (curves or failed.any()):
        drawn, errors = _kept(path, first, places[:limit], np.ones(len(first), bool) if curves else failed, curves)
    elif curves:
        drawn = _curves(path, mapping, first)
    return Listing(first, len(table), table.varying(named), dict(statuses.most_common()), drawn, errors)


def _kept(
    path: str | Path, table: Trials, places: np.ndarray, wanted: np.ndarray, curves: bool
) -> tuple[tuple[Curve | None, ...], tuple[str | None, ...]]:
    """The curves and the errors of those rows of a store's table that are wanted, by their places in it."""
    with Store(path, read_only=True) as store:
        whole, ids = store.listed()
        if len(table) and not (whole["id"][places] == table["id"]).all():
            raise StoreError("the store has changed while it was read", store.name, "Run the command again")
        asked = [ids[place] for place in places]
        known = {trial.id: trial for trial in store.trials([asked[row] for row in np.flatnonzero(wanted)], curves=curves)}
    found = [known.get(key) for key in asked]
    return tuple(each and each.curve for each in found), tuple(each and each.error for each in found)


def _curves(path: str | Path, mapping: Mapping[str, str] | str | None, table: Trials) -> tuple[Curve | None, ...]:
    """The curves of the rows of a table that no store holds, by their ids."""
    found = recognise(Path(path)).gather(Path(path), Reading(parse_mapping(mapping) if mapping else {}))
    names = found.table["id"].tolist() if "id" in found.table else []
    series = dict(zip(names, found.curves, strict=True)) if names else {}
    there = [series.get(name) for name in (table["id"] if "id" in table else [None] * len(table))]
    return tuple(None if each is None else Curve(each.steps.astype(int).tolist(), each.values.tolist()) for each in there)


def find_run(
    run: str | Path, data: Trials | None = None, mapping: Mapping[str, str] | str | None = None, outcome: str | None = None
) -> Trials:
    """RUN: one run as a table of one row, see `find_runs`.

    Raises:
        RunError: as `find_runs`, and where that finds several.
    """
    table = find_runs(run, data, mapping, outcome)
    if len(table) != 1:
        what = f"holds {len(table)} rows where one run belongs"
        raise RunError(what, str(run), "Keep the row of the run to be judged")
    return table


def find_runs(
    run: str | Path, data: Trials | None = None, mapping: Mapping[str, str] | str | None = None, outcome: str | None = None
) -> Trials:
    """RUN as a table: a file, or trials in `data` by their ids (or how these begin, with commas between) or by a condition
    that they meet, such as `width == 1024`; of the latter those that finished or diverged.

    Raises:
        RunError: no such file or trial, an id that fits several, or a condition that no run meets or that cannot be read.
        DataError: the file's contents are wrong.
    """
    path = Path(run)
    if path.exists():
        return _read(path, mapping, outcome, data.hyper if data is not None else ())
    if data is not None and is_condition(str(run)):
        try:
            met = data.where(str(run))
        except DataError as error:
            raise RunError(error.what, str(run), error.mend) from error
        ended = np.isfinite(met.numbers("loss")) | (met["status"] == Status.DIVERGED.name)
        if not ended.any():
            raise RunError("no run in DATA that finished or diverged meets this", str(run), "Loosen the condition")
        return met.where(ended)
    known: list[str] = [str(name) for name in data["id"]] if data is not None and "id" in data else []
    places = [place_of(name.strip(), known, file=True) for name in str(run).split(",")]
    assert data is not None
    return data.where(np.array(places))


def template(path: str | Path) -> TrialSpec | None:
    """A spec whose recipe further runs can take over: of a store's costliest finished trial, or of a study folder's first.

    None for data that do not say how they were trained.
    """
    place = parse(path)
    if isinstance(place, Path) and place.is_dir() and (place / "study.toml").is_file():
        return read_study(place / "study.toml").specs[0]
    if not is_store(path):
        return None
    with Store(path, read_only=True) as store:
        ended = [
            trial for trial in store.trials(curves=False) if trial.status is Status.COMPLETE and trial.origin is Origin.TRAINED
        ]
    return max(ended, key=lambda trial: trial.compute or 0.0).spec if ended else None


def is_store(address: str | Path) -> bool:
    """Whether it is a store: on a server, a file of ours, or an SQLite file that no importer knows: a damaged store, say."""
    path = parse(address)
    if isinstance(path, Server) or is_held(path):
        return True
    with contextlib.suppress(OSError), path.open("rb") as stream:
        head = stream.read(len(MAGIC))
        if head == MAGIC:
            return not any(member.recognises(path) for member in importers.values())
        return not head and path.suffix in (".db", ".sqlite")
    return False


def _resolve(name: str, table: Trials) -> str:
    """A column of the table by its own name or an alias."""
    known = quantity(name)
    return known.column if name not in table and known is not None and known.column in table else name
