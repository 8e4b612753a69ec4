"""Lion: the sign of an interpolated momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._base import Optimiser, Slots

__all__ = ["Lion"]


class Lion(Optimiser):
    """Evolved sign momentum (Chen et al., 2023, arXiv 2302.06675), decoupled weight decay.

        p = (1 - lr wd) p - lr sign(b1 m + (1 - b1) g)        m = b2 m + (1 - b2) g

    Symbols: lr learning_rate, b1 beta1, b2 beta2, wd weight_decay, g gradient, m slot, p parameter.
    """

    name = "lion"
    summary = "the sign of an interpolated momentum (Chen et al., 2023)"
    knobs: Mapping[str, float] = {"beta1": 0.9, "beta2": 0.99}
    slots = 1

    def update(self, now: Mapping[str, Any], gradient: Any, slots: Slots, parameter: Any) -> tuple[Slots, Any]:
        """See the class."""
        import jax.numpy as jnp

        (m,), b1, b2 = slots, now["beta1"], now["beta2"]
        moved = (1 - now["decay"]) * parameter - now["learning_rate"] * jnp.sign(b1 * m + (1 - b1) * gradient)
        return (b2 * m + (1 - b2) * gradient,), moved
