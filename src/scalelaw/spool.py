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
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import StoreError
from .trial import Trial

__all__ = [
    "abandon",
    "belong",
    "checkpoints",
    "enlist",
    "finish",
    "finished",
    "forget",
    "mark",
    "marked",
    "read",
    "receive",
    "retire",
    "rungs",
    "scan",
    "sweep",
    "trial_folder",
    "write",
]

SUFFIX = ".trial.json"
TOKEN = "token"
OWNER = "store"
NOTE = ".attempt.part"  # ends so that `sweep` finds what a killed driver leaves


def write(folder: Path, trial: Trial) -> Path:
    """Write `trial` into `folder` so that it is there whole or not at all, and on the disk when this returns.

    Raises:
        StoreError: the folder cannot be written, or the disk is full. Nothing half-written stays.
    """
    return _write(folder, f"{trial.id}{SUFFIX}", json.dumps(trial.to_dict(), allow_nan=False))


def receive(folder: Path, results: Iterable[str]) -> None:
    """Write the texts of result files that came another way, from a worker that does not see `folder`. Raises StoreError."""
    for text in results:
        trial = Trial.from_dict(json.loads(text))
        _write(folder, f"{trial.id}{SUFFIX}", text)


def mark(folder: Path) -> str:
    """The token of a spool, made where there is none: a worker that reads it sees the driver's folder. Raises StoreError."""
    path = folder / TOKEN
    with contextlib.suppress(OSError):
        if token := path.read_text(encoding="ascii"):
            return token
    return _write(folder, TOKEN, secrets.token_hex(8)).read_text(encoding="ascii")


def belong(folder: Path, store: str) -> None:
    """Say whose results a folder is for, which several stores could be given.

    Raises:
        StoreError: it holds another store's, or cannot be written.
    """
    path, owner = folder / OWNER, ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(store)
        except FileExistsError:
            owner = path.read_text(encoding="utf-8")
            if not owner:  # whoever made it was killed before it was written
                path.write_text(store, encoding="utf-8")
    except OSError as error:
        raise _explain(error, folder) from error
    if owner not in ("", store):
        mend = f"Choose another with --spool; if that store is no more, remove {path}"
        raise StoreError(f"this folder is for the results of another store ({owner})", str(folder), mend)


def marked(folder: Path, token: str) -> bool:
    """Whether this is the folder with that token. A folder that carries none is nobody's."""
    with contextlib.suppress(OSError, ValueError):
        return (folder / TOKEN).read_text(encoding="ascii") == token != ""
    return False


def enlist(folder: Path) -> str:
    """Begin an attempt at a batch: an empty file in which workers note what they have finished of it.

    A scheduler may give a batch to a second worker when the first is lost, after the driver has taken some of its results away:
    the note tells the second one where to go on. It goes when the attempt is over, which tells a worker that nobody waits.

    Returns:
        the attempt's name.

    Raises:
        StoreError: the folder cannot be written.
    """
    attempt = secrets.token_hex(8)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _note(folder, attempt).touch(exist_ok=False)
    except OSError as error:
        raise _explain(error, folder) from error
    return attempt


def finished(folder: Path, attempt: str) -> set[str] | None:
    """The ids of the trials that an attempt has finished; None when it is over."""
    try:
        return set(_note(folder, attempt).read_text(encoding="ascii").split())
    except OSError:
        return None


def finish(folder: Path, attempt: str, key: str) -> None:
    """Note that a trial of an attempt is finished: after its result is written, so that none is passed over without one."""
    with contextlib.suppress(OSError), _note(folder, attempt).open("r+", encoding="ascii") as stream:  # never made anew
        stream.seek(0, os.SEEK_END)
        stream.write(f"{key}\n")


def retire(folder: Path, attempt: str) -> None:
    """End an attempt."""
    with contextlib.suppress(OSError):
        _note(folder, attempt).unlink()


def abandon(folder: Path) -> None:
    """End every attempt: those of drivers that were killed, whose workers may be at work. For the only driver there is."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f".*{NOTE}"):
            path.unlink(missing_ok=True)


def _note(folder: Path, attempt: str) -> Path:
    return folder / f".{attempt}{NOTE}"


def _write(folder: Path, name: str, text: str) -> Path:
    target = folder / name
    temporary = folder / f".{name.removesuffix(SUFFIX)}.{os.getpid()}.{threading.get_ident()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
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


def trial_folder(folder: Path, key: str) -> Path:
    """The folder of a trial's own, for what its trainer keeps until it is done."""
    return folder / "trials" / key


def rungs(folder: Path) -> Path:
    """The folder in which trials of one size tell each other how far they are, see `trainers/_rungs.py`."""
    return folder / "rungs"


def forget(folder: Path) -> None:
    """Remove what trials keep beside their results: every one is done. For when no worker is at work."""
    for place in (checkpoints(folder), folder / "trials", rungs(folder)):
        shutil.rmtree(place, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed workers left half-written, and the folders that are then empty. For when no worker is at work."""
    kept = (checkpoints(folder), folder / "trials", rungs(folder))
    own = (TOKEN,) if any(scan(folder)) else (TOKEN, OWNER)
    for place, left in (*((each, ("*.part",)) for each in kept), (folder, (".*.part", *own))):
        with contextlib.suppress(OSError):
            for path in [path for each in left for path in place.glob(each)]:
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
