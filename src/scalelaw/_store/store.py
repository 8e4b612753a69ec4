"""The store: every trial of a study in one file, or in a database on a server.

Workers write result files into the spool beside the store (`spool.py`); one driver reads them into the store, in one transaction
each time, and then deletes them. Killed anywhere, the next driver reads the files again: a trial is keyed by the hash of its
spec, so nothing is lost and nothing is counted twice. A store at rest is one file. Readers never make a file and never keep
the driver waiting.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .. import spool
from ..condition import is_condition, select
from ..errors import StoreError, UnknownNameError
from ..trial import Curve, Status, Trial, TrialSpec
from ..trials import FILES, Trials
from .address import Server, storage
from .ids import place_of
from .mounts import MOUNTS

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ..importers import exported
    from . import database, notes, packed, postgres, rows, sqlite, waiting, whole
else:

    class _Late:
        """A module imported when it is first used: a CSV file needs no database, and that import takes longer than a fit."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, key: str) -> Any:
            return getattr(importlib.import_module(self._name, __package__), key)

    _LATE = ("notes", "packed", "postgres", "rows", "sqlite", "waiting", "whole")
    notes, packed, postgres, rows, sqlite, waiting, whole = (_Late(f".{name}") for name in _LATE)
    exported = _Late("..importers.exported")

__all__ = ["Ingested", "Store"]

AT_ONCE = 1_000
LEASE = 86_400.0


@dataclass(frozen=True)
class Ingested:
    """What came out of the spool: trials that were written to the store, and files that held no trial and were set aside."""

    trials: tuple[Trial, ...]
    broken: tuple[Path, ...] = ()


class Store:
    """A store of trials. A context manager; close it to leave a single file behind.

    Args:
        address: a file, `study.db` or `sqlite:///study.db`, or a database on a server, `postgresql://user@host/database`, where
            `?schema=NAME` is one store of several; made when it is absent, unless `read_only`.
        read_only: only look: no file is made or changed, and no writer waits.
        spool: the folder that workers write into; default beside the file, or `DATABASE.spool` in the working folder.
        mounts: the table of what is mounted, by which a network file system is known.

    A store of an older scalelaw is brought up to date when it is opened to be written, after a copy is made beside it.

    Raises:
        StoreError: not a store, a store of a newer scalelaw, a damaged one, or a place that cannot be read or written.
        MissingExtraError: a server needs the extra `postgres`.
    """

    def __init__(
        self, address: str | Path, *, read_only: bool = False, spool: str | Path | None = None, mounts: Path = MOUNTS
    ) -> None:
        self.read_only = read_only
        self._lock: database.Lock | None = None
        place = storage(address)
        self._database: database.Database = (
            postgres.Postgres(place, read_only=read_only)
            if isinstance(place, Server)
            else sqlite.SQLite(place, read_only=read_only, mounts=mounts)
        )
        self.spool = Path(spool) if spool is not None else self._database.spool
        self._shared = spool is not None or isinstance(place, Server)  # the folder is not this store's by its name
        try:
            if not read_only:
                self._database.prepare()
                return
            with self._transaction() as connection:
                self._database.check(connection)
        except BaseException:
            self._database.engine.dispose()
            raise

    @property
    def name(self) -> str:
        """What messages call it: the path, or the address without its password."""
        return self._database.name

    @property
    def network(self) -> str | None:
        """The network file system that the file lies on, such as nfs4; None for a local disk and for a server."""
        return self._database.network

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sa.Connection]:
        if self._lock is not None:
            self._lock.renew()
        with self._database.transaction() as connection:
            yield connection

    def lock(self) -> None:
        """Become the one driver of this store until it is closed.

        Raises:
            StoreError: another process is; the message gives its id. Or the spool holds another store's results.
        """
        self._database.must_be_open()
        if self._lock is None:
            with contextlib.ExitStack() as undone:
                lock = self._database.lock()
                undone.callback(lock.release)
                if self._shared:
                    spool.belong(self.spool, self._database.identity)
                undone.pop_all()
            self._lock = lock

    def close(self) -> None:
        """Close the file, and give up being its driver."""
        if self._lock is not None:
            spool.sweep(self.spool)
        self._database.close(rest=not self.read_only)
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
        with self._transaction() as connection:
            written = tuple(rows.upsert(connection, trials, source))
            packed.settle(connection)
        return written

    def put_imported(self, found: Iterable[tuple[Trial, tuple[Any, Any] | None, dict[str, Any]]]) -> tuple[str, ...]:
        """Write imported trials in one transaction, each with its curve (steps, losses) and its provenance.

        Returns the ids of those written; one that is there already, or whose run is, stays.
        """
        with self._transaction() as connection:
            written = tuple(trial.id for trial, curve, origin in found if rows.arrive(connection, trial, curve, origin))
            packed.settle(connection)
        return written

    def ingest(self, folder: Path | None = None) -> Ingested:
        """Read the result files of the spool into the store, then delete them. Reading one twice changes nothing.

        A file that holds no trial is renamed, to end in `.broken`, and its trial is trained again. The trials that are returned
        are without their curves, which the store has: of a hundred thousand they would not fit.
        """
        each = list(self.ingesting(folder))
        trials = tuple(replace(trial, curve=None) for some in each for trial in some.trials)
        return Ingested(trials, tuple(path for some in each for path in some.broken))

    def ingesting(self, folder: Path | None = None) -> Iterator[Ingested]:
        """The same in steps of at most a thousand files, each a transaction, with the trials as they were read."""
        paths = list(spool.scan(folder or self.spool))
        for start in range(0, len(paths), AT_ONCE):
            yield self._take(paths[start : start + AT_ONCE])

    def _take(self, paths: Sequence[Path]) -> Ingested:
        found: dict[Path, Trial] = {}
        broken: list[Path] = []
        for path in paths:
            try:
                found[path] = spool.read(path)
            except (ValueError, KeyError, TypeError, AttributeError):
                broken.append(path)
            except OSError as error:
                raise StoreError(f"a result cannot be read ({error.strerror})", str(path), "Check the disk") from error
        written = self.put(found.values()) if found else ()
        for path in found:
            with contextlib.suppress(OSError):  # what cannot be deleted is read again, which changes nothing
                path.unlink(missing_ok=True)
        for path in broken:
            with contextlib.suppress(OSError):
                path.rename(path.with_name(f"{path.name}.broken"))
        return Ingested(written, tuple(broken))

    def tag(self, ids: Iterable[str], *names: str) -> int:
        """Give trials tags; returns how many had not all of them. A tag is up to 64 letters without comma or quotation mark.

        Raises:
            UnknownNameError: there is no such trial. StoreError: no such tag can be.
        """
        return self._tag(ids, names, there=True)

    def untag(self, ids: Iterable[str], *names: str) -> int:
        """Take tags away; returns how many trials had one of them. Raises as `tag`."""
        return self._tag(ids, names, there=False)

    def _tag(self, ids: Iterable[str], names: Sequence[str], *, there: bool) -> int:
        with self._transaction() as connection:
            return notes.set_tags(connection, list(dict.fromkeys(ids)), names, there=there, place=self.name)

    def exclude(self, ids: Iterable[str], reason: str) -> int:
        """Leave trials out of every analysis; they are not trained again. Returns how many were not left out so before.

        Raises:
            UnknownNameError: there is no such trial. StoreError: the reason is empty.
        """
        with self._transaction() as connection:
            return notes.exclude(connection, list(dict.fromkeys(ids)), reason, self.name)

    def include(self, ids: Iterable[str]) -> int:
        """Undo `exclude`: trials are again what they were, to the bit. Returns how many were left out.

        Raises:
            UnknownNameError: there is no such trial.
        """
        with self._transaction() as connection:
            return notes.include(connection, list(dict.fromkeys(ids)), self.name)

    def enqueue(self, specs: Iterable[TrialSpec]) -> int:
        """Put trials at the end of the queue from which `claim` takes first; returns how many were new."""
        with self._transaction() as connection:
            return waiting.enqueue(connection, specs)

    def claim(
        self, specs: Iterable[TrialSpec], count: int = 1, lease: float = LEASE, *, without: Collection[str] = ()
    ) -> list[TrialSpec]:
        """Take trials to train that no process has taken: first from the queue, then of `specs` those without a result.

        Those whose ids are in `without` are left. A claim ends with `settle`, with `give_back`, with the process that made it,
        or, seen from another machine, after `lease` seconds.
        """
        with self._transaction() as connection:
            return waiting.claim(connection, specs, count, lease, without)

    def busy(self, lease: float = LEASE) -> set[str]:
        """The ids of the trials that any process has claimed, see `claim`."""
        with self._transaction() as connection:
            return waiting.busy(connection, lease)

    def claims(self) -> dict[str, TrialSpec]:
        """The trials that this process has claimed, by id."""
        with self._transaction() as connection:
            return waiting.claims(connection)

    def settle(self, ids: Iterable[str]) -> None:
        """Say that claimed trials have their results."""
        with self._transaction() as connection:
            waiting.settle(connection, list(ids))

    def give_back(self, ids: Iterable[str]) -> None:
        """Let others claim these trials."""
        with self._transaction() as connection:
            waiting.give_back(connection, list(ids))

    # ---- reading ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        with self._transaction() as connection:
            return rows.count(connection)

    def statuses(self) -> dict[str, Status]:
        """How each trial ended, by id."""
        with self._transaction() as connection:
            return rows.statuses(connection)

    def trials(self, ids: Iterable[str] | None = None, *, curves: bool = True) -> list[Trial]:
        """The trials with these ids, or every trial, in the order of their ids."""
        with self._transaction() as connection:
            return list(rows.read_trials(connection, None if ids is None else list(ids), with_curves=curves))

    def table(self) -> Trials:
        """Every trial as a table, without curves, in the order of their specs: scale, then hyperparameters, then seed.

        A trial that is left out has no loss there, and its reason in the column `reason`; `tags` holds tags, with commas between.
        """
        with self._transaction() as connection:
            return packed.table(connection, self.name)[0]

    def listed(self) -> tuple[Trials, list[str]]:
        """`table`, and the ids of its trials, which the column `id` need not hold: an imported run may have a name of its own."""
        with self._transaction() as connection:
            return self._chosen(connection, None)

    def find(self, where: str) -> list[str]:
        """The ids of the trials that meet a condition, such as `width <= 64`, or whose ids, or how these begin, are given with
        commas between.

        Raises:
            DataError: a condition that cannot be read. RunError: an id that no trial has, or several.
        """
        with self._transaction() as connection:
            table, ids = self._chosen(connection, where if is_condition(where) else None)
        if is_condition(where):
            return ids
        own = [str(name) for name in table["id"]] if ids else []
        return list(dict.fromkeys(ids[place_of(name.strip(), own, ids)] for name in where.split(",")))

    def _chosen(self, connection: sa.Connection, where: str | None) -> tuple[Trials, list[str]]:
        """The table of the trials that meet a condition, and their ids."""
        table, numbers = packed.table(connection, self.name)
        if where and len(table):
            mask = select(where, dict(table.columns), len(table))
            table, numbers = table.where(mask), numbers[mask]
        return table, [f"{each:016x}" for each in numbers.tolist()]

    def tags(self, ids: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
        """The tags of trials by id, sorted; trials without any are not there."""
        with self._transaction() as connection:
            asked = rows.statuses(connection) if ids is None else ids
            return {key: tuple(found) for key, found in rows.marks(connection, list(asked)).items()}

    def exclusions(self) -> dict[str, str]:
        """Why trials are left out, by id."""
        with self._transaction() as connection:
            return rows.exclusions(connection)

    def curve(self, trial_id: str) -> Curve | None:
        """A trial's curve; None where there is none.

        Raises:
            UnknownNameError: there is no such trial.
        """
        with self._transaction() as connection:
            found, known = rows.find_curve(connection, trial_id)
        if not known:
            raise UnknownNameError("trial", trial_id, list(self.statuses())[:5], self.name)
        return found

    def provenance(self, trial_id: str | None = None) -> dict[str, dict[str, Any]]:
        """Where imported trials come from and how their numbers were made, by id: of one, or of all.

        `importer`, `run`, `place`; `loss` and `final`, the metric and the rule; `sampled`; `given`, `derived` and `missing` of
        N, D and C; `config`, what the tracker held.
        """
        with self._transaction() as connection:
            return rows.origins(connection, None if trial_id is None else [trial_id])

    def export(self, path: str | Path, where: str | None = None, *, table: bool = False) -> int:
        """Write trials to a .csv, .parquet or .jsonl file, with all that is known of them; returns how many.

        The file has a row per trial with the columns of `table`, and is DATA for every command. Beside them it holds the trial,
        its curve, its provenance, its tags and why it is left out; `import_into` brings all of it back, to the bit.

        Args:
            path: the file; replaced when all is written.
            where: only the trials that meet this condition.
            table: the table and nothing else.

        Raises:
            StoreError: the file cannot be written. DataError: the condition cannot be read.
        """
        path = Path(path)
        if path.suffix.lower() not in FILES:
            raise StoreError(f"cannot export to {path.suffix or 'a file without ending'}", str(path), f"Use {', '.join(FILES)}")
        part = path.with_name(f".{path.stem}.part{path.suffix}")
        try:
            with self._transaction() as connection:
                found, ids = self._chosen(connection, where)
                if table:
                    found.write(part)
                else:
                    whole.write(connection, part, found, ids)
            part.replace(path)
        except OSError as error:
            raise whole.told(error, path) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
        return len(found)

    def restore(self, *paths: str | Path) -> tuple[int, int]:
        """Read trials from files that `export` wrote, in one transaction: how many, and how many of them were not there yet.

        Raises:
            DataError: a file is no export, or a row of it holds no trial; nothing is written then.
        """
        with self._transaction() as connection:
            counts = [whole.restore(connection, exported.records(Path(path))) for path in paths]
        return sum(read for read, _ in counts), sum(new for _, new in counts)
