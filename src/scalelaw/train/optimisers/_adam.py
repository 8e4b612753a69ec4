"""The step that Adam and AdamW share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._base import Slots

__all__ = ["ADAM", "adam_step"]

ADAM: Mapping[str, float] = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


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
