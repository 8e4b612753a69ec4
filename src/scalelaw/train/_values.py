"""Single values of a spec, read and checked: each gives the value or one line that says what, where and what to do."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from ..errors import SpecError, near
from ..trial import Value

__all__ = ["fraction", "number", "only", "seed_of", "whole", "word"]


def only(values: Mapping[str, Value], known: tuple[str, ...], kind: str) -> None:
    """Refuse keys that are not known."""
    for key in values:
        if key not in known:
            close = near(key, known)
            hint = f"Did you mean {close!r}? Known" if close else "Known"
            raise SpecError(f"unknown {kind} {key!r}", "trial", f"{hint}: {', '.join(sorted(known))}")


def number(values: Mapping[str, Value], name: str, kind: str) -> float:
    """A finite number that is not negative."""
    value = values[name]
    if isinstance(value, (str, bool)) or not math.isfinite(value) or value < 0:
        raise SpecError(f"{kind} {name} = {value!r} cannot be used", "trial", "Give a finite number that is not negative")
    return float(value)


def whole(values: Mapping[str, Value], name: str, kind: str, default: int | None = None) -> int:
    """A whole number of 1 or more; `default` where none is given, and needed where that is None."""
    if name not in values:
        if default is None:
            raise SpecError(f"{kind} {name} is missing", "trial", f"Give {name}, a whole number of 1 or more")
        return default
    value = number(values, name, kind)
    if value != int(value) or value < 1:
        raise SpecError(f"{kind} {name} = {values[name]!r} cannot be used", "trial", "Give a whole number of 1 or more")
    return int(value)


def word(values: Mapping[str, Value], name: str, known: Collection[str], default: str) -> str:
    """One of the known words."""
    value = values.get(name, default)
    if not isinstance(value, str) or value not in known:
        close = near(value, known) if isinstance(value, str) else None
        hint = f"Did you mean {close!r}? Known" if close else "Known"
        raise SpecError(f"unknown {name} {value!r}", f"hyperparameter {name}", f"{hint}: {', '.join(known)}")
    return value


def fraction(name: str, value: float) -> None:
    """Refuse what is not 0 or more and less than 1."""
    if not 0 <= value < 1:
        raise SpecError(f"{name} = {value:g} cannot be used", "hyperparameters", "Give 0 or more and less than 1")


def seed_of(seed: object) -> int:
    """A whole number of 0 or more."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise SpecError(f"seed = {seed!r} cannot be used", "trial", "Give a whole number of 0 or more")
    return seed
