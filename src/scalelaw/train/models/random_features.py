"""Random features: a first matrix that stays as it was drawn, and a trained readout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import SpecError
from ...trial import Value
from ._base import Dropout, Ends, Kind, Model, Net, Note, Parameters, Product, Structure, Tensor, dropped

__all__ = ["RandomFeatures"]


class RandomFeatures(Model):
    """A linear readout of fixed random features (Rahimi and Recht, 2007): its training is a convex problem.

        relu             phi = relu(W'x) sqrt(2 / width)                           any width
        orthonormal      phi = U'^-1 W'x,    Lambda^1/2 W = Q U (Q'Q = 1)          width <= inputs
        outputs          R'phi,    R starts at 0

    with W (inputs, width) of normal numbers that are not trained: N counts R alone. `orthonormal` features span the same
    functions as plain ones, W'x, so that the lowest loss at each width is the same; but where the inputs are uncorrelated with
    variances Lambda = diag((k - 1/2)^-spectrum), they are uncorrelated with variance 1, and one rate fits every direction:
    gradient descent converges in tens of steps, where plain ones would take about width^spectrum. Knob `spectrum` is what the
    inputs are thought to be (task power_spectrum has it as an option); a wrong one is slower to train, and loses nothing else.

    U is computed from W at each use, as W is not trained: by reflections (QR), and not as the root of W' Lambda W, whose
    condition number, about width^spectrum, single precision does not bear.
    """

    name = "random_features"
    summary = "a trained linear readout of fixed random features"
    scales: Mapping[str, int | None] = {"width": None}
    knobs: Mapping[str, Value] = {"features": "orthonormal", "spectrum": 0.0}

    def structure(self, net: Net, ends: Ends) -> Structure:
        """The fixed matrix and the readout.

        Raises:
            SpecError: no such kind of features, or more orthonormal ones than inputs.
        """
        width, kind = net.sizes["width"], net.knobs["features"]
        if kind not in ("orthonormal", "relu"):
            raise SpecError(f"features = {kind!r} is not known", "model random_features", "Give 'orthonormal' or 'relu'")
        if kind == "orthonormal" and width > ends.inputs:
            raise SpecError(
                f"width {width} is more than the {ends.inputs} inputs",
                "model random_features",
                "Take a smaller width, or features = 'relu'",
            )
        return Structure(
            (
                Tensor("features", Kind.INPUT, (ends.inputs, width), std=ends.inputs**-0.5, trained=False),
                Tensor("readout", Kind.OUTPUT, (width, ends.outputs)),
            ),
            (
                Product("features", 2.0 * ends.inputs * width, backward=0),
                Product("readout", 2.0 * width * ends.outputs, backward=1),
            ),
        )

    def outputs(
        self,
        parameters: Parameters,
        inputs: Any,
        net: Net,
        dropout: Dropout | None = None,
        note: Note | None = None,
    ) -> Any:
        """The outputs (B, outputs)."""
        import jax
        import jax.numpy as jnp

        matrix = jax.lax.stop_gradient(parameters["features"])
        values = inputs @ matrix
        if note is not None:
            note("input", values)
        if net.knobs["features"] == "relu":
            features = jax.nn.relu(values) * np.sqrt(2 / matrix.shape[1]).astype(values.dtype)
        else:
            deviations = (np.arange(1, matrix.shape[0] + 1) - 0.5) ** (-float(net.knobs["spectrum"]) / 2)
            factor = jnp.linalg.qr(deviations[:, None].astype(np.float32) * matrix.astype(jnp.float32), mode="r")
            features = jax.scipy.linalg.solve_triangular(factor, values.astype(jnp.float32).T, trans="T").T.astype(values.dtype)
        result = dropped(features, dropout, 0) @ parameters["readout"]
        if note is not None:
            note("output", result)
        return result
