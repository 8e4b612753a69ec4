"""Muon: momentum made orthogonal, for the matrices between hidden layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..models import Kind
from ._adam import ADAM
from ._base import Family, Optimiser, Slots

__all__ = ["Muon", "orthogonal"]

# Jordan et al. (2024): of the odd quintics they tried, the one whose slope at 0 is largest while all singular values end near 1.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(Optimiser):
    """Nesterov momentum, made orthogonal (Jordan et al., 2024), as large as AdamW's (Liu et al., 2025, arXiv 2502.16982).

        m = mu m + g        o = orthogonal(g + mu m)        p = (1 - lr wd) p - 0.2 lr sqrt(max(rows, columns)) o

    Hidden matrices alone; embeddings, input and output matrices, biases and gains are AdamW's, at the same rate.
    Symbols: lr learning_rate, mu momentum, wd weight_decay, g gradient, m slot, p parameter.
    """

    name = "muon"
    summary = "orthogonalised momentum for hidden matrices, AdamW for the rest (Jordan et al., 2024; Liu et al., 2025)"
    knobs: Mapping[str, float] = {"momentum": 0.95, **ADAM}
    slots = 1
    family = Family.SPECTRAL

    def update(self, now: Mapping[str, Any], gradient: Any, slots: Slots, parameter: Any) -> tuple[Slots, Any]:
        """See the class; a matrix."""
        m = now["momentum"] * slots[0] + gradient
        size = 0.2 * math.sqrt(max(parameter.shape)) * now["learning_rate"]
        return (m,), (1 - now["decay"]) * parameter - size * orthogonal(gradient + now["momentum"] * m)

    def of(self, kind: Kind) -> Optimiser:
        """AdamW for all but hidden matrices."""
        from . import optimisers

        return self if kind is Kind.HIDDEN else optimisers["adamw"]


def orthogonal(matrix: Any) -> Any:
    """Nearly the closest matrix with all singular values 1: five Newton-Schulz steps leave them within 0.7 to 1.2."""
    import jax.numpy as jnp

    a, b, c = QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (jnp.linalg.norm(x) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
