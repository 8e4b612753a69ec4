"""The database under the store: tables, connections, rows, and what its errors mean. Only `store.py` uses it."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import sqlalchemy as sa
from sqlalchemy import event, exc, pool
from sqlalchemy.dialects.sqlite import insert

from .errors import StoreError
from .trial import Curve, Origin, Status, Trial, TrialSpec

__all__ = [
    "SCHEMA",
    "DriverLock",
    "arrive",
    "check",
    "connect_read_only",
    "connect_writer",
    "explained",
    "prepare",
    "rest",
    "unpack",
    "unpack_curve",
    "upsert",
]

SCHEMA = 1
BUSY_MS = 60_000
REDO = (Status.FAILED.name, Status.LOST.name)
_NETWORK = ("nfs", "lustre", "gpfs", "beegfs", "fuse.", "9p", "cifs", "smb", "ceph", "afs")

metadata = sa.MetaData()
meta = sa.Table("meta", metadata, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
trials = sa.Table(
    "trials",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("loss", sa.Float),
    sa.Column("parameters", sa.Float),
    sa.Column("embedding_parameters", sa.Float),
    sa.Column("tokens", sa.Float),
    sa.Column("compute", sa.Float),
    sa.Column("compute_rule", sa.Text),
    sa.Column("initial_loss", sa.Float),
    sa.Column("at_chance", sa.Boolean, nullable=False),
    sa.Column("diverged_step", sa.Integer),
    sa.Column("last_loss", sa.Float),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("source", sa.Text),
)
curves = sa.Table(
    "curves",
    metadata,
    sa.Column("id", sa.Text, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("steps", sa.LargeBinary, nullable=False),
    sa.Column("losses", sa.LargeBinary, nullable=False),
)
provenance = sa.Table(
    "provenance",
    metadata,
    sa.Column("id", sa.Text, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("run", sa.Text, index=True),
    sa.Column("document", sa.Text, nullable=False),
)
_PLAIN = ("loss", "tokens", "compute", "compute_rule", "initial_loss", "diverged_step", "last_loss", "seconds", "error")
_COUNTS = ("parameters", "embedding_parameters")


# ---- connections --------------------------------------------------------------------------------------------------------


def connect_writer(path: Path) -> sa.Engine:
    """An engine that writes: write-ahead log, each transaction begun as a writer and on the disk when it is committed."""
    address = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(address, poolclass=pool.StaticPool, connect_args={"check_same_thread": False})
    journal = "DELETE" if _on_network(path) else "WAL"

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own transactions would start as readers and could not become writers
        for pragma in (f"busy_timeout={BUSY_MS}", f"journal_mode={journal}", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def connect_read_only(path: Path) -> sa.Engine:
    """An engine that reads, makes no file and keeps no writer waiting: each use is one short transaction of its own."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    # A log without its index can only be read where the index can be made; elsewhere the file itself is read.
    if _header_says_log(path) and not os.access(path.absolute().parent, os.W_OK) and not Path(f"{path}-shm").exists():
        address += "&immutable=1"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=pool.NullPool)

    @event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def rest(engine: sa.Engine) -> None:
    """Fold the log into the file, so that a store at rest is one file and readers need no other. Left as it is while in use."""
    with contextlib.suppress(exc.DBAPIError, sqlite3.Error), engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA busy_timeout=0")
        raw.execute("PRAGMA journal_mode=DELETE")
    engine.dispose()


def prepare(engine: sa.Engine, path: Path) -> None:
    """Make the tables in a new file, or check those of an old one. Raises StoreError; nothing is changed then."""
    with explained(path), engine.begin() as connection:
        names = set(sa.inspect(connection).get_table_names())
        if not names:
            metadata.create_all(connection)
            rows = [{"key": "application", "value": "scalelaw"}, {"key": "schema", "value": str(SCHEMA)}]
            connection.execute(sa.insert(meta), rows)
        else:
            check(connection, path)
            metadata.create_all(connection)  # tables that came later


def check(connection: sa.Connection, path: Path) -> None:
    """Raises StoreError unless the database is a store of a schema that is known here."""
    names = set(sa.inspect(connection).get_table_names())
    about = {row.key: row.value for row in connection.execute(sa.select(meta))} if "meta" in names else {}
    if about.get("application") != "scalelaw":
        what = "this is an SQLite database, but not a scalelaw store" if names else "the store is empty"
        raise StoreError(what, str(path), "Give the study.db that `scalelaw run` wrote")
    schema = int(about.get("schema", 0))
    if schema > SCHEMA:
        what = f"the store was written by a newer scalelaw (schema {schema}; this one reads up to {SCHEMA})"
        raise StoreError(what, str(path), "Upgrade with: pip install -U scalelaw")


@contextlib.contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn what the database says into a StoreError of one line."""
    try:
        yield
    except exc.DBAPIError as error:
        raise _explain(str(error.orig), path) from error
    except sqlite3.Error as error:
        raise _explain(str(error), path) from error


def _explain(text: str, path: Path) -> StoreError:
    again = "Nothing is lost: run the same command again"
    known = {
        "not a database": ("this is not a store", "Give a study.db that `scalelaw run` wrote, or another path"),
        "malformed": ("the store is damaged", "Restore it from a copy, or move it away and run the study again"),
        "disk is full": ("the disk is full", f"Free some space. {again}"),
        "disk I/O error": ("the disk refuses to write (full, over a quota or a limit, or broken)", f"Free some space. {again}"),
        "readonly database": ("the store cannot be written", "Change its permissions, or choose another path with --storage"),
        "unable to open": ("the store cannot be opened or made here", "Check that the folder exists and can be written"),
        "locked": ("the store is in use by another program", "Close that program, then try again"),
    }
    for key, (what, mend) in known.items():
        if key in text:
            return StoreError(what, str(path), mend)
    return StoreError(f"the store cannot be used ({text})", str(path), "Restore it from a copy, or choose another with --storage")


def _header_says_log(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as stream:
        return stream.read(20)[18:] == b"\x02\x02"
    return False


def _on_network(path: Path) -> bool:
    """Whether the path lies on a network file system, where a write-ahead log is not safe. False where that cannot be told."""
    folder = path.absolute().parent
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            _, point, each, *_ = line.split(" ")
            if len(point) >= len(best) and folder.is_relative_to(point):
                best, kind = point, each
    return kind.startswith(_NETWORK)


class DriverLock:
    """The right to drive a store. The operating system takes it back when the process ends, however it ends."""

    def __init__(self, path: Path, store: Path) -> None:
        import fcntl

        self._path = path
        while True:
            try:
                self._stream = path.open("a+", encoding="ascii")
            except OSError as error:
                what = f"the folder cannot be written ({error.strerror})"
                raise StoreError(what, str(path.parent), "Choose another with --storage") from error
            try:
                fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._stream.seek(0)
                pid = self._stream.read().strip() or "unknown"
                self._stream.close()
                mend = f"Wait for it, or stop it with: kill -INT {pid}"
                raise StoreError(f"another scalelaw run (process {pid}) is filling this store", str(store), mend) from error
            if self._is_current():
                break
            self._stream.close()  # its driver ended and removed it after it was opened here
        with contextlib.suppress(OSError):  # on a full disk the lock holds without the name
            self._stream.truncate(0)
            self._stream.write(f"{os.getpid()}\n")
            self._stream.flush()

    def release(self) -> None:
        """Let another process drive."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        with contextlib.suppress(OSError):
            self._stream.close()

    def _is_current(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._stream.fileno()), self._path.stat())
        return False


# ---- rows ---------------------------------------------------------------------------------------------------------------


def pack(trial: Trial, source: str | None = None) -> dict[str, Any]:
    """The row of a trial in the table `trials`."""
    return {
        "id": trial.id,
        "spec": json.dumps(trial.spec.to_dict(), sort_keys=True),
        "status": trial.status.name,
        **{name: getattr(trial, name) for name in (*_PLAIN, *_COUNTS)},
        "at_chance": trial.at_chance,
        "metrics": json.dumps(dict(trial.metrics), sort_keys=True),
        "origin": trial.origin.name,
        "source": source,
    }


def unpack(row: Any, curve: Curve | None = None) -> Trial:
    """The inverse of `pack`."""
    plain: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
    counts = {name: getattr(row, name) for name in _COUNTS}
    return Trial(
        spec=TrialSpec.from_dict(json.loads(row.spec)),
        status=Status[row.status],
        at_chance=bool(row.at_chance),
        metrics=json.loads(row.metrics),
        origin=Origin[row.origin],
        curve=curve,
        **{name: None if value is None else int(value) for name, value in counts.items()},
        **plain,
    )


def pack_curve(trial_id: str, steps: Any, losses: Any) -> dict[str, Any]:
    """The row of a curve: numbers as compressed little-endian blobs, int64 and float64.

    Lightly compressed: the digits of a loss are noise, on which the usual effort takes ten times as long and saves a hundredth.
    """
    quick = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return {
        "id": trial_id,
        "metric": "loss",
        "steps": zlib.compress(np.rint(np.asarray(steps)).astype("<i8").tobytes(), 1),
        "losses": quick.compress(np.asarray(losses, dtype="<f8").tobytes()) + quick.flush(),
    }


def unpack_curve(row: Any) -> Curve:
    """The inverse of `pack_curve`."""
    steps = np.frombuffer(zlib.decompress(row.steps), dtype="<i8")
    losses = np.frombuffer(zlib.decompress(row.losses), dtype="<f8")
    return Curve(tuple(steps.tolist()), tuple(losses.tolist()))


def _upsert() -> Any:
    statement = insert(trials)
    values = {column.name: statement.excluded[column.name] for column in trials.columns if column.name != "id"}
    better = statement.excluded["status"].not_in(REDO) | (statement.excluded["origin"] == Origin.TRAINED.name)
    # A run that was still running when it was imported has ended since.
    running = (trials.c.status == Status.PRUNED.name) & (trials.c.origin == Origin.IMPORTED.name)
    ended = statement.excluded["status"].not_in((*REDO, Status.PRUNED.name))
    unsettled = (trials.c.status.in_(REDO) & better) | (running & ended)
    statement = statement.on_conflict_do_update(index_elements=["id"], set_=values, where=unsettled)
    return statement.returning(trials.c.id)


_UPSERT = _upsert()


def upsert(connection: sa.Connection, trial: Trial, source: str | None = None) -> bool:
    """Write a trial unless a finished one stands there. Returns whether it was written.

    A FAILED or LOST one is replaced by whatever came of training it again, and by an import only where that knows better.
    """
    written = connection.execute(_UPSERT, pack(trial, source)).first() is not None
    if written:
        connection.execute(sa.delete(curves).where(curves.c.id == trial.id))
        if trial.curve is not None:
            connection.execute(sa.insert(curves), pack_curve(trial.id, trial.curve.steps, trial.curve.losses))
    return written


def arrive(connection: sa.Connection, trial: Trial, curve: tuple[Any, Any] | None, origin: dict[str, Any]) -> bool:
    """Write an imported trial with its curve and where it comes from. Returns whether it was written.

    A run that was known under other settings, because it had not ended, makes way.
    """
    run = None if origin.get("run") is None else f"{origin['importer']}:{trial.spec.task}:{origin['run']}"
    if run is not None:
        known = sa.select(trials.c.id, trials.c.status).join(provenance).where(provenance.c.run == run, trials.c.id != trial.id)
        for old in connection.execute(known).all():
            if old.status not in (*REDO, Status.PRUNED.name):
                return False
            forget(connection, old.id)
    if not upsert(connection, trial, origin.get("place")):
        return False
    if curve is not None:
        connection.execute(sa.insert(curves), pack_curve(trial.id, *curve))
    connection.execute(sa.delete(provenance).where(provenance.c.id == trial.id))
    connection.execute(sa.insert(provenance), {"id": trial.id, "run": run, "document": json.dumps(origin)})
    return True


def forget(connection: sa.Connection, trial_id: str) -> None:
    """Take a trial out, with all that belongs to it."""
    for table, column in ((curves, curves.c.id), (provenance, provenance.c.id), (trials, trials.c.id)):
        connection.execute(sa.delete(table).where(column == trial_id))
