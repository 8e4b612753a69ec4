"""Result files: the only thing a worker writes.

A worker writes each finished trial to a file of its own: a temporary file, fsync, then an atomic rename. A reader therefore
sees a whole result or none, on local disks and on network file systems, whatever is killed when. The driver reads the files
into the store and removes them; reading one twice changes nothing, because a trial is keyed by the hash of its spec.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import StoreError
from .trial import Trial

__all__ = ["checkpoints", "forget", "read", "scan", "sweep", "write"]

SUFFIX = ".trial.json"


def write(folder: Path, trial: Trial) -> Path:
    """Write `trial` into `folder` so that it is there whole or not at all, and on the disk when this returns.

    Raises:
        StoreError: the folder cannot be written, or the disk is full. Nothing half-written stays.
    """
    target = folder / f"{trial.id}{SUFFIX}"
    temporary = folder / f".{trial.id}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(trial.to_dict(), stream, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        _sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _explain(error, folder) from error
    return target


def read(path: Path) -> Trial:
    """The trial in a result file."""
    return Trial.from_dict(json.loads(path.read_text(encoding="utf-8")))


def scan(folder: Path) -> Iterator[Path]:
    """The finished result files of a folder, in name order; files still being written are not among them."""
    return iter(sorted(folder.glob(f"*{SUFFIX}"))) if folder.is_dir() else iter(())


def checkpoints(folder: Path) -> Path:
    """The folder in which long runs keep where they are."""
    return folder / "checkpoints"


def forget(folder: Path) -> None:
    """Remove all checkpoints: every trial is done. For when no worker is at work."""
    with contextlib.suppress(OSError):
        for path in checkpoints(folder).glob("*.npz"):
            path.unlink()


def sweep(folder: Path) -> None:
    """Remove what killed workers left half-written, and the folders that are then empty. For when no worker is at work."""
    for place, half in ((checkpoints(folder), "*.part"), (folder, ".*.part")):
        with contextlib.suppress(OSError):
            for path in place.glob(half):
                path.unlink()
            place.rmdir()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(error: OSError, folder: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreError("the disk is full", str(folder), "Free some space and run the same command again; nothing is lost")
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return StoreError("the folder cannot be written", str(folder), "Choose another with --storage, or change its permissions")
    return StoreError(f"cannot write results ({error.strerror})", str(folder), "Check the path given with --storage")
