"""Adam (Kingma and Ba, 2015) with decoupled weight decay."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["start", "update"]

State = tuple[Any, Any]


def start(parameters: Any) -> State:
    """Both moments zero."""
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    return zeros, jax.tree.map(jnp.copy, zeros)


def update(rates: dict[str, Any], step: Any, gradients: Any, state: State, parameters: Any) -> tuple[State, Any]:
    """One step for one network; `step` counts from 1. Groups map it over their networks.

        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
        p = (1 - lr wd) p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Symbols: lr learning_rate, b1 beta1, b2 beta2, eps epsilon, wd weight_decay, t step, g gradients, (m, v) state, p parameters.
    """
    b1, b2 = rates["beta1"], rates["beta2"]
    # 1 - b^t through expm1 keeps its digits for the first steps, when b is close to 1.
    size = rates["learning_rate"] / -jnp.expm1(step * jnp.log(b1))
    root = jax.lax.rsqrt(-jnp.expm1(step * jnp.log(b2)))
    keep = 1 - rates["learning_rate"] * rates["weight_decay"]

    def one(p: Any, g: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * (g * g)
        return keep * p - size * m / (jnp.sqrt(v) * root + rates["epsilon"]), m, v

    leaves, form = jax.tree.flatten(parameters)
    moved = [one(*four) for four in zip(leaves, *(jax.tree.leaves(tree) for tree in (gradients, *state)), strict=True)]
    p, m, v = (jax.tree.unflatten(form, part) for part in zip(*moved, strict=True))
    return (m, v), p
