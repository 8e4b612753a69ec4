"""Every exception scalelaw raises on purpose.

    ScalelawError
    ├── InputError            the user can mend it: one line that says what, where and what to do (exit code 2)
    │   ├── StudyError        a study file
    │   ├── DataError         a table of trials
    │   ├── RunError          the run that is judged
    │   ├── StoreError        a store, or the disk under it
    │   │   └── NoStoreError  there is no store yet
    │   ├── SpecError         a trial that cannot be trained as it is asked for
    │   ├── UnknownNameError  a law, task, engine, importer, figure or column that does not exist
    │   └── MissingExtraError an optional dependency
    ├── EngineError           an engine that cannot train anything: its workers do not start (exit code 1)
    └── WorkerLostError       a worker process ended without a result (exit code 1)

Raising is for wrong calls and broken machines. A question the data cannot answer is a status on the result, not an exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "EngineError",
    "InputError",
    "MissingExtraError",
    "NoStoreError",
    "RunError",
    "ScalelawError",
    "SpecError",
    "StoreError",
    "StudyError",
    "UnknownNameError",
    "WorkerLostError",
    "near",
    "one_line",
    "printable",
]


class ScalelawError(Exception):
    """Base of every exception scalelaw raises on purpose."""


class InputError(ScalelawError):
    """A wrong input, told in one line.

    Args:
        what: what is wrong.
        where: file, row, key or option; may be empty.
        mend: what to do now.
    """

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        head = f"{where}: {what}" if where else what
        text = " ".join(part if part.endswith(("?", "!", ".")) else f"{part}." for part in (head, mend) if part)
        super().__init__(printable(text))


class StudyError(InputError):
    """A study file that cannot be run."""


class DataError(InputError):
    """A table of trials that cannot be read or analysed."""


class RunError(InputError):
    """A run that cannot be judged."""


class StoreError(InputError):
    """A store that cannot be opened or written."""


class NoStoreError(StoreError):
    """There is no store yet: nothing has been made there."""


class SpecError(InputError):
    """A trial that cannot be trained as it is asked for."""


class UnknownNameError(InputError):
    """A name outside its set; the message offers the near one and lists the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        known = sorted(known)
        close = near(name, known)
        hint = f"Did you mean {close!r}? " if close else ""
        super().__init__(f"unknown {kind} {name!r}", where, f"{hint}Known: {', '.join(known) or 'none'}")


class MissingExtraError(InputError):
    """An optional dependency is not installed; the message is the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}", "", f"Install it with: pip install 'scalelaw[{extra}]'")


class EngineError(ScalelawError):
    """An engine cannot train anything: its workers do not start."""


class WorkerLostError(ScalelawError):
    """A worker process ended without delivering a result."""


def printable(text: str) -> str:
    """The text with a blank for every line break and control character: what a stranger's file says stays on its line."""
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)


def one_line(error: BaseException) -> str:
    """What an exception says, on one line: an input error's own words, else its kind and what it says, cut to 500 characters."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return text if isinstance(error, InputError) else (f"{kind}: {text}" if text else kind)[:500]


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None when none is close."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return match[0] if match else None
