"""Loss against compute at a chosen number of tokens per parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._base import Array, Example, Law, Linear, coefficient, exponent, plane, where
from ._jet import Number, logaddexp

__all__ = ["Overtraining"]


class Overtraining(Law):
    """L(C, M) = E + (a M^eta + b M^-eta) C^-eta, with compute C = 6 N D and tokens per parameter M = D / N.

    Chinchilla's law with both exponents 2 eta, written so that training far past the optimum shows as one number, M. It reads
    parameters and tokens.
    """

    name = "overtraining"
    formula = "L = E + (a M^eta + b M^-eta) C^-eta, M = D / N, C = 6 N D"
    symbols = where(
        L="loss",
        N="parameters",
        D="tokens",
        C="compute in FLOPs, 6 N D",
        M="tokens per parameter, D / N",
        E="irreducible loss",
        a="what too small a model costs",
        b="what too little data costs",
        eta="exponent of the compute",
    )
    reference = "Gadre et al. 2024, arXiv:2403.08540, equation 4"
    inputs = ("parameters", "tokens")
    parameters = (
        coefficient("E", "irreducible loss", zero=True),
        coefficient("a", "what too small a model costs"),
        coefficient("b", "what too little data costs"),
        exponent("eta", "exponent of the compute", 0.02, 0.8, 40),
    )
    example = Example(
        {"E": 1.8, "a": 140.0, "b": 270.0, "eta": 0.12},
        plane(parameters=np.geomspace(1e7, 7e9, 6), tokens=np.geomspace(2e8, 1e12, 6)),
    )

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        compute, ratio = _axes(x)
        parts = logaddexp(p["a"] - p["eta"] * (compute - ratio), p["b"] - p["eta"] * (compute + ratio))
        return logaddexp(parts, p["E"])

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:
        """At fixed eta it is linear; errors are relative."""
        compute, ratio = _axes(x)
        columns = (np.ones_like(y), np.exp(-node["eta"] * (compute - ratio)), np.exp(-node["eta"] * (compute + ratio)))
        return Linear(("E", "a", "b"), columns, y, 1 / y**2, (True, True, True))


def _axes(x: Mapping[str, Array]) -> tuple[Array, Array]:
    """ln C and ln M."""
    return np.log(6.0) + x["parameters"] + x["tokens"], x["tokens"] - x["parameters"]
