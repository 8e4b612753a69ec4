"""A database that holds a store: what each kind of database does its own way, and how a store in it is opened and checked."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from ..errors import NoStoreError, StoreError
from .migrations import migrate
from .tables import SCHEMA, meta, metadata

__all__ = ["SCHEMA", "Database", "Lock"]


class Lock(Protocol):
    """The right to drive a store."""

    def release(self) -> None:
        """Let another process drive."""

    def renew(self) -> None:
        """Make sure that the right is still held. Raises StoreError where another process drives by now."""


class Database(abc.ABC):
    """One kind of database. A member is made with an address, and opens it with `open`.

    Args:
        name: what messages call it.
        spool: the folder that workers write into.
        identity: the same for one store however it is called, as far as that can be told.
        network: the kind of network file system that it lies on, if it does.
        engine: connections; each transaction of a writer is alone with the database, each of a reader sees one state of it.
        closed: no transaction can be made any more.
    """

    name: str
    spool: Path
    identity: str
    network: str | None = None
    engine: sa.Engine
    closed: bool = False

    @abc.abstractmethod
    def explained(self) -> AbstractContextManager[None]:
        """Turns what the database says into a StoreError of one line."""

    @contextlib.contextmanager
    def transaction(self) -> Generator[sa.Connection]:
        """A transaction. Raises StoreError where it could not be made, or may not last."""
        self.must_be_open()
        with self.explained(), self.engine.begin() as connection:
            yield connection

    @abc.abstractmethod
    def lock(self) -> Lock:
        """Become the one driver. Raises StoreError where another process is; the message says which."""

    @abc.abstractmethod
    def backup(self, schema: int) -> None:
        """Keep a copy of the store as it is, named after its schema, in place of an earlier one."""

    @abc.abstractmethod
    def rest(self) -> None:
        """End a writer's work."""

    def must_be_open(self) -> None:
        """Raises StoreError where `close` was called."""
        if self.closed:
            raise StoreError("this store is closed", self.name, "Open it again")

    def close(self, *, rest: bool) -> None:
        """Give the connections up; with `rest`, a writer's work ends. A second time does nothing."""
        if not self.closed:
            if rest:
                self.rest()
            else:
                self.engine.dispose()
        self.closed = True

    def prepare(self) -> None:
        """Make the tables of a new store; bring those of an old one up to date, after a backup, while nobody else drives.

        Raises:
            StoreError: not a store, one of a newer scalelaw, or an old one that is being filled; nothing is changed then.
        """
        with self.explained(), self.engine.begin() as connection:
            if not sa.inspect(connection).get_table_names():
                metadata.create_all(connection)
                rows = [{"key": "application", "value": "scalelaw"}, {"key": "schema", "value": str(SCHEMA)}]
                connection.execute(sa.insert(meta), rows)
                return
            schema = self.check(connection)
        if schema == SCHEMA:
            return
        lock = self.lock()
        try:
            with self.explained():
                with self.engine.begin() as connection:
                    schema = self.check(connection)
                if schema == SCHEMA:
                    return  # another process has just done it, and its copy is the one to keep
                self.backup(schema)
                with self.engine.begin() as connection:
                    migrate(connection, schema)
        finally:
            lock.release()

    def check(self, connection: sa.Connection) -> int:
        """The store's schema. Raises StoreError unless the database is a store of a schema that is known here."""
        names = set(sa.inspect(connection).get_table_names())
        about = {row.key: row.value for row in connection.execute(sa.select(meta))} if "meta" in names else {}
        if about.get("application") != "scalelaw":
            mend = "Give the study.db that `scalelaw run` wrote"
            if not names:
                raise NoStoreError("the store is empty", self.name, mend)
            raise StoreError("this is a database, but not a scalelaw store", self.name, mend)
        schema = int(about.get("schema", 0))
        if schema > SCHEMA:
            what = f"the store was written by a newer scalelaw (schema {schema}; this one reads up to {SCHEMA})"
            raise StoreError(what, self.name, "Upgrade with: pip install -U scalelaw")
        return schema
