"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._base import Family, Optimiser, Slots

__all__ = ["Sgd"]


class Sgd(Optimiser):
    """Heavy-ball momentum (Polyak, 1964), weight decay as part of the gradient.

        m = mu m + g + wd p        p = p - lr m

    Symbols: lr learning_rate, mu momentum, wd weight_decay, g gradient, m slot, p parameter.
    """

    name = "sgd"
    summary = "stochastic gradient descent with heavy-ball momentum (Polyak, 1964)"
    knobs: Mapping[str, float] = {"momentum": 0.9}
    slots = 1
    family = Family.GRADIENT

    def update(self, now: Mapping[str, Any], gradient: Any, slots: Slots, parameter: Any) -> tuple[Slots, Any]:
        """See the class."""
        m = now["momentum"] * slots[0] + gradient + now["weight_decay"] * parameter
        return (m,), parameter - now["learning_rate"] * m
