"""Rows: trials, curves and provenance in and out of the tables."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..trial import Curve, Origin, Status, Trial, TrialSpec
from . import packed
from .tables import curves, loose, provenance, tags, trials

__all__ = [
    "arrive",
    "chunks",
    "count",
    "exclusions",
    "find_curve",
    "here",
    "insert",
    "known",
    "marks",
    "origins",
    "read_curves",
    "read_rows",
    "read_trials",
    "runs",
    "statuses",
    "tell_origin",
    "touch",
    "unpack",
    "upsert",
]

REDO = (Status.FAILED.name, Status.LOST.name)
CHUNK = 500
_PLAIN = ("tokens", "compute", "compute_rule", "initial_loss", "diverged_step", "last_loss", "seconds", "error")
_COUNTS = ("parameters", "embedding_parameters")
T = TypeVar("T")


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    left = iter(items)
    while some := list(itertools.islice(left, size)):
        yield some


# ---- one row ------------------------------------------------------------------------------------------------------------


def pack(trial: Trial, source: str | None = None) -> dict[str, Any]:
    """The row of a trial in the table `trials`."""
    return {
        "id": trial.id,
        "spec": json.dumps(trial.spec.to_dict(), sort_keys=True),
        "status": trial.status.name,
        **{name: getattr(trial, name) for name in ("loss", *_PLAIN, *_COUNTS)},
        "at_chance": trial.at_chance,
        "metrics": json.dumps(dict(trial.metrics), sort_keys=True),
        "origin": trial.origin.name,
        "source": source,
    }


def unpack(row: Mapping[Any, Any], curve: Curve | None = None) -> Trial:
    """The inverse of `pack`. The loss of a trial that is left out is not told: it comes back when it is included again."""
    status = Status[row["status"]]
    return Trial(
        spec=TrialSpec.from_dict(json.loads(row["spec"])),
        status=status,
        loss=None if status is Status.EXCLUDED and row.get("before") else row["loss"],
        at_chance=bool(row["at_chance"]),
        metrics=json.loads(row["metrics"]),
        origin=Origin[row["origin"]],
        curve=curve,
        **{name: None if row[name] is None else int(row[name]) for name in _COUNTS},
        **{name: row[name] for name in _PLAIN},
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


# ---- reading ------------------------------------------------------------------------------------------------------------


def here(connection: sa.Connection, table: sa.Table) -> set[str]:
    """The columns that the database has of a table: fewer where it is older, none where it has no such table."""
    inspector = sa.inspect(connection)
    return {each["name"] for each in inspector.get_columns(table.name)} if inspector.has_table(table.name) else set()


def read_rows(connection: sa.Connection, ids: Sequence[str] | None = None) -> Iterator[sa.RowMapping]:
    """The rows of trials, of those with these ids or of all, in the order of their ids; a column that is not there is None."""
    there = here(connection, trials)
    columns = [column if column.name in there else sa.null().label(column.name) for column in trials.columns]
    statement = sa.select(*columns).order_by(trials.c.id)
    if ids is None:
        yield from connection.execute(statement).mappings()
        return
    for some in chunks(sorted(ids)):
        yield from connection.execute(statement.where(trials.c.id.in_(some))).mappings()


def read_trials(connection: sa.Connection, ids: Sequence[str] | None = None, *, with_curves: bool = True) -> Iterator[Trial]:
    """Trials in the order of their ids: those with these ids, or all."""
    for some in chunks(read_rows(connection, ids)):
        found: dict[str, Curve] = {}
        if with_curves:
            found = read_curves(connection, [row["id"] for row in some])
        for row in some:
            yield unpack(row, found.get(row["id"]))


def read_curves(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Curve]:
    """The curves of the loss by id."""
    statement = sa.select(curves).where(curves.c.metric == "loss", curves.c.id.in_(ids))
    return {row.id: unpack_curve(row) for row in connection.execute(statement)}


def find_curve(connection: sa.Connection, trial_id: str) -> tuple[Curve | None, bool]:
    """A trial's curve, and whether there is such a trial."""
    found = read_curves(connection, [trial_id]).get(trial_id)
    known = found is not None or connection.execute(sa.select(trials.c.id).where(trials.c.id == trial_id)).first() is not None
    return found, known


def statuses(connection: sa.Connection) -> dict[str, Status]:
    """How each trial ended, by id."""
    names = {each.name: each for each in Status}
    return {key: names[status] for key, status in connection.execute(sa.select(trials.c.id, trials.c.status))}


def count(connection: sa.Connection) -> int:
    """How many trials there are."""
    return connection.execute(sa.select(sa.func.count()).select_from(trials)).scalar_one()


def known(connection: sa.Connection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that there are trials of."""
    return {key for some in chunks(ids) for key in connection.scalars(sa.select(trials.c.id).where(trials.c.id.in_(some)))}


def exclusions(connection: sa.Connection) -> dict[str, str]:
    """Why trials are left out, by id."""
    if "reason" not in here(connection, trials):
        return {}
    statement = sa.select(trials.c.id, trials.c.reason).where(trials.c.reason.is_not(None)).order_by(trials.c.id)
    return {row.id: row.reason for row in connection.execute(statement)}


def origins(connection: sa.Connection, ids: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """The provenance of imported trials by id: of those with these ids, or of all."""
    if not here(connection, provenance):
        return {}
    statement = sa.select(provenance.c.id, provenance.c.document)
    if ids is not None:
        statement = statement.where(provenance.c.id.in_(ids))
    return {key: json.loads(document) for key, document in connection.execute(statement)}


def marks(connection: sa.Connection, ids: Sequence[str]) -> dict[str, list[str]]:
    """The tags of the trials with these ids, sorted; trials without any are left out."""
    found: dict[str, list[str]] = {}
    if here(connection, tags):
        for some in chunks(ids):
            statement = sa.select(tags.c.id, tags.c.tag).where(tags.c.id.in_(some)).order_by(tags.c.tag)
            for key, tag in connection.execute(statement):
                found.setdefault(key, []).append(tag)
    return found


def runs(connection: sa.Connection, ids: Sequence[str]) -> dict[str, str | None]:
    """What the runs of imported trials are known by, by id."""
    if not here(connection, provenance):
        return {}
    statement = sa.select(provenance.c.id, provenance.c.run).where(provenance.c.id.in_(ids))
    return {row.id: row.run for row in connection.execute(statement)}


# ---- writing ------------------------------------------------------------------------------------------------------------


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An insert of this database's kind, which can say what to do about a row that is there already."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _upsert(connection: sa.Connection) -> Any:
    statement = insert(connection, trials)
    kept = ("id", "reason", "before")
    values = {column.name: statement.excluded[column.name] for column in trials.columns if column.name not in kept}
    new = statement.excluded["status"]
    better = ~_is(new, *REDO) | _is(statement.excluded["origin"], Origin.TRAINED.name)
    # A run that was still running when it was imported has ended since.
    running = _is(trials.c.status, Status.PRUNED.name) & _is(trials.c.origin, Origin.IMPORTED.name)
    ended = ~_is(new, *REDO, Status.PRUNED.name)
    unsettled = (_is(trials.c.status, *REDO) & better) | (running & ended)
    statement = statement.on_conflict_do_update(index_elements=["id"], set_=values, where=unsettled)
    return statement.returning(trials.c.id)


def _is(column: Any, *names: str) -> sa.ColumnElement[bool]:
    """Whether a column is one of the names, written into the statement: parameters there would keep rows from going together."""
    return sa.or_(*(column == sa.literal_column(f"'{name}'") for name in names))


def upsert(
    connection: sa.Connection, found: Iterable[Trial], source: str | Mapping[str, str | None] | None = None
) -> Iterator[Trial]:
    """Write trials unless a finished one stands there. Yields those that were written, in their order.

    `source` is where they come from: of all, or by id.

    A FAILED or LOST one is replaced by whatever came of training it again, and by an import only where that knows better.
    """
    statement = _upsert(connection)
    for some in chunks(found):
        while some:
            first = {trial.id: trial for trial in reversed(some)}  # one statement cannot write a row twice
            now = [trial for trial in some if first[trial.id] is trial]
            rows = [pack(trial, source.get(trial.id) if isinstance(source, Mapping) else source) for trial in now]
            written = set(connection.execute(statement, rows).scalars()) if rows else set[str]()
            changed = [trial for trial in now if trial.id in written]
            _put_curves(connection, changed)
            touch(connection, [trial.id for trial in changed])
            yield from changed
            some = [trial for trial in some if first[trial.id] is not trial]


def _put_curves(connection: sa.Connection, found: Sequence[Trial]) -> None:
    if not found:
        return
    connection.execute(sa.delete(curves).where(curves.c.id.in_([trial.id for trial in found])))
    rows = [pack_curve(trial.id, trial.curve.steps, trial.curve.losses) for trial in found if trial.curve is not None]
    if rows:
        connection.execute(sa.insert(curves), rows)


def touch(connection: sa.Connection, ids: Collection[str]) -> None:
    """Note that these trials are no longer what the packed columns say."""
    if ids:
        statement = insert(connection, loose).on_conflict_do_nothing()
        connection.execute(statement, [{"id": key} for key in ids])


def arrive(connection: sa.Connection, trial: Trial, curve: tuple[Any, Any] | None, origin: Mapping[str, Any]) -> bool:
    """Write an imported trial with its curve and where it comes from. Returns whether it was written.

    A run that was known under other settings, because it had not ended, makes way; its tags stay.
    """
    run = None if origin.get("run") is None else f"{origin['importer']}:{trial.spec.task}:{origin['run']}"
    marks: list[str] = []
    if run is not None:
        same = sa.select(trials.c.id, trials.c.status).join(provenance).where(provenance.c.run == run, trials.c.id != trial.id)
        for old in connection.execute(same).all():
            if old.status not in (*REDO, Status.PRUNED.name):
                return False
            marks += connection.execute(sa.select(tags.c.tag).where(tags.c.id == old.id)).scalars()
            forget(connection, old.id)
    if not list(upsert(connection, [trial], origin.get("place"))):
        return False
    if curve is not None:
        connection.execute(sa.insert(curves), pack_curve(trial.id, *curve))
    tell_origin(connection, trial.id, run, origin)
    if marks:
        statement = insert(connection, tags).on_conflict_do_nothing()
        connection.execute(statement, [{"id": trial.id, "tag": mark} for mark in marks])
    return True


def tell_origin(connection: sa.Connection, trial_id: str, run: str | None, origin: Mapping[str, Any]) -> None:
    """Write where an imported trial comes from; `run` is what the run is known by."""
    connection.execute(sa.delete(provenance).where(provenance.c.id == trial_id))
    connection.execute(sa.insert(provenance), {"id": trial_id, "run": run, "document": json.dumps(origin)})


def forget(connection: sa.Connection, trial_id: str) -> None:
    """Take a trial out, with all that belongs to it."""
    packed.dissolve(connection)
    for table in (loose, tags, curves, provenance):
        connection.execute(sa.delete(table).where(table.c.id == trial_id))
    connection.execute(sa.delete(trials).where(trials.c.id == trial_id))
