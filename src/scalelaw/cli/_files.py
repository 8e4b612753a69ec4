"""Outputs that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Generator
from pathlib import Path

from ..errors import InputError

__all__ = ["placed", "replacing"]


@contextlib.contextmanager
def replacing(target: Path) -> Generator[Path]:
    """A temporary path beside `target`, with its suffix, that takes its place when the block ends without an error.

    Raises:
        InputError: the folder is not there or cannot be written, or the disk is full.
    """
    placed(target)
    temporary = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise _explain(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def placed(target: Path) -> None:
    """Raises InputError where no file can be at `target`: its folder is not there, or it is a folder itself."""
    if not target.parent.is_dir():
        raise InputError("the folder is not there", str(target), f"Make it first: mkdir -p {target.parent}")
    if target.is_dir():
        raise InputError("is a folder", str(target), "Give the name of a file")


def _explain(error: OSError, target: Path) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError("the disk is full", str(target), "Free some space and run the same command again")
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return InputError("the folder cannot be written", str(target), "Choose another with -o, or change its permissions")
    return InputError(f"cannot be written ({error.strerror or error})", str(target), "Choose another file with -o")
