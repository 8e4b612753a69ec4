"""What importers pass on: how to read, runs as their tracker holds them, and what was found."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..curves import after_restarts
from ..errors import DataError
from ..trial import Status
from ..trials import Trials
from ._final import DEFAULT, FinalRule

__all__ = ["Found", "Reading", "Series", "TrackedRun", "fingerprint"]

Array: TypeAlias = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """How to read a source.

    Args:
        mapping: column of the source by quantity; `step` is known here besides the quantities.
        keep: columns to keep although no quantity claims them.
        final: the rule for the final loss of a curve.
        pattern: a regular expression with named groups for the lines of a plain log.
        on_progress: called with (runs read, runs in all).
        skipped: filled while reading: what was wrong with files that were passed over because others beside them are sound.
    """

    mapping: Mapping[str, str] = field(default_factory=dict[str, str])
    keep: Collection[str] = ()
    final: FinalRule = DEFAULT
    pattern: str | None = None
    on_progress: Callable[[int, int], None] | None = None
    skipped: list[DataError] = field(default_factory=list[DataError])

    def each(self, items: Sequence[T]) -> Iterator[T]:
        """The items, telling how far it is."""
        for place, item in enumerate(items):
            yield item
            if self.on_progress is not None:
                self.on_progress(place + 1, len(items))

    def attempt(self, files: Sequence[Path], read: Callable[[Path], T]) -> Iterator[tuple[Path, T]]:
        """The files with what is read from each. One that cannot be read is passed over, unless it is the only one.

        Raises:
            DataError: of the only file.
        """
        for file in self.each(files):
            try:
                found = read(file)
            except DataError as error:
                if len(files) == 1:
                    raise
                self.skipped.append(error)
                continue
            yield file, found


@dataclass(frozen=True, eq=False)
class Series:
    """One metric of a run: `(n,)` steps and values, in the order in which they were written."""

    steps: Array
    values: Array

    @classmethod
    def of(cls, steps: Any, values: Any) -> Series:
        """From any two sequences of numbers."""
        return cls(np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64))

    def then(self, other: Series) -> Series:
        """This one, carried on by another."""
        return Series(np.concatenate([self.steps, other.steps]), np.concatenate([self.values, other.values]))

    def merged(self) -> tuple[Series, int]:
        """Ascending steps, where a step that was written again counts as it was written last; and how often steps went back."""
        known = np.isfinite(self.steps)
        steps, values = self.steps[known], self.values[known]
        kept, back = after_restarts(steps)
        return Series(steps[kept], values[kept]), back


@dataclass(frozen=True, eq=False)
class TrackedRun:
    """One run as its tracker holds it. Runs of one id are parts of one run, in order.

    Args:
        id: what the tracker calls it; the same on every reading.
        place: the file or folder, for messages.
        config: settings; an object in an object is `outer.inner`.
        series: metrics with a history.
        summary: metrics of which only one value is known.
        status: how it ended; None where the source does not say.
        group: the project or experiment it belongs to.
        name: what people call it.
        seconds: how long it took.
        error: why it did not end well.
        sampled: the history is a sample of what was logged.
        notes: what else the reader should know, a sentence each.
    """

    id: str
    place: str
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    series: Mapping[str, Series] = field(default_factory=dict[str, Series])
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    status: Status | None = None
    group: str | None = None
    name: str | None = None
    seconds: float | None = None
    error: str | None = None
    sampled: bool = False
    notes: tuple[str, ...] = ()


def fingerprint(series: Mapping[str, Series]) -> str:
    """Six digits that tell runs of one name apart: a hash of the first record, which stays as a run grows."""
    firsts = sorted((float(each.steps[0]), name, float(each.values[0])) for name, each in series.items() if len(each.steps))
    return f"{zlib.crc32(repr(firsts[:1]).encode()) & 0xFFFFFF:06x}"


@dataclass(frozen=True, eq=False)
class Found:
    """The runs of a source.

    Args:
        table: one row per run.
        curves: the loss of each run, in the order of the rows; None where a run has none.
        provenance: of each run where it comes from and how its numbers were made; see `_needs.account`.
    """

    table: Trials
    curves: tuple[Series | None, ...]
    provenance: tuple[Mapping[str, Any], ...]
