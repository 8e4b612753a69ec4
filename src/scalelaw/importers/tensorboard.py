"""TensorBoard event files: `events.out.tfevents.*`."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ._crc import crc32c
from ._files import find, has, labels, read_bytes, read_text
from ._reading import Reading, Series, TrackedRun, fingerprint
from ._tracked import Tracker, flat
from ._wire import fields, signed
from ._yaml import read_yaml

__all__ = ["TensorBoard"]

PATTERN = "*tfevents*"
# Types of a tensor's elements (tensorflow/core/framework/types.proto): field of single values, format of raw bytes.
_TYPES = {1: (5, "<f4"), 2: (6, "<f8"), 3: (7, "<i4"), 9: (10, "<i8"), 19: (13, "<f2")}
_LONGEST_EVENT = 2**26


class TensorBoard(Tracker):
    """Event files: frames of (length, checksum, data, checksum), each one protocol buffer.

    Every scalar is read: none is left out by sampling, whether it was written as a simple value or as a tensor. Each folder with
    event files is a run; its files are read in the order of their names, and where steps go back the run was restarted. Settings
    come from the hparams plugin, also where its writer put them in a folder of their own, and from `hparams.yaml` beside.
    """

    name = "tensorboard"
    summary = "TensorBoard event files (events.out.tfevents.*) or folders with them"
    turn = 1

    def recognises(self, path: Path) -> bool:
        """By the files' names, and the first frame of a single file."""
        if path.is_dir():
            return has(path, PATTERN)
        with contextlib.suppress(OSError), path.open("rb") as stream:
            head = stream.read(12)
            return len(head) == 12 and "tfevents" in path.name and _masked(head[:8]) == struct.unpack("<I", head[8:])[0]
        return False

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """A run per folder."""
        files = find(path, PATTERN) if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        parts: dict[Path, list[_Log]] = {}
        for file, log in reading.attempt(files, _read):
            parts.setdefault(file.parent, []).append(log)
        settings: dict[Path, dict[str, Any]] = {}
        for folder, logs in parts.items():
            # A writer of hyperparameters opens a folder of its own for them, below that of its run.
            alone = not any(len(name) for log in logs for name in log.series if not name.startswith("hparam/"))
            owner = folder.parent if alone and folder.parent in parts else folder
            for log in logs:
                settings.setdefault(owner, {}).update(log.settings)
        kept = [folder for folder, logs in parts.items() if any(log.series for log in logs) and not _beside(folder, parts)]
        for folder, label in zip(kept, labels(root, kept), strict=True):
            config = {**_hparams(folder), **settings.get(folder, {})}
            mark = fingerprint(next((log.series for log in parts[folder] if log.series), {}))
            for log in parts[folder]:
                notes = (f"{log.file.name} is cut off or damaged: what stands before is read.",) if log.broken else ()
                seconds = log.last - log.first if log.last > log.first else None
                yield TrackedRun(f"{label}-{mark}", str(folder), config, log.series, name=label, seconds=seconds, notes=notes)


def _beside(folder: Path, parts: Mapping[Path, list[_Log]]) -> bool:
    """Whether a folder holds the settings of the run above it, and no run of its own."""
    logs = parts[folder]
    return (
        folder.parent in parts
        and any(log.settings for log in logs)
        and all(name.startswith("hparam/") or len(series.steps) < 2 for log in logs for name, series in log.series.items())
    )


def _hparams(folder: Path) -> dict[str, Any]:
    file = folder / "hparams.yaml"
    return flat(read_yaml(read_text(file, 2**22))) if file.is_file() and not file.is_symlink() else {}


@dataclass(eq=False)
class _Log:
    """What a file says."""

    file: Path
    points: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict[str, tuple[list[int], list[float]]])
    series: dict[str, Series] = field(default_factory=dict[str, Series])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    first: float = 0.0
    last: float = 0.0
    broken: bool = False


def _read(file: Path) -> _Log:
    log, events = _Log(file), 0
    for data in _frames(read_bytes(file)):
        if data is None:
            log.broken = True
            break
        events += 1
        try:
            _event(log, data)
        except (ValueError, IndexError, struct.error):
            log.broken = True
    if not events:
        raise DataError("this is not an event file, or it is empty", str(file), "Leave it out, or give a folder of runs")
    log.series = {name: Series.of(steps, values) for name, (steps, values) in log.points.items()}
    return log


def _masked(data: bytes) -> int:
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _frames(data: bytes) -> Iterator[bytes | None]:
    """The events; None where a checksum is wrong or the file ends within a frame, after which nothing can be trusted."""
    at, end = 0, len(data)
    while at < end:
        if at + 12 > end:
            yield None
            return
        size, crc = struct.unpack_from("<QI", data, at)
        stop = at + 12 + size
        if _masked(data[at : at + 8]) != crc or size > _LONGEST_EVENT or stop + 4 > end:
            yield None
            return
        event = data[at + 12 : stop]
        if _masked(event) != struct.unpack_from("<I", data, stop)[0]:
            yield None
            return
        yield event
        at = stop + 4


def _event(log: _Log, data: bytes) -> None:
    step, summary = 0, b""
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            log.last = struct.unpack("<d", value)[0]
            log.first = log.first or log.last
        elif number == 2 and isinstance(value, int):
            step = signed(value)
        elif number == 5 and isinstance(value, bytes):
            summary = value
    for number, value in fields(summary):
        if number == 1 and isinstance(value, bytes):
            _value(log, step, value)


def _value(log: _Log, step: int, data: bytes) -> None:
    tag, number = "", None
    for field_number, value in fields(data):
        if not isinstance(value, bytes):
            continue
        if field_number == 1:
            tag = value.decode("utf-8", "replace")
        elif field_number == 2:
            number = struct.unpack("<f", value)[0]
        elif field_number == 8:
            number = _scalar(value)
        elif field_number == 9:
            _metadata(log, value)
    if number is not None and not tag.startswith("_hparams_"):
        steps, values = log.points.setdefault(tag, ([], []))
        steps.append(step)
        values.append(number)


def _scalar(data: bytes) -> float | None:
    """The number of a tensor that holds one; None for any other."""
    told = dict(fields(data))
    kind = told.get(1, 0)
    if kind not in _TYPES:
        return None
    place, layout = _TYPES[int(kind)]
    raw, single = told.get(4), told.get(place)
    width = np.dtype(layout).itemsize
    if isinstance(raw, bytes) and len(raw) == width:
        return float(np.frombuffer(raw, dtype=layout)[0])
    if isinstance(single, bytes) and place in (5, 6) and len(single) == width:
        return float(np.frombuffer(single, dtype=layout)[0])
    if isinstance(single, bytes) and place in (7, 10) and len(single) == 1:
        return float(single[0])
    return float(signed(single)) if isinstance(single, int) and place in (7, 10) else None


def _metadata(log: _Log, data: bytes) -> None:
    """Settings, where the value is one of the hparams plugin: SummaryMetadata.plugin_data.content.session_start_info.hparams."""
    plugin = dict(fields(_bytes(data, 1)))
    if plugin.get(1) != b"hparams":
        return
    content = plugin.get(2)
    for number, entry in fields(_bytes(content if isinstance(content, bytes) else b"", 3)):
        if number != 1 or not isinstance(entry, bytes):
            continue
        pair = dict(fields(entry))
        name, value = pair.get(1), pair.get(2)
        if isinstance(name, bytes) and isinstance(value, bytes):
            log.settings[name.decode("utf-8", "replace")] = _setting(value)


def _setting(data: bytes) -> Any:
    """A google.protobuf.Value: a number, a text or a truth value."""
    for number, value in fields(data):
        if number == 2 and isinstance(value, bytes):
            return struct.unpack("<d", value)[0]
        if number == 3 and isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if number == 4:
            return bool(value)
    return None


def _bytes(data: bytes, number: int) -> bytes:
    found = dict(fields(data)).get(number)
    return found if isinstance(found, bytes) else b""
