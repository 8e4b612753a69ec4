"""A store in a PostgreSQL database, or one of several there: each has a schema of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc, pool

from ..errors import MissingExtraError, StoreError
from .address import Server
from .database import Database, Lock
from .tables import metadata

__all__ = ["Postgres"]

# The first of two numbers that name an advisory lock, so that ours are told from other programs'.
_WRITE, _DRIVE = 0x5CA1E, 0x5CA1F
_KEEP_ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "connect_timeout": 10}


class Postgres(Database):
    """A database on a server. A writer's transactions follow each other, as they do in SQLite; a reader's see one state."""

    def __init__(self, server: Server, *, read_only: bool) -> None:
        if importlib.util.find_spec("psycopg") is None:
            raise MissingExtraError("psycopg", "postgres", f"a store on a server ({server})")
        self.name, self._server = str(server), server
        own = "" if server.schema == "public" else f".{server.schema}"
        self.spool = Path(f"{server.database}{own}.spool")
        self.engine = self._connect("read only" if read_only else "read write")
        if not read_only:
            with self.explained(), self.engine.begin() as connection:
                found = connection.scalar(sa.text("SELECT to_regnamespace(:name)"), {"name": server.schema})
                if found is None:
                    connection.exec_driver_sql(f'CREATE SCHEMA "{server.schema}"')

    def _connect(self, access: str) -> sa.Engine:
        url = re.sub(r"^\w+", "postgresql+psycopg", self._server.url)
        options = f'-csearch_path="{self._server.schema}" -ctimezone=UTC'
        about = {"options": options, "application_name": f"scalelaw {platform.node()} {os.getpid()}"[:63], **_KEEP_ALIVE}
        engine = sa.create_engine(url, poolclass=pool.QueuePool, pool_size=1, max_overflow=2, connect_args=about)

        @event.listens_for(engine, "begin")
        def _begun(connection: sa.Connection) -> None:
            level = "REPEATABLE READ" if access == "read only" else "READ COMMITTED"
            connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}, {access.upper()}")
            if access != "read only":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE, self._key())))

        return engine

    def _key(self) -> Any:
        return sa.func.hashtext(self._server.schema)

    def explained(self) -> contextlib.AbstractContextManager[None]:
        """See `Database.explained`."""
        return _explained(self._server)

    def lock(self) -> Lock:
        """See `Database.lock`: the server takes the lock back when the connection ends, however it ends."""
        engine = self._connect("read write")
        with self.explained():
            connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if connection.execute(sa.select(sa.func.pg_try_advisory_lock(_DRIVE, self._key()))).scalar_one():
                return _Session(engine, connection)
            holder = connection.execute(
                sa.text(
                    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON "
                    "d.oid = l.database WHERE l.locktype = 'advisory' AND l.granted AND l.classid = :drive "
                    "AND l.objid::bigint = hashtext(:schema)::bigint & 4294967295 AND d.datname = current_database()"
                ),
                {"drive": _DRIVE, "schema": self._server.schema},
            ).scalar()
            engine.dispose()
        words = (holder or "").split()
        where, pid = (words[1], words[2]) if len(words) == 3 else ("another machine", "unknown")
        mend = f"Wait for it, or stop it on {where} with: kill -INT {pid}"
        raise StoreError(f"another scalelaw run on {where} (process {pid}) is filling this store", self.name, mend)

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

    def __init__(self, engine: sa.Engine, connection: sa.Connection) -> None:
        self._engine, self._connection = engine, connection

    def release(self) -> None:
        """Let another process drive."""
        with contextlib.suppress(exc.DBAPIError):
            self._connection.close()
        self._engine.dispose()


@contextlib.contextmanager
def _explained(server: Server) -> Generator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        raise _explain(str(error.orig), server) from error


def _explain(text: str, server: Server) -> StoreError:
    name, schema = server.database, server.schema
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
        r"no schema has been selected|relation .* does not exist": (
            f"there is no store in the schema {schema!r}",
            "Run a study first: scalelaw run STUDY.toml --storage ADDRESS",
        ),
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
