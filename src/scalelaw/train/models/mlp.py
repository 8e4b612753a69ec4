"""A multilayer perceptron of any depth, or several of one shape side by side.

Axes: B examples of a batch, G networks of a group, I input numbers, H hidden units (the width), C outputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from ._base import Dropout, Ends, Kind, Model, Net, Note, Parameters, Product, Structure, Tensor, dropped

__all__ = ["Mlp"]


class Mlp(Model):
    """`depth` hidden layers of `width` ReLU units.

        h_1 = x W_1 + b_1,   h_l = dropout(relu(h_(l-1))) W_l + b_l,   the last h is the output

    Weights W_l (`weight1`, ...), shape (fan_in, fan_out), start as Normal(0, 2 / fan_in) (He et al., 2015), biases b_l at 0.
    """

    name = "mlp"
    summary = "a multilayer perceptron: depth hidden layers of width ReLU units"
    scales: Mapping[str, int | None] = {"width": None, "depth": 3}

    def structure(self, net: Net, ends: Ends) -> Structure:
        """Weights and biases; no matrix product goes back into the data."""
        edges = [ends.inputs, *[net.sizes["width"]] * net.sizes["depth"], ends.outputs]
        tensors: list[Tensor] = []
        products: list[Product] = []
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(edges), start=1):
            kind = Kind.INPUT if layer == 1 else Kind.OUTPUT if layer == len(edges) - 1 else Kind.HIDDEN
            tensors.append(Tensor(f"weight{layer}", kind, (fan_in, fan_out), std=math.sqrt(2 / fan_in)))
            tensors.append(Tensor(f"bias{layer}", Kind.VECTOR, (fan_out,)))
            products.append(Product(f"weight{layer}", 2.0 * fan_in * fan_out, backward=1 if layer == 1 else 2))
        return Structure(tuple(tensors), tuple(products))

    def outputs(
        self, parameters: Parameters, inputs: Any, net: Net, dropout: Dropout | None = None, note: Note | None = None
    ) -> Any:
        """The outputs (B, C)."""
        import jax

        hidden = inputs @ parameters["weight1"] + parameters["bias1"]
        for layer in range(2, net.sizes["depth"] + 2):
            if note is not None:
                note(_name(layer - 1), hidden)
            hidden = dropped(jax.nn.relu(hidden), dropout, layer) @ parameters[f"weight{layer}"] + parameters[f"bias{layer}"]
        if note is not None:
            note("output", hidden)
        return hidden

    def group_axis(self, name: str) -> int:
        """The first weights are (I, G, H), so that they are one matrix; the others (G, H, H or C); biases (G, ...)."""
        return 1 if name == "weight1" else 0

    def group_outputs(self, parameters: Parameters, inputs: Any, net: Net, dropout: Dropout | None = None) -> Any:
        """The outputs (G, B, C). All networks read the same inputs: the first layer is one product (B, I) x (I, G H)."""
        import jax
        import jax.numpy as jnp

        fan_in, group, width = parameters["weight1"].shape
        hidden = (inputs @ parameters["weight1"].reshape(fan_in, group * width)).reshape(-1, group, width) + parameters["bias1"]
        hidden = hidden.transpose(1, 0, 2)
        for layer in range(2, net.sizes["depth"] + 2):
            hidden = dropped(jax.nn.relu(hidden), dropout, layer)
            hidden = jnp.matmul(hidden, parameters[f"weight{layer}"]) + parameters[f"bias{layer}"][:, None, :]
        return hidden

    def group(self, sizes: Mapping[str, int]) -> int:
        """Small ones leave the core waiting between operations; large ones fill it, and its cache."""
        return 4 if sizes["width"] <= 128 else 1


def _name(layer: int) -> str:
    return "input" if layer == 1 else f"hidden {layer}"
