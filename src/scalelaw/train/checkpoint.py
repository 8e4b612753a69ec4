"""Where a long run has come to, on disk: a run that is interrupted goes on from there, to the same bits."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Checkpoint", "Reached"]

SECONDS = 60.0
Reached = tuple[int, list[NDArray[Any]], NDArray[np.float32], NDArray[np.float64]]


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

    def load(self) -> Reached | None:
        """(chunks done, leaves of the carry, losses (steps, networks), probes (looks, networks, 2)); None where there is none.

        A file that is cut short or of another version is as none: the run starts from the beginning.
        """
        if self.path is None:
            return None
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(self.path) as kept:
            leaves = [kept[f"leaf{place}"] for place in range(int(kept["leaves"]))]
            return int(kept["chunks"]), leaves, kept["losses"], kept["tried"]
        return None

    def save(self, chunks: int, leaves: Sequence[Any], losses: Any, tried: Any) -> None:
        """Keep where the run is, if the last time was long enough ago; the file is there whole or not at all."""
        if self.path is None or time.monotonic() - self._last < self._seconds:
            return
        arrays: dict[str, Any] = {f"leaf{place}": np.asarray(leaf) for place, leaf in enumerate(leaves)}
        arrays |= {"chunks": chunks, "leaves": len(leaves), "losses": losses, "tried": np.asarray(tried, dtype=np.float64)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as stream:
            np.savez(
                stream, chunks=chunks, leaves=len(leaves), losses=losses, tried=np.asarray(tried, dtype=np.float64), **arrays
            )
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self.path)
        self._last = time.monotonic()

    def drop(self) -> None:
        """The run is over."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
