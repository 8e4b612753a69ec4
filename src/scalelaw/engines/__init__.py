"""Where trials are trained: one file is one engine."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from ..registry import OpenSet
from ._base import Batch, Engine, Pool, Resources

__all__ = ["Batch", "Engine", "Pool", "Resources", "engine_of", "engines"]

engines = OpenSet("scalelaw.engines", __path__, "engine", Engine)


def engine_of(engine: str | Engine | Any) -> Engine:
    """The engine of that name, or the one given, or one that submits to the executor given.

    Raises:
        UnknownNameError: no such engine. InputError: something else.
    """
    if isinstance(engine, Engine):
        return engine
    if isinstance(engine, str):
        return engines[engine]
    if callable(getattr(engine, "submit", None)):
        from .futures import Futures

        return Futures(engine)
    raise InputError(f"not an engine: {engine!r}", "engine", "Give its name, or an object with submit(function, *arguments)")
