"""One JSON object on stdout: NaN and infinities become null, enums their names, tuples lists."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

__all__ = ["emit", "plain"]


def plain(value: Any) -> Any:
    """A value as JSON knows it."""
    match value:
        case None | bool() | str():
            return value
        case enum.Enum():
            return value.name
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case Path():
            return str(value)
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case Iterable():
            return [plain(each) for each in value]
        case _:
            # An array's scalar knows its own plain value.
            return plain(value.item())


def emit(value: Mapping[str, Any]) -> None:
    """Print `value` as one JSON object."""
    text = json.dumps(plain(value), allow_nan=False, ensure_ascii=False)
    if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):  # half a surrogate pair has no UTF-8
        text = json.dumps(plain(value), allow_nan=False)
    typer.echo(text)
