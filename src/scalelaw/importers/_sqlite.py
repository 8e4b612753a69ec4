"""Other tools' SQLite files, opened to be read and nothing else."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Generator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import DataError

__all__ = ["databases", "reading", "rows"]

MAGIC = b"SQLite format 3\0"
_ENDINGS = (".db", ".sqlite", ".sqlite3")
_BUSY_SECONDS = 10.0


def databases(path: Path, needed: Collection[str]) -> list[Path]:
    """`path`, or the files in the folder `path`, that are databases with the tables `needed`. Never raises."""
    with contextlib.suppress(OSError):
        files = sorted(each for each in path.iterdir() if each.suffix in _ENDINGS) if path.is_dir() else [path]
        return [file for file in files if _fits(file, needed)]
    return []


def _fits(file: Path, needed: Collection[str]) -> bool:
    with contextlib.suppress(OSError, sqlite3.Error, DataError):
        with file.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                return False
        with reading(file) as connection:
            found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return set(needed) <= found
    return False


@contextlib.contextmanager
def reading(file: Path) -> Generator[sqlite3.Connection]:
    """A connection that cannot write, load extensions or wait for long.

    Raises:
        DataError: the file cannot be read, or is damaged.
    """
    address = f"file:{quote(str(file.absolute()))}?mode=ro"
    try:
        connection = _connect(f"{address}{_at_rest(file)}")
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            connection.close()
            if not isinstance(error, sqlite3.OperationalError):
                raise
            # A log without its index, in a folder where none can be made: the file itself is read.
            connection = _connect(f"{address}&immutable=1")
        with contextlib.closing(connection):
            yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:  # a message may quote what is damaged
        mend = "Close what writes it, or restore it from a copy"
        raise DataError(f"the database cannot be read ({error})", str(file), mend) from error


def _connect(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)
    connection.text_factory = lambda content: content.decode("utf-8", "replace")
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def _at_rest(file: Path) -> str:
    """Of a database that keeps a log, and has none now, nobody is a writer: opened so, no index is made beside the file."""
    with contextlib.suppress(OSError), file.open("rb") as stream:
        if stream.read(20)[18:] == b"\x02\x02" and not Path(f"{file}-wal").exists():
            return "&immutable=1"
    return ""


def rows(connection: sqlite3.Connection, table: str, columns: Sequence[str], order: str = "rowid") -> list[tuple[Any, ...]]:
    """The columns of a table, None where an older version of the tool had none."""
    there = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
    named = ", ".join(f'"{name}"' if name in there else "NULL" for name in columns)
    return list(connection.execute(f'SELECT {named} FROM "{table}" ORDER BY {order}'))
