"""The right to drive a store: one process at a time, on a local disk and on a network file system."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import tempfile
import time
import weakref
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from ..errors import StoreError

__all__ = ["ClaimedFile", "LockedFile", "is_gone", "own"]

_TRIES, _PAUSE = 100, 0.05


class LockedFile:
    """A file that the operating system locks. It takes the lock back when the process ends, however it ends."""

    def __init__(self, path: Path, store: Path) -> None:
        self._path = path
        while True:
            try:
                self._stream = path.open("a+", encoding="ascii")
            except OSError as error:
                raise _unwritable(path, error) from error
            try:
                fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._stream.seek(0)
                pid = self._stream.read().strip() or "unknown"
                self._stream.close()
                raise _taken(pid, store) from error
            if self._is_current():
                break
            self._stream.close()  # its driver ended and removed it after it was opened here
        _HELD.add(self)
        with contextlib.suppress(OSError):  # on a full disk the lock holds without the name
            self._stream.truncate(0)
            self._stream.write(f"{os.getpid()}\n")
            self._stream.flush()

    def release(self) -> None:
        """Let another process drive."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        with contextlib.suppress(OSError):
            self._stream.close()

    def renew(self) -> None:
        """See `database.Lock`: the system holds it for as long as this process lives."""

    def let_go(self) -> None:
        """Close a forked child's copy: the lock is the parent's, and would else last as long as the child."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def _is_current(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._stream.fileno()), self._path.stat())
        return False


_HELD: weakref.WeakSet[LockedFile] = weakref.WeakSet()
os.register_at_fork(after_in_child=lambda: [each.let_go() for each in list(_HELD)])


class ClaimedFile:
    """A file that is there while its maker drives, for file systems on which a lock may mean nothing.

    It is made under another name and then linked, which fails where there is one: on every file system and from every machine
    one maker wins. It says which process on which machine made it, so that one whose process is gone can be removed by another
    process of the same machine; nobody can tell that of another machine's, so a person is asked.

    Args:
        path: the file.
        store: what it is for, for messages.
        maker: the process, as `own` tells it.
    """

    def __init__(self, path: Path, store: Path, maker: Mapping[str, Any] | None = None) -> None:
        self._path, self._store = path, store
        self._maker = dict(maker or own())
        part = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
        try:
            part.write_text(json.dumps(self._maker), encoding="utf-8")
            try:
                for _ in range(_TRIES):
                    if _linked(part, path):
                        return
                    self._clear(store)
            finally:
                part.unlink()
        except OSError as error:
            raise _unwritable(path, error) from error
        mend = f"If no scalelaw run fills this store, remove {path}, and start again"
        raise StoreError("the file that says who is filling this store cannot be read", str(store), mend)

    def release(self) -> None:
        """Let another process drive."""
        if _read(self._path) == self._maker:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def renew(self) -> None:
        """See `database.Lock`: somebody may have removed the file, believing this process dead."""
        holder = _read(self._path)
        if holder != self._maker:
            by = "" if holder is None else f": process {holder.get('pid')} on {holder.get('host')} has it now"
            mend = f"Nothing finished is lost. Do not remove {self._path} while a run is alive; to go on, run again"
            raise StoreError(f"this run's claim on the store was taken away{by}", str(self._store), mend)

    def _clear(self, store: Path) -> None:
        """Remove the file of a process that is gone. Raises StoreError where its maker drives, or may."""
        with _alone(self._path):
            holder = _read(self._path)
            if holder is None:
                time.sleep(_PAUSE)  # gone, or being written: look again
                return
            if any(holder.get(key) != self._maker[key] for key in ("host", "namespace")):
                since = f"since {holder.get('since', 'some time ago')}"
                where = f"on {holder.get('host', 'another machine')} (process {holder.get('pid')}, {since})"
                what = f"a scalelaw run {where} is filling this store"
                raise StoreError(what, str(store), f"If that run is no more, remove {self._path}, and start again")
            if not is_gone(holder):
                raise _taken(str(holder["pid"]), store)
            self._path.unlink(missing_ok=True)


def own() -> dict[str, Any]:
    """This process, so that it can be told from every other: its number is used again, its number and start together are not."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    return {
        "host": platform.node(),
        "boot": boot.read_text(encoding="ascii").strip() if boot.exists() else "",
        "namespace": str(space.readlink()) if space.exists() else "",
        "pid": os.getpid(),
        "began": _began(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    }


def is_gone(process: Mapping[str, Any]) -> bool | None:
    """Whether a process, as `own` told it there, has ended; None for one of another machine, of which nobody can tell."""
    me = own()
    if any(process.get(key) != me[key] for key in ("host", "namespace")):
        return None
    began = process.get("began")
    return process.get("boot") != me["boot"] or began is None or _began(int(process["pid"])) != began


def _began(pid: int) -> str | None:
    """When a process started, in the system's own ticks; None where there is no such process, or only what is left of one."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else fields[19]
    if Path("/proc/self/stat").exists():
        return None
    try:  # a system without /proc
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"


def _linked(part: Path, path: Path) -> bool:
    try:
        path.hardlink_to(part)
    except FileExistsError:
        return path.exists() and path.samefile(part)  # a network file system may have done it before it says that it is there
    except OSError:  # a file system without hard links: making a file that must not be there is as good where that is atomic
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(part.read_text(encoding="utf-8"))
        except FileExistsError:
            return False
    return True


def _read(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return None


@contextlib.contextmanager
def _alone(path: Path) -> Generator[None]:
    """One process of this machine at a time: two that both found a dead driver would else remove each other's claim."""
    name = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]
    handle = os.open(Path(tempfile.gettempdir()) / f"scalelaw-{os.getuid()}-{name}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _taken(pid: str, store: Path) -> StoreError:
    mend = f"Wait for it, or stop it with: kill -INT {pid}"
    return StoreError(f"another scalelaw run (process {pid}) is filling this store", str(store), mend)


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"the folder cannot be written ({error.strerror})", str(path.parent), "Choose another with --storage")
