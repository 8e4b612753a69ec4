"""Where trials are trained: one file is one engine."""

from __future__ import annotations

from ..registry import OpenSet
from ._base import Batch, Engine, Pool

__all__ = ["Batch", "Engine", "Pool", "engines"]

engines = OpenSet("scalelaw.engines", __path__, "engine", Engine)
