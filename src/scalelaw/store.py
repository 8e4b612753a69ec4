"""The store: every trial of a study in one SQLite file, and DATA and RUN of the command line.

Workers write result files into the spool beside the store (`spool.py`); one driver reads them into the store, in one transaction
each time, and then deletes them. Killed anywhere, the next driver reads the files again: a trial is keyed by the hash of its
spec, so nothing is lost and nothing is counted twice. A store at rest is one file. Readers never make a file and never keep
the driver waiting.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import spool
from .errors import DataError, RunError, StoreError, UnknownNameError, near
from .importers import importers, names_in, parse_mapping, recognise
from .notation import quantity
from .study import read_study
from .trial import Curve, Origin, Status, Trial, TrialSpec
from .trials import Trials

if TYPE_CHECKING:
    import sqlalchemy as sa

    from . import _store as database
else:

    class _Late:
        """A module imported when it is first used: a CSV file needs no database, and that import takes longer than a fit."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, key: str) -> Any:
            return getattr(importlib.import_module(self._name, __package__), key)

    sa, database = _Late("sqlalchemy"), _Late("._store")

__all__ = ["Ingested", "Store", "find_run", "find_runs", "is_store", "load"]

MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True)
class Ingested:
    """What came out of the spool: trials that were written to the store, and files that held no trial and were set aside."""

    trials: tuple[Trial, ...]
    broken: tuple[Path, ...] = ()


class Store:
    """A store of trials. A context manager; close it to leave a single file behind.

    Args:
        path: the file; made when it is absent, unless `read_only`.
        read_only: only look: no file is made or changed, and no writer waits.

    Raises:
        StoreError: not a store, a store of a newer scalelaw, a damaged one, or a place that cannot be read or written.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path, self.read_only = Path(path), read_only
        self._lock: database.DriverLock | None = None
        if self.path.is_dir():
            raise StoreError("this is a folder", str(path), "Give the path of a file, for example study.db")
        if read_only:
            if not self.path.exists():
                raise StoreError("there is no such store", str(path), "Run a study first: scalelaw run STUDY.toml")
            self._engine = database.connect_read_only(self.path)
            with database.explained(self.path), self._engine.begin() as connection:
                database.check(connection, self.path)
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the folder cannot be made ({error.strerror})", str(self.path.parent), "Choose another path with --storage"
            ) from error
        self._engine = database.connect_writer(self.path)
        try:
            database.prepare(self._engine, self.path)
        except BaseException:
            self._engine.dispose()
            raise

    @property
    def spool(self) -> Path:
        """The folder beside the store that workers write into."""
        return self.path.with_name(f"{self.path.name}.spool")

    def lock(self) -> None:
        """Become the one driver of this store until it is closed.

        Raises:
            StoreError: another process is; the message gives its id.
        """
        if self._lock is None:
            self._lock = database.DriverLock(self.path.with_name(f"{self.path.name}.lock"), self.path)

    def close(self) -> None:
        """Close the file, and give up being its driver."""
        if self.read_only:
            self._engine.dispose()
        else:
            if self._lock is not None:
                spool.sweep(self.spool)
            database.rest(self._engine)
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- writing ------------------------------------------------------------------------------------------------------

    def put(self, trials: Iterable[Trial], source: str | None = None) -> tuple[Trial, ...]:
        """Write trials in one transaction; a finished trial that is there already stays. Returns those written."""
        with database.explained(self.path), self._engine.begin() as connection:
            return tuple(trial for trial in trials if database.upsert(connection, trial, source))

    def put_imported(self, found: Iterable[tuple[Trial, tuple[Any, Any] | None, dict[str, Any]]]) -> tuple[str, ...]:
        """Write imported trials in one transaction, each with its curve (steps, losses) and its provenance.

        Returns the ids of those written; one that is there already, or whose run is, stays.
        """
        with database.explained(self.path), self._engine.begin() as connection:
            return tuple(trial.id for trial, curve, origin in found if database.arrive(connection, trial, curve, origin))

    def ingest(self, folder: Path | None = None) -> Ingested:
        """Read the result files of the spool into the store, then delete them. Reading one twice changes nothing.

        A file that holds no trial is renamed, to end in `.broken`, and its trial is trained again.
        """
        found: dict[Path, Trial] = {}
        broken: list[Path] = []
        for path in spool.scan(folder or self.spool):
            try:
                found[path] = spool.read(path)
            except (ValueError, KeyError, TypeError, AttributeError):
                broken.append(path)
            except OSError as error:
                raise StoreError(f"a result cannot be read ({error.strerror})", str(path), "Check the disk") from error
        written = self.put(found.values()) if found else ()
        with contextlib.suppress(OSError):  # what cannot be deleted is read again, which changes nothing
            for path in found:
                path.unlink(missing_ok=True)
            for path in broken:
                path.rename(path.with_name(f"{path.name}.broken"))
        return Ingested(written, tuple(broken))

    # ---- reading ------------------------------------------------------------------------------------------------------

    def _select(self, statement: Any) -> Sequence[Any]:
        with database.explained(self.path), self._engine.begin() as connection:
            return connection.execute(statement).all()

    def __len__(self) -> int:
        return int(self._select(sa.select(sa.func.count()).select_from(database.trials))[0][0])

    def statuses(self) -> dict[str, Status]:
        """How each trial ended, by id."""
        rows = self._select(sa.select(database.trials.c.id, database.trials.c.status))
        return {row[0]: Status[row[1]] for row in rows}

    def trials(self, *, curves: bool = True) -> list[Trial]:
        """Every trial, in the order of their ids."""
        rows = self._select(sa.select(database.trials).order_by(database.trials.c.id))
        paths = self._select(sa.select(database.curves).where(database.curves.c.metric == "loss")) if curves else ()
        found = {row._mapping["id"]: database.unpack_curve(row) for row in paths}
        return [database.unpack(row, found.get(row._mapping["id"])) for row in rows]

    def table(self) -> Trials:
        """Every trial as a table, without curves, in the order of their specs: scale, then hyperparameters, then seed."""
        trials = sorted(self.trials(curves=False), key=_order)
        return Trials.from_trials(trials, str(self.path))

    def curve(self, trial_id: str) -> Curve | None:
        """A trial's curve; None where there is none.

        Raises:
            UnknownNameError: there is no such trial.
        """
        rows = self._select(sa.select(database.curves).where(database.curves.c.id == trial_id))
        if not rows and trial_id not in self.statuses():
            raise UnknownNameError("trial", trial_id, list(self.statuses())[:5], str(self.path))
        return database.unpack_curve(rows[0]) if rows else None

    def provenance(self, trial_id: str | None = None) -> dict[str, dict[str, Any]]:
        """Where imported trials come from and how their numbers were made, by id: of one, or of all.

        `importer`, `run`, `place`; `loss` and `final`, the metric and the rule; `sampled`; `given`, `derived` and `missing` of
        N, D and C; `config`, what the tracker held.
        """
        with database.explained(self.path), self._engine.begin() as connection:
            if database.provenance.name not in sa.inspect(connection).get_table_names():
                return {}
            statement = sa.select(database.provenance.c.id, database.provenance.c.document)
            if trial_id is not None:
                statement = statement.where(database.provenance.c.id == trial_id)
            return {row[0]: json.loads(row[1]) for row in connection.execute(statement).all()}

    def export(self, path: str | Path) -> int:
        """Write the table to a .csv, .parquet or .jsonl file; returns the number of rows. Raises StoreError."""
        path, table = Path(path), self.table()
        frame = table.to_frame()
        writers = {".csv": frame.write_csv, ".parquet": frame.write_parquet, ".jsonl": frame.write_ndjson}
        if path.suffix.lower() not in writers:
            raise StoreError(f"cannot export to {path.suffix or 'a file without ending'}", str(path), f"Use {', '.join(writers)}")
        part = path.with_name(f".{path.name}.part")
        try:
            writers[path.suffix.lower()](part)
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise StoreError(f"the file cannot be written ({error.strerror})", str(path), "Choose another path") from error
        return len(table)


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
        path: where the trials are; it is only read.
        mapping: column names of the source by quantity, `{"loss": "final_loss"}`, or the text or file given with `--map`.
        where: only the rows that meet this condition, for example `width <= 512 and learning_rate == 3e-4`. It may name
            columns of the source that no quantity claims.
        outcome: another column that takes the place of the loss.
        hyper: columns to count as hyperparameters besides those of `notation`, although no quantity may claim them.

    Raises:
        DataError: there is nothing there, nothing recognises it, or its contents are wrong; the message says where.
        StoreError: it is a store that cannot be read.
    """
    hyper = [known.column if (known := quantity(name)) else name for name in hyper]
    path, table = _read(path, mapping, outcome, {*hyper, *(names_in(where) if where else ())})
    table = table.counting(hyper)
    if not where:
        return table
    rows = table.where(where)
    if not len(rows):
        raise DataError(f"no row meets --where {where!r}", str(path), "Loosen the condition")
    return rows


def _read(
    path: str | Path, mapping: Mapping[str, str] | str | None, outcome: str | None, keep: Collection[str]
) -> tuple[Path, Trials]:
    """A store, or a file or folder that an importer recognises, with the columns of `keep` although no quantity claims them."""
    path = Path(str(path).removeprefix("sqlite:///"))
    named = parse_mapping(mapping) if mapping else {}
    if outcome:
        named = {**named, "loss": outcome}
    if not is_store(path):
        return path, recognise(path).read(path, named, keep)
    with Store(path, read_only=True) as store:
        table = store.table()
    for name, column in named.items():
        table = table.with_column(name, table.numbers(_resolve(column, table)) if name == "loss" else table[column])
    return path, table


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
        return _read(path, mapping, outcome, data.hyper if data is not None else ())[1]
    if data is not None and any(sign in str(run) for sign in "=<>"):
        try:
            met = data.where(str(run))
        except DataError as error:
            raise RunError(error.what, str(run), error.mend) from error
        ended = np.isfinite(met.numbers("loss")) | (met["status"] == Status.DIVERGED.name)
        if not ended.any():
            raise RunError("no run in DATA that finished or diverged meets this", str(run), "Loosen the condition")
        return met.where(ended)
    known: list[str] = [str(name) for name in data["id"]] if data is not None and "id" in data else []
    places = [_trial(name.strip(), known) for name in str(run).split(",")]
    assert data is not None
    return data.where(np.array(places))


def _trial(run: str, known: Sequence[str]) -> int:
    """The place of the id that is `run` or begins so."""
    exact = [place for place, name in enumerate(known) if name == run]
    found = exact or [place for place, name in enumerate(known) if name.startswith(run)]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(known[place] for place in found[:5])
        raise RunError(f"{len(found)} trials have ids that begin so: {some}", run, "Give more of the id")
    close = near(run, known)
    hint = f"Did you mean {close!r}? " if close else ""
    raise RunError("there is no such file, and no trial with this id", run, f"{hint}Give a file of one row, or a trial's id")


def template(path: str | Path) -> TrialSpec | None:
    """A spec whose recipe further runs can take over: of a store's costliest finished trial, or of a study folder's first.

    None for data that do not say how they were trained.
    """
    path = Path(path)
    if path.is_dir() and (path / "study.toml").is_file():
        return read_study(path / "study.toml").specs[0]
    if not (path.is_file() and is_store(path)):
        return None
    with Store(path, read_only=True) as store:
        ended = [
            trial for trial in store.trials(curves=False) if trial.status is Status.COMPLETE and trial.origin is Origin.TRAINED
        ]
    return max(ended, key=lambda trial: trial.compute or 0.0).spec if ended else None


def is_store(path: Path) -> bool:
    """Whether a file is a store, or an SQLite file that no importer knows: a damaged store, say."""
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


def _order(trial: Trial) -> tuple[object, ...]:
    """By task and model, then numerically by scale, hyperparameters and seed; words come after numbers."""
    spec = trial.spec
    values = [
        (name, isinstance(value, str), 0.0 if isinstance(value, str) else float(value), str(value))
        for part in (spec.scale, spec.hyperparameters)
        for name, value in part.items()
    ]
    return (spec.task, spec.model, values, spec.seed, trial.id)
