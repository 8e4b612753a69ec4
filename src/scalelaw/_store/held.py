"""SQLite files that this process has open, which it must not open otherwise. Standard library only.

A process loses its locks on a file as soon as it closes any handle of that file (POSIX): SQLite knows that of its own handles,
and of no others. Where somebody looks at the first bytes of a store that is being written, another process that closes it finds
nobody there, and takes the write-ahead log away; what is written after that goes into a file that is gone.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from pathlib import Path

__all__ = ["hold", "is_held", "let_go"]

_LOCK = threading.Lock()
_HELD: Counter[tuple[int, int]] = Counter()


def hold(path: Path) -> tuple[int, int]:
    """Note that SQLite has opened a file; what `let_go` takes. Raises OSError."""
    state = path.stat()
    with _LOCK:
        _HELD[state.st_dev, state.st_ino] += 1
    return state.st_dev, state.st_ino


def let_go(key: tuple[int, int]) -> None:
    """Note that SQLite has closed it."""
    with _LOCK:
        _HELD[key] -= 1
        if not _HELD[key]:
            del _HELD[key]


def is_held(path: Path) -> bool:
    """Whether this process has the file open as a store."""
    with contextlib.suppress(OSError, ValueError):
        state = path.stat()
        return (state.st_dev, state.st_ino) in _HELD
    return False
