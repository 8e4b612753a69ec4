"""Weights & Biases run folders on disk, offline or synced: `wandb/offline-run-*/run-ID.wandb`."""

from __future__ import annotations

import contextlib
import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..trial import Status
from ._columns import as_number
from ._files import find, has, read_bytes
from ._reading import Reading, TrackedRun
from ._tracked import Tracker, flat
from ._wire import fields, signed, varint, zigzag
from ._xaxis import by_row

__all__ = ["WandbOffline"]

MAGIC = b":W&B"
_HEADER, _BLOCK = 7, 32_768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
# Field numbers in W&B's record (wandb_internal.proto).
_HISTORY, _SUMMARY, _CONFIG, _RUN, _EXIT, _PREEMPTING = 2, 3, 5, 17, 18, 23


class WandbOffline(Tracker):
    """The log that W&B writes beside a run: blocks of 32 KiB as in LevelDB, holding one protocol buffer per record.

    Read with the standard library; nothing of W&B is needed and nothing leaves this machine. How a run ended is its exit record:
    without one it was killed, or is still going, and is LOST until it is imported again. A log that is cut off is read up to
    there, and one that holds nothing is left out. Where a run logs its own step (`train/global_step`, `iter`, ...) that is the
    step, else W&B's.
    """

    name = "wandb_offline"
    summary = "W&B run folders (wandb/offline-run-*), read without W&B"

    def recognises(self, path: Path) -> bool:
        """By the file's first bytes, or a folder by the logs in it."""
        if path.is_dir():
            return has(path, "run-*.wandb")
        with contextlib.suppress(OSError), path.open("rb") as stream:
            return path.is_file() and stream.read(len(MAGIC)) == MAGIC
        return False

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """A run per log; a resumed run has several."""
        files = find(path, "run-*.wandb") if path.is_dir() else [path]
        # offline-run-DATE_TIME-ID: the parts of a resumed run in the order of their times.
        files.sort(key=lambda file: (file.parent.name.removeprefix("offline-"), file))
        for _, run in reading.attempt(files, _run):
            yield run


@dataclass(eq=False)
class _Log:
    """What the records of a log say."""

    id: str = ""
    name: str | None = None
    project: str | None = None
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    summaries: list[bytes] = field(default_factory=list[bytes])
    rows: list[float] = field(default_factory=list[float])
    metrics: dict[bytes, tuple[list[int], list[float]]] = field(default_factory=dict[bytes, tuple[list[int], list[float]]])
    exit: int | None = None
    seconds: float | None = None
    preempted: bool = False


def _run(file: Path) -> TrackedRun:
    data = read_bytes(file)
    if data[: len(MAGIC)] != MAGIC:
        what = "the file is empty" if not data else "this is not a W&B log"
        raise DataError(what, str(file), "Give a run-*.wandb file that W&B wrote, or leave it out")
    log, notes = _Log(), []
    broken = 0
    for record in _frames(data):
        try:
            if record is None:
                raise ValueError
            _take(log, record)
        except (ValueError, IndexError, struct.error):
            broken += 1
    if broken:
        notes.append(f"{file.name} is cut off or damaged: the {len(log.rows)} rows that can be read are taken.")
    if not log.id:
        raise DataError("the log ends before it says which run it is", str(file), "Leave this run out")
    series, seconds = by_row(log.rows, {name.decode("utf-8", "replace"): pair for name, pair in log.metrics.items()})
    status, error = _ended(log)
    return TrackedRun(
        log.id,
        str(file),
        flat({name: value for name, value in log.config.items() if name != "_wandb"}),
        series,
        {name: value for name, value in _summary(log).items() if name not in series},
        status,
        log.project,
        log.name,
        log.seconds if log.seconds else seconds,
        error,
        notes=tuple(notes),
    )


def _ended(log: _Log) -> tuple[Status, str | None]:
    if log.exit == 0:
        return Status.COMPLETE, None
    if log.preempted:
        return Status.LOST, "preempted"
    if log.exit is None:
        return Status.LOST, "no exit record: the run was killed, or is still going"
    return Status.FAILED, f"exit code {log.exit}"


def _frames(data: bytes) -> Iterator[bytes | None]:
    """The records of the log; None once for each stretch that cannot be read."""
    at, end = _HEADER, len(data)
    parts: list[bytes] = []
    while at < end:
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left
            continue
        if at + _HEADER > end:
            yield None
            return
        crc, size, kind = struct.unpack_from("<IHB", data, at)
        chunk = data[at + _HEADER : at + _HEADER + size]
        if kind == 0 and size == 0 and crc == 0:  # room that was set aside
            at += left
            continue
        if size > left - _HEADER or len(chunk) < size or zlib.crc32(chunk, zlib.crc32(bytes((kind,)))) != crc:
            yield None
            parts, at = [], at + left
            continue
        at += _HEADER + size
        if kind == _FULL:
            yield chunk
        elif kind == _FIRST:
            parts = [chunk]
        elif parts:
            parts.append(chunk)
            if kind == _LAST:
                yield b"".join(parts)
                parts = []
    if parts:
        yield None


def _take(log: _Log, record: bytes) -> None:
    for number, value in fields(record):
        if not isinstance(value, bytes):
            continue
        if number == _HISTORY:
            _history(log, value)
        elif number == _SUMMARY:
            log.summaries = [*log.summaries[-7:], value]
        elif number == _CONFIG:
            _update(log.config, value)
        elif number == _RUN:
            _about(log, value)
        elif number == _EXIT:
            told = dict(fields(value))
            log.exit, runtime = signed(int(told.get(1, 0))), told.get(2, 0)
            log.seconds = float(runtime) if isinstance(runtime, int) else None
        elif number == _PREEMPTING:
            log.preempted = True


def _about(log: _Log, value: bytes) -> None:
    for number, each in fields(value):
        if not isinstance(each, bytes):
            continue
        if number == 4:
            _update(log.config, each)
        elif number in (1, 3, 8):
            text = each.decode("utf-8", "replace")
            log.id, log.project, log.name = (
                text if number == 1 else log.id,
                text if number == 3 else log.project,
                text if number == 8 else log.name,
            )


def _history(log: _Log, data: bytes) -> None:
    """A row of metrics."""
    row, step = len(log.rows), math.nan
    at, end = 0, len(data)
    while at < end:
        tag, size = data[at], data[at + 1]
        at += 2
        if tag & 0x80:  # a field number over 15: nothing that is needed
            break
        if size & 0x80:
            size, at = varint(data, at - 1)
        stop = at + size
        if tag == 0x0A:
            key, value = _item(data, at, stop)
            if value is not None:
                pair = log.metrics.get(key)
                if pair is None:
                    pair = log.metrics[key] = ([], [])
                pair[0].append(row)
                pair[1].append(value)
        elif tag == 0x12:  # the step's own record; a 0 is not written
            step = float(signed(varint(data, at + 1)[0])) if size and data[at] == 0x08 else 0.0
        at = stop
    log.rows.append(step)


def _item(data: bytes, at: int, stop: int) -> tuple[bytes, float | None]:
    """A metric's name and number. The common shape, a short key and a short number in JSON, is seen to first: the hot path."""
    after = at + 2 + data[at + 1]
    size = data[after + 2] if after + 2 < stop else 0
    if data[at] in (0x0A, 0x12) and data[after : after + 2] == b"\x82\x01" and after + 3 + size == stop:
        try:
            return data[at + 2 : after], float(data[after + 3 : stop])
        except ValueError:
            return data[at + 2 : after], _number(data[after + 3 : stop])
    return _rare(data[at:stop])


def _number(raw: bytes) -> float | None:
    """The number in JSON, with the words that W&B has for what JSON has none for."""
    if raw.strip(b'"') in (b"NaN", b"Infinity", b"-Infinity"):
        return float(raw.strip(b'"'))
    with contextlib.suppress(ValueError, RecursionError):
        return as_number(json.loads(raw))
    return None


def _rare(data: bytes) -> tuple[bytes, float | None]:
    """An item of any shape: a nested key, a long text, or a typed value of newer W&B."""
    keys: list[bytes] = []
    value: float | None = None
    for number, each in fields(data):
        if isinstance(each, bytes):
            if number in (1, 2):
                keys.append(each)
            elif number == 16:
                value = _number(each)
            elif number == 6:
                value = struct.unpack("<d", each)[0]
        elif number in (4, 5):
            value = float(each if number == 4 else zigzag(each))
    return b".".join(keys), value


def _update(config: dict[str, Any], data: bytes) -> None:
    """What a record sets, by its key or path of keys, and what it removes."""
    for number, each in fields(data):
        if number not in (1, 2) or not isinstance(each, bytes):
            continue
        keys: list[str] = []
        value: Any = None
        for part, inner in fields(each):
            if isinstance(inner, bytes) and part in (1, 2):
                keys.append(inner.decode("utf-8", "replace"))
            elif isinstance(inner, bytes) and part == 16:
                with contextlib.suppress(ValueError, RecursionError):
                    value = json.loads(inner)
        if number == 1:
            config[".".join(keys)] = value
        else:
            config.pop(".".join(keys), None)


def _summary(log: _Log) -> dict[str, float]:
    """Numbers that were only summarised, not logged step by step."""
    found: dict[str, Any] = {}
    for each in log.summaries:
        with contextlib.suppress(ValueError):
            _update(found, each)
    numbers = {name: as_number(value) for name, value in flat(found).items() if not name.startswith("_")}
    return {name: number for name, number in numbers.items() if number is not None}
