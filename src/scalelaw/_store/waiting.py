"""Trials that somebody wants trained: a queue, and who is training which. For programs that ask for one trial after another."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ..trial import Status, TrialSpec
from . import rows
from .lock import is_gone, own
from .tables import trials, waiting

__all__ = ["busy", "claim", "claims", "enqueue", "give_back", "settle"]

REDO = (Status.FAILED.name, Status.LOST.name)


def enqueue(connection: sa.Connection, specs: Iterable[TrialSpec]) -> int:
    """Put trials at the end of the queue; returns how many were not waiting or finished already."""
    known = _finished(connection) | {row.id for row in connection.execute(sa.select(waiting.c.id))}
    last = connection.execute(sa.select(sa.func.max(waiting.c.rank))).scalar() or 0
    new = [spec for spec in dict.fromkeys(specs) if spec.id not in known]
    added = [
        {"id": spec.id, "spec": json.dumps(spec.to_dict(), sort_keys=True), "rank": last + place, "owner": None, "since": None}
        for place, spec in enumerate(new, 1)
    ]
    if added:
        connection.execute(sa.insert(waiting), added)
    return len(added)


def claim(
    connection: sa.Connection, specs: Iterable[TrialSpec], count: int, lease: float, without: Collection[str] = ()
) -> list[TrialSpec]:
    """Take trials that nobody trains: those in the queue, in their order, then those of `specs` that have no result.

    Args:
        lease: seconds after which the claim of another machine's process lapses; of this one's it does as the process ends.
        without: ids of trials that are not wanted.
    """
    me, now = json.dumps(own()), time.time()
    taken: dict[str, TrialSpec] = {}
    left_out = {*_finished(connection), *without, *busy(connection, lease)}
    statement = sa.select(waiting).where(waiting.c.rank.is_not(None)).order_by(waiting.c.rank)
    for row in connection.execute(statement).all():
        if row.id not in left_out and len(taken) < count:
            taken[row.id] = TrialSpec.from_dict(json.loads(row.spec))
    for spec in specs:
        if len(taken) >= count:
            break
        if spec.id not in left_out:
            taken.setdefault(spec.id, spec)
    _take(connection, taken, me, now)
    return list(taken.values())


def busy(connection: sa.Connection, lease: float) -> set[str]:
    """The ids of trials that some process has claimed and not told of; `lease` as in `claim`."""
    now = time.time()
    claimed = connection.execute(sa.select(waiting).where(waiting.c.owner.is_not(None))).all()
    return {row.id for row in claimed if not _lapsed(row, lease, now)}


def _take(connection: sa.Connection, taken: Mapping[str, TrialSpec], me: str, now: float) -> None:
    if not taken:
        return
    statement = rows.insert(connection, waiting)
    owned = {"owner": statement.excluded["owner"], "since": statement.excluded["since"]}
    statement = statement.on_conflict_do_update(index_elements=["id"], set_=owned)
    new = [
        {"id": key, "spec": json.dumps(spec.to_dict(), sort_keys=True), "rank": None, "owner": me, "since": now}
        for key, spec in taken.items()
    ]
    connection.execute(statement, new)


def claims(connection: sa.Connection) -> dict[str, TrialSpec]:
    """The trials that this process has asked for and not told of, by id."""
    me = own()
    found: dict[str, TrialSpec] = {}
    for row in connection.execute(sa.select(waiting).where(waiting.c.owner.is_not(None))):
        owner = json.loads(row.owner)
        if all(owner.get(key) == me[key] for key in ("host", "boot", "namespace", "pid", "began")):
            found[row.id] = TrialSpec.from_dict(json.loads(row.spec))
    return found


def settle(connection: sa.Connection, ids: Sequence[str]) -> None:
    """These trials have their results."""
    for some in rows.chunks(ids):
        connection.execute(sa.delete(waiting).where(waiting.c.id.in_(some)))


def give_back(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Let others take these trials: a queued one keeps its place, another is a hole of its study again."""
    for some in rows.chunks(ids):
        there = waiting.c.id.in_(some)
        connection.execute(sa.delete(waiting).where(there, waiting.c.rank.is_(None)))
        connection.execute(sa.update(waiting).where(there).values(owner=None, since=None))


def _finished(connection: sa.Connection) -> set[str]:
    return set(connection.execute(sa.select(trials.c.id).where(trials.c.status.not_in(REDO))).scalars())


def _lapsed(row: Any, lease: float, now: float) -> bool:
    """Whether a claim's process is gone; of another machine's nobody can tell, so it has a lease. A clock set back ends none."""
    gone = is_gone(json.loads(row.owner))
    return now - float(row.since or 0.0) > lease if gone is None else gone
