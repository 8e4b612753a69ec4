"""A store in one SQLite file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event, exc, pool

from ..errors import NoStoreError, StoreError
from .database import Database, Lock
from .held import hold, is_held, let_go
from .mounts import MOUNTS, network

__all__ = ["SQLite"]

BUSY_MS = 60_000


class SQLite(Database):
    """A file. A writer keeps a write-ahead log, or on a network file system, where that is not safe, a rollback journal."""

    def __init__(self, path: Path, *, read_only: bool, mounts: Path = MOUNTS) -> None:
        if path.is_dir():
            raise StoreError("this is a folder", str(path), "Give the path of a file, for example study.db")
        self.name = str(path)
        path = path.resolve() if path.is_symlink() else path  # what stands beside the file stands beside the file itself
        self._path, self.identity = path, str(path.absolute())
        self.spool = path.with_name(f"{path.name}.spool")
        self.network = network(path, mounts)
        self._log: tuple[int, int] | None = None  # which file the write-ahead log is
        if read_only:
            if not path.exists():
                raise NoStoreError("there is no such store", str(path), "Run a study first: scalelaw run STUDY.toml")
            self.engine = _reader(path)
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the folder cannot be made ({error.strerror})", str(path.parent), "Choose another path with --storage"
            ) from error
        self.engine = _writer(path, "WAL" if self.network is None else "DELETE")

    @contextlib.contextmanager
    def transaction(self) -> Generator[sa.Connection]:
        """See `Database.transaction`: what was written into a log that is no more the store's own would be lost."""
        with super().transaction() as connection:
            yield connection
        if self._log is not None and self._log_now() != self._log:
            what = "its log was taken away: something in this process opened the file of the store, and another closed it"
            raise StoreError(what, self.name, "Nothing finished is lost: run the same command again")

    def prepare(self) -> None:
        """See `Database.prepare`."""
        super().prepare()
        self._log = self._log_now()

    def _log_now(self) -> tuple[int, int] | None:
        with contextlib.suppress(OSError):
            state = self._path.with_name(f"{self._path.name}-wal").stat()
            return (state.st_dev, state.st_ino)
        return None

    def explained(self) -> contextlib.AbstractContextManager[None]:
        """See `Database.explained`."""
        return _explained(self._path)

    def lock(self) -> Lock:
        """See `Database.lock`."""
        from .lock import ClaimedFile, LockedFile  # not every system that reads stores has such locks

        path = self._path.with_name(f"{self._path.name}.lock")
        return LockedFile(path, self._path) if self.network is None else ClaimedFile(path, self._path)

    def backup(self, schema: int) -> None:
        """See `Database.backup`: `study.db.schema1.backup`, there whole or not at all."""
        target = self._path.with_name(f"{self._path.name}.schema{schema}.backup")
        part = target.with_name(f".{target.name}.part")
        part.unlink(missing_ok=True)
        try:
            with contextlib.closing(sqlite3.connect(part)) as copy, contextlib.closing(sqlite3.connect(self._path)) as now:
                now.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            part.replace(target)
        except OSError as error:
            raise StoreError(
                f"the backup before an upgrade cannot be made ({error.strerror})",
                str(target),
                "Free some space, or mend the folder",
            ) from error

    def rest(self) -> None:
        """See `Database.rest`: fold the log into the file, so that a store at rest is one file. Left as it is while in use."""
        with contextlib.suppress(exc.DBAPIError, sqlite3.Error), self.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA busy_timeout=0")
            raw.execute("PRAGMA journal_mode=DELETE")
        self.engine.dispose()


def _writer(path: Path, journal: str) -> sa.Engine:
    """Each transaction is begun as a writer, and on the disk when it is committed."""
    address = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(address, poolclass=pool.StaticPool, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own transactions would start as readers and could not become writers
        for pragma in (f"busy_timeout={BUSY_MS}", f"journal_mode={journal}", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return _held(engine, path)


def _held(engine: sa.Engine, path: Path) -> sa.Engine:
    """The engine, whose file nobody in this process opens otherwise as long as it has a connection; see `held`."""

    @event.listens_for(engine, "connect")
    def _opened(_connection: sqlite3.Connection, record: Any) -> None:
        with contextlib.suppress(OSError):
            record.info["held"] = hold(path)

    @event.listens_for(engine, "close")
    def _closed(_connection: sqlite3.Connection, record: Any) -> None:
        if "held" in record.info:
            let_go(record.info.pop("held"))

    return engine


def _reader(path: Path) -> sa.Engine:
    """Makes no file and keeps no writer waiting: each use is one short transaction of its own."""
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

    return _held(engine, path)


def _header_says_log(path: Path) -> bool:
    if is_held(path):
        return True
    with contextlib.suppress(OSError), path.open("rb") as stream:
        return stream.read(20)[18:] == b"\x02\x02"
    return False


@contextlib.contextmanager
def _explained(path: Path) -> Generator[None]:
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
