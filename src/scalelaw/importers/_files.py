"""Files of strangers: found without following links, read up to a size, and refused in one line."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import DataError

__all__ = ["find", "has", "labels", "read_bytes", "read_text"]

LARGEST = 2**31
_DEPTH, _ENTRIES = 6, 1_000_000


def find(root: Path, *patterns: str) -> list[Path]:
    """The files under a folder whose names match, in the order of their paths; links to folders are not followed."""
    return sorted(_walk(root, patterns))


def has(root: Path, *patterns: str) -> bool:
    """Whether there is one. Never raises."""
    try:
        return root.is_dir() and next(_walk(root, patterns), None) is not None
    except OSError:
        return False


def _walk(root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    """Files only: a link whose target lies outside `root` is passed over, so that a folder cannot point at other files."""
    seen = 0
    home = root.resolve()
    for folder, folders, names in os.walk(root, followlinks=False):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = sorted(name for name in folders if depth < _DEPTH and name not in (".git", "__pycache__", "node_modules"))
        seen += len(names)
        if seen > _ENTRIES:
            raise DataError(f"there are more than {_ENTRIES:,} files in it", str(root), "Give a folder of runs, not a whole disk")
        for name in names:
            path = Path(folder, name)
            if any(fnmatch.fnmatch(name, pattern) for pattern in patterns) and (
                not path.is_symlink() or path.resolve().is_relative_to(home)
            ):
                yield path


def labels(root: Path, folders: Sequence[Path]) -> list[str]:
    """What to call folders under `root`: their names where these differ, else their paths from `root`."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) == len(names):
        return names
    return [folder.relative_to(root).as_posix() for folder in folders]


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """A file's content.

    Raises:
        DataError: it cannot be read, is no regular file, or is larger than `largest`.
    """
    try:
        if not path.is_file():
            raise DataError("this is not a regular file", str(path), "Give the file itself")
        size = path.stat().st_size
        if size > largest:
            what = f"the file is larger than can be read ({size / 2**20:,.0f} MiB; at most {largest / 2**20:,.0f})"
            raise DataError(what, str(path), "Split it, or export what is needed as Parquet")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", str(path), "Check its permissions") from error


def read_text(path: Path, largest: int = LARGEST) -> str:
    """A file's text, UTF-8.

    Raises:
        DataError: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(path, largest).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("this is not UTF-8 text", str(path), "Save the file as UTF-8") from error
