"""How networks learn: one file is one optimiser. Importing a member needs NumPy alone; its `update` is traced by JAX."""

from __future__ import annotations

from ...registry import OpenSet
from ._base import Family, Optimiser

__all__ = ["Family", "Optimiser", "optimisers"]

optimisers = OpenSet("scalelaw.train.optimisers", __path__, "optimiser", Optimiser)
