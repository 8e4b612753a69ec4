"""Which trial a person means who writes an id, or how one begins."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RunError, near

__all__ = ["place_of"]


def place_of(run: str, known: Sequence[str], other: Sequence[str] = (), *, file: bool = False) -> int:
    """The place of the one id in `known` that is `run` or begins so; else of the one in `other`.

    Raises:
        RunError: there is none, or several. With `file` the words say that a file might have been named instead.
    """
    for names in (known, other):
        exact = [place for place, name in enumerate(names) if name == run]
        found = exact or [place for place, name in enumerate(names) if run and name.startswith(run)]
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(names[place] for place in found[:5])
            raise RunError(f"{len(found)} trials have ids that begin so: {some}", run, "Give more of the id")
    close = near(run, known)
    hint = f"Did you mean {close!r}? " if close else ""
    if file:
        raise RunError("there is no such file, and no trial with this id", run, f"{hint}Give a file of one row, or a trial's id")
    raise RunError("no trial has this id", run, f"{hint}Give an id, how one begins, or a condition such as 'width <= 64'")
