"""Where a long run has come to, on disk: a run that is interrupted goes on from there, to the same bits."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SECONDS", "Checkpoint", "Reached", "read_arrays", "write_arrays"]

SECONDS = 60.0
# A large population takes long to write: writing is held to this share of the run.
SHARE = 0.05
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Reached:
    """How far a run is, after whole chunks.

    Args:
        chunks: how many are done.
        leaves: the carry's arrays.
        losses: of the steps so far, shape (steps, networks).
        tried: probes so far, shape (looks, networks, 2).
        seen: what witnesses saw, by name, each of shape (looks, networks).
    """

    chunks: int
    leaves: Sequence[Any]
    losses: NDArray[np.float32]
    tried: NDArray[np.float64]
    seen: Mapping[str, NDArray[np.float64]] = field(default_factory=dict[str, NDArray[np.float64]])


class Checkpoint:
    """The file of one group of trials.

    Args:
        folder: where it lies; None keeps nothing.
        ids: the trials of the group, in order: another group has another file.
        seconds: least time between two writes.
    """

    def __init__(self, folder: Path | None, ids: Sequence[str], seconds: float = SECONDS) -> None:
        name = hashlib.sha256("".join(ids).encode()).hexdigest()[:16]
        self.path = None if folder is None else folder / f"{name}.npz"
        self._seconds, self._last = seconds, time.monotonic()

    def load(self, like: Sequence[Any]) -> Reached | None:
        """Where the run came to; None where that is not known.

        A file that is cut short, or whose arrays have other shapes than those of `like`, is as none: the run starts afresh.
        """
        arrays = None if self.path is None else read_arrays(self.path)
        if arrays is None or int(arrays.get("leaves", -1)) != len(like):
            return None
        leaves = [arrays.get(f"leaf{place}") for place in range(len(like))]
        if any(leaf is None or leaf.shape != np.shape(own) for leaf, own in zip(leaves, like, strict=True)):
            return None
        seen = {name.removeprefix("seen "): values for name, values in arrays.items() if name.startswith("seen ")}
        return Reached(int(arrays["chunks"]), leaves, arrays["losses"], arrays["tried"], seen)

    @property
    def due(self) -> bool:
        """Whether the last time was long enough ago."""
        return self.path is not None and time.monotonic() - self._last >= self._seconds

    def save(self, reached: Reached) -> None:
        """Keep where the run is; the file is there whole or not at all. Where it cannot be written, the run does without."""
        if self.path is None:
            return
        began = time.monotonic()
        arrays: dict[str, Any] = {f"leaf{place}": np.asarray(leaf) for place, leaf in enumerate(reached.leaves)}
        arrays |= {f"seen {name}": values for name, values in reached.seen.items()}
        counts = {"chunks": np.array(reached.chunks), "leaves": np.array(len(reached.leaves))}
        write_arrays(self.path, {**arrays, **counts, "losses": reached.losses, "tried": reached.tried})
        self._last = time.monotonic()
        self._seconds = max(self._seconds, (self._last - began) / SHARE)

    def drop(self) -> None:
        """The run is over."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def read_arrays(path: Path) -> Arrays | None:
    """The arrays of a file by name; None where it is missing or damaged."""
    with contextlib.suppress(*DAMAGED), path.open("rb") as stream, np.load(stream) as kept:
        return {name: kept[name] for name in kept.files}
    return None


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays so that the file is there whole or not at all; a place that cannot be written is left as it is."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            np.savez(stream, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
