"""A store in a PostgreSQL database, or one of several there: each has a schema of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from ..errors import MissingExtraError, NoStoreError, StoreError
from .address import Server
from .database import Database, Lock
from .tables import metadata

__all__ = ["Postgres"]

# The first of two numbers that name an advisory lock, so that ours are told from other programs'.
_WRITE, _DRIVE = 0x5CA1E, 0x5CA1F
_TRIES, _PAUSE = 5, 0.1
_HOLDER = """
    SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = :drive
    AND l.objid::bigint = hashtext(:schema)::bigint & 4294967295 AND d.datname = current_database()
"""
_KEEP_ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "connect_timeout": 10}


class Postgres(Database):
    """A database on a server. A writer's transactions follow each other, as they do in SQLite; a reader's see one state."""

    def __init__(self, server: Server, *, read_only: bool) -> None:
        if importlib.util.find_spec("psycopg") is None:
            raise MissingExtraError("psycopg", "postgres", f"a store on a server ({server})")
        self.name, self.identity, self._server = str(server), server.identity, server
        own = "" if server.schema == "public" else f".{server.schema}"
        self.spool = Path(f"{server.database}{own}.spool")
        if not read_only:
            self._make_schema()
        self.engine = self._alone() if not read_only else self._looking()

    def _connect(self) -> sa.Engine:
        url = re.sub(r"^\w+", "postgresql+psycopg", self._server.url)
        options = f'-csearch_path="{self._server.schema}"'
        about = {"options": options, "application_name": f"scalelaw {platform.node()} {os.getpid()}"[:63], **_KEEP_ALIVE}
        return sa.create_engine(url, pool_size=1, max_overflow=2, pool_pre_ping=True, connect_args=about)

    def _make_schema(self) -> None:
        engine = self._connect()
        try:
            with self.explained(), engine.begin() as connection:
                if connection.scalar(sa.select(sa.func.to_regnamespace(f'"{self._server.schema}"'))) is None:
                    connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{self._server.schema}"')
        finally:
            engine.dispose()

    def _alone(self) -> sa.Engine:
        engine = self._connect()

        @event.listens_for(engine, "begin")
        def _begun(connection: sa.Connection) -> None:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE, self._key())))

        return engine

    def _looking(self) -> sa.Engine:
        engine = self._connect()

        @event.listens_for(engine, "begin")
        def _begun(connection: sa.Connection) -> None:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

        return engine

    def _key(self) -> Any:
        return sa.func.hashtext(self._server.schema)

    def explained(self) -> contextlib.AbstractContextManager[None]:
        """See `Database.explained`."""
        return _explained(self._server)

    def lock(self) -> Lock:
        """See `Database.lock`: the server takes the lock back when the connection ends, however it ends."""
        return _Session(self._connect(), self._server)

    def backup(self, schema: int) -> None:
        """See `Database.backup`: the tables as they are, as `backup1_trials` and so on."""
        with self.engine.begin() as connection:
            for name in sa.inspect(connection).get_table_names():
                if name in metadata.tables:
                    connection.exec_driver_sql(f"DROP TABLE IF EXISTS backup{schema}_{name}")
                    connection.exec_driver_sql(f"CREATE TABLE backup{schema}_{name} AS TABLE {name}")

    def rest(self) -> None:
        """See `Database.rest`."""
        self.engine.dispose()


class _Session:
    """A connection that holds the driver's lock."""

    def __init__(self, engine: sa.Engine, server: Server) -> None:
        self._engine, self._server = engine, server
        try:
            with _explained(server):
                self._connection = self._take()
        except BaseException:
            engine.dispose()
            raise

    def release(self) -> None:
        """Let another process drive."""
        with contextlib.suppress(exc.SQLAlchemyError):
            self._connection.close()
        self._engine.dispose()

    def renew(self) -> None:
        """See `database.Lock`: a server that was started anew has forgotten it."""
        with contextlib.suppress(exc.SQLAlchemyError):
            self._connection.execute(sa.select(1))
            return
        with contextlib.suppress(exc.SQLAlchemyError):
            self._connection.close()
        with _explained(self._server):
            self._connection = self._take()

    def _take(self) -> sa.Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for _ in range(_TRIES):
            if connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_DRIVE, sa.func.hashtext(self._server.schema)))):
                return connection
            time.sleep(_PAUSE)  # the server learns within a moment that a process is gone
        holder = connection.scalar(sa.text(_HOLDER), {"drive": _DRIVE, "schema": self._server.schema})
        connection.close()
        words = str(holder or "").split()
        where, pid = (words[1], words[2]) if len(words) == 3 else ("another machine", "unknown")
        mend = f"Wait for it, or stop it on {where} with: kill -INT {pid}"
        raise StoreError(f"another scalelaw run on {where} (process {pid}) is filling this store", str(self._server), mend)


@contextlib.contextmanager
def _explained(server: Server) -> Generator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        raise _explain(str(error.orig), server) from error


def _explain(text: str, server: Server) -> StoreError:
    name = server.database
    if re.search(r"no schema has been selected|relation .* does not exist", text, re.IGNORECASE):
        mend = "Run a study first: scalelaw run STUDY.toml --storage ADDRESS"
        return NoStoreError(f"there is no store in the schema {server.schema!r}", str(server), mend)
    known = {
        r"password authentication|no password supplied|role .* does not exist|pg_hba": (
            "the server does not let this user in",
            "Put the password into PGPASSWORD or ~/.pgpass, or name another user: postgresql://USER@host/database",
        ),
        r"database .* does not exist": (f"the server has no database {name!r}", f"Make it: createdb {name}"),
        r"refused|could not translate|failed to resolve|timeout expired|No route|unreachable|No such file|starting up": (
            "no database server answers there",
            "Start it (Debian: systemctl start postgresql), or mend host and port: postgresql://user@host:5432/database",
        ),
        r"permission denied": ("this user may not do that there", f"Ask for: GRANT CREATE ON DATABASE {name} TO user"),
        r"server closed|terminating connection|connection .*(lost|closed)": (
            "the server closed the connection",
            "Nothing is lost: when it is back, run the same command again",
        ),
        r"No space left|could not extend": ("the server's disk is full", "Free some space. Nothing is lost: run it again"),
    }
    for pattern, (what, mend) in known.items():
        if re.search(pattern, text, re.IGNORECASE):
            return StoreError(what, str(server), mend)
    line = text.strip().splitlines()[0] if text.strip() else "no reason given"
    return StoreError(f"the store cannot be used ({line})", str(server), "Ask whoever keeps the server")
