"""Text as it lies on the machine, byte by byte: real language that needs no download."""

from __future__ import annotations

import fnmatch
import functools
import gzip
import hashlib
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..trial import Value
from ._base import Task, TaskData, Whole, located, windows

__all__ = ["GCIDE", "TextBytes"]

GCIDE = Path("/usr/share/dictd/gcide.dict.dz")
HELD_OUT = 0.05
NOT_THE_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}

Listing = tuple[tuple[Path, int], ...]


class TextBytes(Task):
    """Predict the next byte of a text from the bytes before it in a window. A token is a byte: 256 of them.

    The files are read where they lie; nothing is copied. They are put in the order of the hash of their names, so that any
    part is like any other, up to `bytes` of them; the last 5 % are held out, from the nearest start of a file where one
    starts close by. What was read is known by `provenance["sha256"]`, of the bytes used, and its first 13 digits as the
    number `truths["hash"]`: the same text on two machines has the same hash.

    Options:
        folder: a folder, read with its folders; a file; `dict-gcide`, the GNU dictionary of English in Debian's package of that
            name; or nothing: the source of Python's own standard library, without its tests.
        pattern: which files of the folder, by their names, for example `*.txt`; nothing takes `*.py` of the standard library
            and every file of another folder. Hidden files and folders are left out.
        bytes: most bytes to use.
        context: bytes per window; windows do not overlap.
    """

    name = "text_bytes"
    summary = "the bytes of a folder of text, by default Python's own library: real text that needs no download"
    defaults: Mapping[str, Value] = {"folder": "", "pattern": "", "bytes": 8_000_000, "context": 128}
    meaning: Mapping[str, str] = {
        "N": "weights of the network without its embeddings",
        "D": "bytes seen: steps times batch size times context, repeats counted",
        "C": "floating-point operations of training, multiply and add counted apart",
    }

    def load(self, options: Mapping[str, Value]) -> TaskData:
        """Windows of the text and of its held-out part."""
        context, folder, pattern = int(options["context"]), str(options["folder"]), str(options["pattern"])
        for key in ("context", "bytes"):
            if int(options[key]) < 1:
                raise self.wrong(key, options[key], "Give 1 or more")
        stream, cut, digest = _read(_files(folder, pattern), int(options["bytes"]))
        if min(cut, len(stream) - cut) <= context:
            raise self.wrong(
                "context",
                context,
                f"The text has {cut} bytes to train on and {len(stream) - cut} held out: give less than either",
            )
        train, test = windows(stream[:cut], context), windows(stream[cut:], context)
        provenance = {"folder": folder or "Python's standard library", "sha256": digest}
        truths = {"hash": float(int(digest[:13], 16))}
        return TaskData(*train, *test, truths, vocabulary=256, provenance=provenance)


def _files(folder: str, pattern: str) -> Listing:
    """The files in the order of the hash of their names, with their times, by which a changed file is read again."""
    if folder == "dict-gcide":
        return ((GCIDE, 0),)
    root = located(folder or sysconfig.get_paths()["stdlib"])
    if root is None:
        raise SpecError(f"{folder} is not a folder or a file", "task text_bytes", "Give a folder of text in option folder")
    if root.is_file():
        return ((root, root.stat().st_mtime_ns),)
    kept: list[tuple[bytes, Path]] = []
    for path in root.rglob("*"):
        inside = path.relative_to(root).parts
        hidden = any(part.startswith(".") for part in inside) or (not folder and not NOT_THE_LIBRARY.isdisjoint(inside))
        if not hidden and fnmatch.fnmatchcase(path.name, pattern or ("*" if folder else "*.py")) and path.is_file():
            kept.append((hashlib.sha256("/".join(inside).encode()).digest(), path))
    if not kept:
        raise SpecError(
            f"{root} holds no file that matches {pattern or '*'}", "task text_bytes", "Give a folder of text, or another pattern"
        )
    return tuple((path, path.stat().st_mtime_ns) for _, path in sorted(kept))


@functools.lru_cache(maxsize=2)
def _read(files: Listing, most: int) -> tuple[Whole, int, str]:
    """The text's bytes, where its held-out part starts, and the hash of the bytes."""
    parts: list[NDArray[np.uint8]] = []
    starts = [0]
    for path, _ in files:
        content = _dictionary() if path == GCIDE else _text(path)
        parts.append(np.frombuffer(content, np.uint8)[: most - starts[-1]])
        starts.append(starts[-1] + len(parts[-1]))
        if starts[-1] == most:
            break
    joined = np.concatenate(parts)
    cut = round(len(joined) * (1 - HELD_OUT))
    near = min(starts, key=lambda start: abs(start - cut))
    if abs(near - cut) <= len(joined) * HELD_OUT / 2:
        cut = near
    return joined.astype(np.int32), cut, hashlib.sha256(joined.tobytes()).hexdigest()


def _text(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        if b"\0" in content:
            raise ValueError("it holds zero bytes")
        content.decode("utf-8")
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{path} cannot be read as text ({getattr(error, 'strerror', None) or error})",
            "task text_bytes",
            "Take it out, or choose files with option pattern",
        ) from error
    return content


def _dictionary() -> bytes:
    try:
        return gzip.decompress(GCIDE.read_bytes())
    except (OSError, EOFError) as error:
        raise SpecError(
            f"the dictionary cannot be read from {GCIDE} ({getattr(error, 'strerror', None) or error})",
            "task text_bytes",
            "Install it with: apt-get install dict-gcide",
        ) from error
