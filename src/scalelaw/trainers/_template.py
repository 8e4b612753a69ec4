"""Text with `{placeholders}` for a trial's numbers and words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import SpecError, StudyError, near
from ..notation import quantity
from ..trial import TrialSpec, Value

__all__ = ["OWN", "fill", "placeholders", "values_of", "words"]

# What a placeholder may name beside the trial's scale, hyperparameters and task options.
OWN = ("seed", "id", "task", "model", "result", "folder", "python")
_PART = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


def placeholders(text: str, where: str) -> list[str]:
    """The names in a text. Raises StudyError where a brace names nothing."""
    found: list[str] = []
    for part in _PART.finditer(text):
        if part[1] is not None:
            found.append(part[1])
        elif part[0] in ("{", "}"):
            raise StudyError(f"{text!r} has a brace that names nothing", where, "Write {{ and }} for braces, {width} for a name")
    return found


def fill(text: str, values: Mapping[str, str], where: str) -> str:
    """The text with every placeholder replaced.

    Raises:
        SpecError: a name that `values` lacks.
    """

    def of(part: re.Match[str]) -> str:
        name = part[1]
        if name is None:
            return part[0][0]
        known = quantity(name)
        for each in (name, "" if known is None else known.column):
            if each in values:
                return values[each]
        close = near(name, values)
        hint = f"Did you mean {close!r}? " if close else ""
        raise SpecError(f"the trial has no {name!r}", where, f"{hint}Known: {', '.join(values)}")

    return _PART.sub(of, text)


def values_of(spec: TrialSpec, own: Mapping[str, str]) -> dict[str, str]:
    """What a trial's placeholders stand for; `own` holds those that the trainer makes."""
    tables = (spec.task_options, spec.hyperparameters, spec.scale)
    found = {name: words(value) for values in tables for name, value in values.items()}
    return {**found, "seed": str(spec.seed), "id": spec.id, "task": spec.task, "model": spec.model, **own}


def words(value: Value) -> str:
    """A value as text that reads back to the same number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
