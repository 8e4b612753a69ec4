"""A multilayer perceptron, or several of one shape side by side.

Axes: B examples of a batch, G networks of a group, I input numbers, H hidden units (the width), C classes.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..tasks._base import Floats
from .count import compute, count, sizes

__all__ = ["COMPUTE_RULE", "Parameters", "compute", "count", "group_axes", "initial", "logits", "repeat", "sizes"]

Parameters = list[tuple[Any, Any]]

COMPUTE_RULE = "6 B sum(fan_in fan_out) - 2 B fan_in_1 fan_out_1 per step: matrix products forward and back, none into the data"


def initial(layers: list[tuple[int, int]], seed: int) -> list[tuple[Floats, Floats]]:
    """He initialisation: weights Normal(0, 2 / fan_in), shape (fan_in, fan_out); biases 0. Depends on shape and seed alone."""
    generator = np.random.default_rng([seed, 0])
    return [
        (
            generator.standard_normal((fan_in, fan_out), dtype=np.float32) * np.float32(math.sqrt(2 / fan_in)),
            np.zeros(fan_out, dtype=np.float32),
        )
        for fan_in, fan_out in layers
    ]


def repeat(parameters: list[tuple[Floats, Floats]], group: int) -> list[tuple[Floats, Floats]]:
    """`group` equal copies: first weights (I, G, H), so that they are one matrix; the others (G, H, H or C); biases (G, ...)."""
    first, *rest = parameters
    copies = [(np.repeat(first[0][:, None, :], group, axis=1), np.repeat(first[1][None], group, axis=0))]
    return copies + [(np.repeat(w[None], group, axis=0), np.repeat(b[None], group, axis=0)) for w, b in rest]


def group_axes(parameters: Parameters) -> list[tuple[int, int]]:
    """Which axis of each weight and bias of a group made with `repeat` counts the networks."""
    return [(1 if place == 0 else 0, 0) for place in range(len(parameters))]


def logits(parameters: Parameters, inputs: jax.Array) -> jax.Array:
    """The outputs: (B, C) for one network, (G, B, C) for a group made with `repeat`.

    A group's first layer reads the same inputs for every network, so it is one product (B, I) x (I, G H).
    """
    (first, bias), *rest = parameters
    if first.ndim == 2:
        hidden = inputs @ first + bias
        for weight, bias in rest:
            hidden = jax.nn.relu(hidden) @ weight + bias
        return hidden
    fan_in, group, width = first.shape
    hidden = (inputs @ first.reshape(fan_in, group * width)).reshape(-1, group, width) + bias
    hidden = hidden.transpose(1, 0, 2)
    for weight, bias in rest:
        hidden = jnp.matmul(jax.nn.relu(hidden), weight) + bias[:, None, :]
    return hidden
