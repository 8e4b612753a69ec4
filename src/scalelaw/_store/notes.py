"""What people say of trials: tags, and which are left out of every analysis, and why."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ..errors import StoreError, UnknownNameError
from ..trial import Status
from . import packed, rows
from .tables import tags, trials

__all__ = ["exclude", "include", "set_tags"]

LONGEST = 64


def set_tags(connection: sa.Connection, ids: Sequence[str], names: Sequence[str], *, there: bool, place: str) -> int:
    """Give trials tags, or take them away; returns how many trials changed.

    Raises:
        StoreError: a name that cannot be told from others in a list. UnknownNameError: an id.
    """
    for name in names:
        if not (name == name.strip() and name.isprintable() and 0 < len(name) <= LONGEST) or any(sign in name for sign in ",'\""):
            mend = f"Use up to {LONGEST} letters, without comma or quotation mark"
            raise StoreError(f"{name!r} cannot be a tag", place, mend)
    _known(connection, ids, place)
    changed: set[str] = set()
    for some in rows.chunks(ids):
        held = rows.marks(connection, some)
        for name in names:
            other = [key for key in some if (name in held.get(key, ())) is not there]
            if other and there:
                connection.execute(sa.insert(tags), [{"id": key, "tag": name} for key in other])
            elif other:
                connection.execute(sa.delete(tags).where(tags.c.tag == name, tags.c.id.in_(other)))
            changed.update(other)
    _changed(connection, changed)
    return len(changed)


def exclude(connection: sa.Connection, ids: Sequence[str], reason: str, place: str) -> int:
    """Leave trials out of every analysis, or give another reason for those that are; returns how many changed.

    Raises:
        StoreError: no reason. UnknownNameError: an id.
    """
    if not reason.strip():
        raise StoreError("there is no reason", place, "Say why: it stands with the trials for whoever comes later")
    _known(connection, ids, place)
    left_out = Status.EXCLUDED.name
    before = sa.case((trials.c.status == left_out, trials.c.before), else_=trials.c.status)
    other = sa.or_(trials.c.status != left_out, trials.c.reason.is_(None), trials.c.reason != reason)
    return _update(connection, ids, sa.update(trials).values(before=before, status=left_out, reason=reason).where(other))


def include(connection: sa.Connection, ids: Sequence[str], place: str) -> int:
    """Make trials that are left out what they were before; returns how many changed. Raises UnknownNameError for an id."""
    _known(connection, ids, place)
    statement = sa.update(trials).values(status=trials.c.before, before=None, reason=None).where(trials.c.before.is_not(None))
    return _update(connection, ids, statement)


def _update(connection: sa.Connection, ids: Sequence[str], statement: sa.Update) -> int:
    changed: list[str] = []
    for some in rows.chunks(ids):
        changed += connection.execute(statement.where(trials.c.id.in_(some)).returning(trials.c.id)).scalars()
    _changed(connection, changed)
    return len(changed)


def _changed(connection: sa.Connection, ids: Sequence[str] | set[str]) -> None:
    rows.touch(connection, ids)
    packed.settle(connection)


def _known(connection: sa.Connection, ids: Sequence[str], place: str) -> None:
    found = rows.known(connection, ids)
    missing = next((key for key in ids if key not in found), None)
    if missing is not None:
        raise UnknownNameError("trial", missing, sorted(found)[:5], place)
