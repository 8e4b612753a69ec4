"""Small languages of the options: points (`width=8192`), settings and column lists."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import InputError, near
from ..notation import HYPERPARAMETERS, SCALES, Kind, quantity

__all__ = ["names", "point", "setting", "size", "texts"]


def point(text: str, option: str = "--at") -> dict[str, float]:
    """A point in the scale columns: `width=8192`, or `N=1e9, tokens=2e10`; aliases become the column's name.

    Raises:
        InputError: a part is not NAME=NUMBER, the name is no scale or comes twice, or the number is not positive and finite.
    """
    found: dict[str, float] = {}
    for name, value in _pairs(text, option, "width=8192"):
        column = _column(name, SCALES, option, "scale")
        number = _number(value, name, option)
        if not number > 0:
            raise InputError(f"{column} must be positive, not {value}", option, "Give a number above 0")
        _once(column, found, option)
        found[column] = number
    return found


def setting(text: str | None, option: str = "--with", more: tuple[str, ...] = ()) -> dict[str, float] | None:
    """Hyperparameters of a run: `learning_rate=3e-4,batch_size=128`; `more` are columns that `--hyper` added."""
    if text is None:
        return None
    found: dict[str, float] = {}
    for name, value in _pairs(text, option, "learning_rate=3e-4"):
        column = name if name in more else _column(name, HYPERPARAMETERS, option, "hyperparameter")
        _once(column, found, option)
        found[column] = _number(value, name, option)
    return found


def names(text: str | list[str], option: str) -> tuple[str, ...]:
    """Column names from `parameters,tokens`, or from an option given several times; aliases become the column's name."""
    parts = [part.strip() for item in ([text] if isinstance(text, str) else text) for part in item.split(",")]
    if not all(parts):
        raise InputError("a column name is empty", option, "Give names with commas between, for example parameters,tokens")
    found: list[str] = []
    for part in parts:
        known = quantity(part)
        found.append(known.column if known else part)
    return tuple(dict.fromkeys(found))


def size(text: str, option: str) -> float:
    """Bytes: `4GiB`, `500 MB`, `2e9`. Raises InputError."""
    units = {"": 1, "B": 1} | {f"{p}B": 1000**k for k, p in enumerate("kMGT", 1)}
    units |= {f"{p}iB": 1024**k for k, p in enumerate("KMGT", 1)}
    found = re.fullmatch(r"\s*([0-9.eE+-]+)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2] not in units:
        raise InputError(f"cannot read {text!r} as a size", option, "Give a number and a unit, for example 4GiB or 500MB")
    return _number(found[1], "the size", option) * units[found[2]]


def texts(parts: Sequence[str], option: str) -> dict[str, str]:
    """NAME=VALUE each, the values as they stand. Raises InputError."""
    found: dict[str, str] = {}
    for part in parts:
        name, sign, value = part.partition("=")
        if not (name.strip() and sign and value.strip()):
            raise InputError(f"cannot read {part!r}", option, f"Write NAME=VALUE, for example {option} address=auto")
        _once(name.strip(), found, option)
        found[name.strip()] = value.strip()
    return found


def _pairs(text: str, option: str, example: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not (name and sign and value):
            raise InputError(
                f"cannot read {part.strip()!r}", option, f"Write NAME=VALUE with commas between, for example {example}"
            )
        yield name, value


def _number(text: str, name: str, option: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} is not a finite number: {text!r}", option, "Give a number such as 8192 or 2e10")
    return number


def _column(name: str, known: tuple[str, ...], option: str, kind: str) -> str:
    each = quantity(name)
    if each is not None and each.column in known:
        return each.column
    if each is not None:
        other = {Kind.SCALE: "--at", Kind.HYPERPARAMETER: "--with"}.get(each.kind)
        hint = f"Give it with {other}" if other and other != option else f"The {kind} columns are: {', '.join(known)}"
        raise InputError(f"{name} is not a {kind}", option, hint)
    close = near(name, known)
    hint = f"Did you mean {close!r}?" if close else f"Known: {', '.join(known)}"
    raise InputError(f"unknown {kind} {name!r}", option, hint)


def _once(column: str, found: Mapping[str, Any], option: str) -> None:
    if column in found:
        raise InputError(f"{column} is given twice", option, "Keep one of them")
