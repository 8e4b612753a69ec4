"""The trials of a store as columns, kept in the same transaction as the rows, so that a large store is listed at once.

Rows are decoded one by one, which takes half a minute for a million; columns are decoded whole. `segments` holds columns of many
trials each, `loose` the ids of trials that changed since they were packed. A reader takes all segments, where a later one goes
before an earlier, and the loose rows before them all. A writer packs once `PACK` trials are loose, and takes into the new
segment those just before it that are not much larger: there are few segments, and each trial is packed few times (a
log-structured merge). Below `PACK` trials there is nothing of this: a small store has rows only.

The rows are the truth. A reader that finds other trials in the columns than in the rows reads the rows.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ..notation import QUANTITIES
from ..trial import Trial
from ..trials import Trials
from . import rows
from .tables import loose, segments, trials

__all__ = ["dissolve", "settle", "table"]

PACK = 1_000
CHUNK = 5_000
# Columns in the order of `Trials.from_trials`: before the scale, between the settings and the rest.
_FIRST = ("id", "task", "model")
_RESULTS = (
    *("seed", "status", "at_chance", "loss", "parameters", "embedding_parameters", "tokens", "compute"),
    *("initial_loss", "last_loss", "seconds"),
)
_NOTES = ("tags", "reason")


@dataclass(frozen=True, eq=False)
class Words:
    """A column of words: `codes` of shape (rows,) into `names`."""

    codes: NDArray[np.int32]
    names: list[str]


Column: TypeAlias = NDArray[np.float64] | Words


@dataclass(frozen=True, eq=False)
class Part:
    """Columns of some trials.

    Args:
        ids: the trials' ids as numbers, of shape (rows,).
        columns: the others by name.
        scale, hyper: which of them are settings of these trials.
    """

    ids: NDArray[np.uint64]
    columns: Mapping[str, Column]
    scale: frozenset[str]
    hyper: frozenset[str]


# ---- reading ------------------------------------------------------------------------------------------------------------


def table(connection: sa.Connection, source: str) -> tuple[Trials, NDArray[np.uint64]]:
    """Every trial as a table, and their ids as numbers, which the column `id` need not hold.

    The order is by task and model, then by scale, hyperparameters and seed; what lacks a setting comes last.

    The tags of a trial stand in `tags` with commas between, why it is left out in `reason`; where no trial has any, there is no
    such column. A trial that is left out has no loss here.
    """
    total = connection.execute(sa.select(sa.func.count()).select_from(trials)).scalar_one()
    parts = [*_segments(connection), *_loose(connection)] if rows.here(connection, segments) else []
    whole = _join(parts)
    if len(whole.ids) != total:
        whole = _join(list(_parts(connection, None)))
    return _arrange(whole, source)


def _segments(connection: sa.Connection, numbers: Sequence[int] | None = None) -> list[Part]:
    statement = sa.select(segments.c.content).order_by(segments.c.number)
    if numbers is not None:
        statement = statement.where(segments.c.number.in_(numbers))
    return [_decode(content) for content in connection.execute(statement).scalars()]


def _loose(connection: sa.Connection) -> Iterable[Part]:
    ids = list(connection.execute(sa.select(loose.c.id)).scalars())
    return _parts(connection, ids)


def _parts(connection: sa.Connection, ids: Sequence[str] | None) -> Iterable[Part]:
    """Columns of the rows with these ids, or of all."""
    for some in rows.chunks(rows.read_rows(connection, ids), CHUNK):
        marks = rows.marks(connection, [row["id"] for row in some])
        told = {"tags": [",".join(marks.get(row["id"], ())) for row in some], "reason": [row["reason"] or "" for row in some]}
        yield _part([rows.unpack(row) for row in some], {name: words for name, words in told.items() if any(words)})


def _part(found: Sequence[Trial], told: Mapping[str, Sequence[str]]) -> Part:
    made = Trials.from_trials(found)
    columns: dict[str, Column] = {
        name: _coded(column.tolist()) if column.dtype == object else column for name, column in made.columns.items()
    }
    if all(trial.id == name for trial, name in zip(found, made["id"].tolist(), strict=True)):
        del columns["id"]
    columns.update({name: _coded(words) for name, words in told.items()})
    scale = frozenset(name for trial in found for name in trial.spec.scale)
    hyper = frozenset(name for trial in found for name in trial.spec.hyperparameters)
    return Part(np.array([int(trial.id, 16) for trial in found], np.uint64), columns, scale, hyper - scale)


def _coded(words: Sequence[str]) -> Words:
    codes: dict[str, int] = {}
    return Words(np.array([codes.setdefault(each, len(codes)) for each in words], np.int32), list(codes))


# ---- joining ------------------------------------------------------------------------------------------------------------


def _join(parts: Sequence[Part]) -> Part:
    """All parts as one; of a trial that is in several, the last is kept."""
    if len(parts) == 1:
        return parts[0]
    ids = np.concatenate([np.empty(0, np.uint64), *(part.ids for part in parts)])
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns = {name: _stack([(_column(part, name), len(part.ids)) for part in parts]) for name in names}
    union = frozenset[str]()
    scale = union.union(*(part.scale for part in parts))
    whole = Part(ids, columns, scale, union.union(*(part.hyper for part in parts)) - scale)
    _, last = np.unique(ids[::-1], return_index=True)
    return whole if len(last) == len(ids) else _take(whole, np.sort(len(ids) - 1 - last))


def _column(part: Part, name: str) -> Column | None:
    return _named(part.ids) if name == "id" and name not in part.columns else part.columns.get(name)


def _named(ids: NDArray[np.uint64]) -> Words:
    """The ids as they are written; an imported run has a name of its own instead."""
    return Words(np.arange(len(ids), dtype=np.int32), [f"{each:016x}" for each in ids.tolist()])


def _stack(pieces: Sequence[tuple[Column | None, int]]) -> Column:
    """Columns under each other; a part that has no such column lacks all its values."""
    if not any(isinstance(piece, Words) for piece, _ in pieces):
        return np.concatenate([np.full(count, np.nan) if piece is None else piece for piece, count in pieces])  # pyright: ignore[reportArgumentType, reportCallIssue]
    codes: dict[str, int] = {}
    made: list[NDArray[np.int32]] = []
    for piece, count in pieces:
        words = piece if isinstance(piece, Words) else _coded([""] * count if piece is None else list(map(_word, piece.tolist())))
        new = np.array([codes.setdefault(name, len(codes)) for name in words.names], np.int32)
        made.append(new[words.codes] if len(new) else words.codes)
    return Words(np.concatenate(made), list(codes))


def _word(value: float) -> str:
    """A number as it reads among words; an empty text where it is missing."""
    return "" if value != value else str(int(value)) if value.is_integer() and abs(value) < 2**53 else str(value)


def _take(part: Part, places: NDArray[np.intp]) -> Part:
    columns = {
        name: Words(column.codes[places], column.names) if isinstance(column, Words) else column[places]
        for name, column in part.columns.items()
    }
    return Part(part.ids[places], columns, part.scale, part.hyper)


def _arrange(part: Part, source: str) -> tuple[Trials, NDArray[np.uint64]]:
    settings = (*sorted(part.scale), *sorted(part.hyper))
    always = {*_FIRST, *settings, *_RESULTS}
    # Of what is no more there may be columns without a value.
    kept = {name: column for name, column in part.columns.items() if name in always or _any(column)}
    part = Part(part.ids, kept, part.scale, part.hyper)
    part = _take(part, _order(part, settings))
    names = list(dict.fromkeys((*_FIRST, *settings, *_RESULTS, *part.columns)))
    names = [name for name in names if name not in _NOTES] + [name for name in _NOTES if name in part.columns]
    columns: dict[str, Any] = {}
    for name in names:
        column = _column(part, name)
        if column is not None:
            columns[name] = np.array(column.names, object)[column.codes] if isinstance(column, Words) else column
    for column in columns.values():
        column.flags.writeable = False  # it is nobody else's, so the table need not copy it
    if not len(part.ids):
        return Trials.from_trials((), source), part.ids
    return Trials(columns, source, hyper=tuple(name for name in sorted(part.hyper) if name not in QUANTITIES)), part.ids


def _any(column: Column) -> bool:
    if isinstance(column, Words):
        return any(column.names[code] for code in np.unique(column.codes))
    return not np.isnan(column).all()


def _order(part: Part, settings: Sequence[str]) -> NDArray[np.intp]:
    keys: list[NDArray[Any]] = []
    for name in ("task", "model", *settings, "seed"):
        column = part.columns.get(name)
        if column is None:
            continue
        key = _ranks(column) if isinstance(column, Words) else column
        if len(key) and not (key == key[0]).all():
            keys.append(key)
    return np.lexsort([part.ids, *reversed(keys)])


def _ranks(column: Words) -> NDArray[np.int32]:
    """Words in order: numbers by their size, then words, then what is missing."""

    def key(name: str) -> tuple[int, float, str]:
        try:
            return (0, float(name), name)
        except ValueError:
            return (1 if name else 2, 0.0, name)

    ranks = np.empty(len(column.names), np.int32)
    ranks[sorted(range(len(column.names)), key=lambda place: key(column.names[place]))] = np.arange(len(column.names))
    return ranks[column.codes]


# ---- writing ------------------------------------------------------------------------------------------------------------


def settle(connection: sa.Connection) -> None:
    """Pack what is loose where that is much; at the end of a transaction that wrote."""
    taken = connection.execute(sa.select(sa.func.count()).select_from(loose)).scalar_one()
    if taken < PACK:
        return
    numbers: list[int] = []
    last = 0
    for number, count in connection.execute(
        sa.select(segments.c.number, segments.c.rows).order_by(segments.c.number.desc())
    ).all():
        last = max(last, number)
        if count > 2 * taken:
            break
        numbers.append(number)
        taken += count
    whole = _join([*_segments(connection, numbers), *_loose(connection)])
    connection.execute(sa.delete(segments).where(segments.c.number.in_(numbers)))
    connection.execute(sa.insert(segments), {"number": last + 1, "rows": len(whole.ids), "content": _encode(whole)})
    connection.execute(sa.delete(loose))


def dissolve(connection: sa.Connection) -> None:
    """Drop all segments: every trial is loose. Before trials are taken out, of which segments know nothing."""
    if connection.execute(sa.delete(segments)).rowcount:
        connection.execute(sa.delete(loose))
        connection.execute(sa.insert(loose).from_select(["id"], sa.select(trials.c.id)))


def _encode(part: Part) -> bytes:
    """A segment: the length of a JSON head, the head, then each column compressed, little-endian."""
    blobs = [zlib.compress(part.ids.astype("<u8").tobytes(), 1)]
    head: list[dict[str, Any]] = []
    for name, column in part.columns.items():
        words = isinstance(column, Words)
        blobs.append(zlib.compress(column.codes.astype("<i4").tobytes() if words else column.astype("<f8").tobytes(), 1))
        head.append({"name": name, "bytes": len(blobs[-1]), **({"words": column.names} if words else {})})
    about = {"ids": len(blobs[0]), "columns": head, "scale": sorted(part.scale), "hyper": sorted(part.hyper)}
    text = json.dumps(about).encode()
    return b"".join([len(text).to_bytes(4, "little"), text, *blobs])


def _decode(content: bytes) -> Part:
    """The inverse of `_encode`."""
    start = 4 + int.from_bytes(content[:4], "little")
    about = json.loads(content[4:start])

    def numbers(size: int, kind: str) -> NDArray[Any]:
        nonlocal start
        start += size
        return np.frombuffer(zlib.decompress(content[start - size : start]), kind)

    ids = numbers(about["ids"], "<u8")
    columns: dict[str, Column] = {}
    for each in about["columns"]:
        if "words" in each:
            columns[each["name"]] = Words(numbers(each["bytes"], "<i4"), each["words"])
        else:
            columns[each["name"]] = numbers(each["bytes"], "<f8")
    return Part(ids, columns, frozenset(about["scale"]), frozenset(about["hyper"]))
