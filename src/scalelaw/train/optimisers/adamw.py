"""Adam (Kingma and Ba, 2015) with decoupled weight decay (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._base import Optimiser, Slots

__all__ = ["AdamW", "adam_step"]


class AdamW(Optimiser):
    """Adam whose weight decay shrinks the weights by itself.

        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
        p = (1 - lr wd) p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Symbols: lr learning_rate, b1 beta1, b2 beta2, eps epsilon, wd weight_decay, t step, g gradient, (m, v) slots, p parameter.
    """

    name = "adamw"
    summary = "Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019)"
    knobs: Mapping[str, float] = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    slots = 2

    def update(self, now: Mapping[str, Any], gradient: Any, slots: Slots, parameter: Any) -> tuple[Slots, Any]:
        """See the class."""
        slots, step = adam_step(now, gradient, slots)
        return slots, (1 - now["decay"]) * parameter - step


def adam_step(now: Mapping[str, Any], gradient: Any, slots: Slots) -> tuple[Slots, Any]:
    """((m, v), lr m^ / (sqrt(v^) + eps)): what Adam takes off the parameter."""
    import jax
    import jax.numpy as jnp

    b1, b2 = now["beta1"], now["beta2"]
    # 1 - b^t through expm1 keeps its digits for the first steps, when b is close to 1.
    size = now["learning_rate"] / -jnp.expm1(now["step"] * jnp.log(b1))
    root = jax.lax.rsqrt(-jnp.expm1(now["step"] * jnp.log(b2)))
    m = b1 * slots[0] + (1 - b1) * gradient
    v = b2 * slots[1] + (1 - b2) * (gradient * gradient)
    return (m, v), size * m / (jnp.sqrt(v) * root + now["epsilon"])
