"""Which database a text means: a path, `sqlite:///path`, or a server. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from ..errors import StoreError

__all__ = ["Server", "masked", "parse", "shown", "storage"]

_SERVER = re.compile(r"postgres(ql)?(\+\w+)?:/")
_OTHER = re.compile(r"(?!sqlite:///)([A-Za-z][\w+.-]+)://")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True)
class Server:
    """A database on a server.

    Args:
        url: all that the driver needs, the password included.
        database: the name of the database.
        schema: the namespace in it: each holds one store.
    """

    url: str
    database: str
    schema: str = "public"

    def __str__(self) -> str:
        """The address without its password and without what else it may carry: this is what messages show."""
        user = urlsplit(self.url).username
        return self.identity if not user else self.identity.replace("://", f"://{user}@", 1)

    @property
    def identity(self) -> str:
        """The same for everyone who uses this store: the address without a user."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        schema = "" if self.schema == "public" else f"?schema={self.schema}"
        return f"postgresql://{parts.hostname or ''}{port}/{self.database}{schema}"


def parse(address: str | Path) -> Path | Server:
    """The path or the server that an address means.

    Raises:
        StoreError: an address of a server that is none; the password is not shown.
    """
    text = str(address)
    if not _SERVER.match(text):
        return Path(text.removeprefix("sqlite:///"))
    # A path that was made of an address has lost a slash.
    text = re.sub(r"^[^:]+:/+", "postgresql://", text)
    mend = "Write postgresql://user@host:port/database, or with ?schema=NAME for one store of several in a database"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise StoreError("this is no address of a database", "postgresql://...", mend) from error
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    schema = options.pop("schema", "public")
    database = unquote(parts.path.lstrip("/"))
    if not database or "/" in database or not _NAME.fullmatch(schema):
        raise StoreError("this is no address of a database", str(Server(text, database, "public")), mend)
    return Server(parts._replace(query=urlencode(options)).geturl(), database, schema)


def storage(address: str | Path) -> Path | Server:
    """`parse` for a store: an address of anything else is refused, since a file of that name would show the password.

    Raises:
        StoreError: as `parse`, and an address that is of no store.
    """
    if (other := _OTHER.match(str(address))) is not None and not _SERVER.match(str(address)):
        mend = "Give study.db, sqlite:///study.db or postgresql://user@host/database"
        raise StoreError("a store is an SQLite file or a PostgreSQL database", f"{other[1]}://...", mend)
    return parse(address)


def masked(text: str) -> str:
    """A text without the passwords of the addresses in it: a command line, say."""
    text = re.sub(r"(postgres\w*(?:\+\w+)?:/+[^\s:/@]*):[^\s@]*@", r"\1@", text)
    return re.sub(r"([?&]password=)[^\s&'\"]*", r"\1...", text)


def shown(address: str | Path) -> str:
    """An address as messages show it: a path as it was given, a server without its password."""
    found = parse(address)
    return str(found) if isinstance(found, Server) else str(address)
