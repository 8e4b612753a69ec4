"""Chinchilla's law with the two shortages coupled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._base import Array, Example, Law, Linear, Parameter, coefficient, exponent, plane, where
from ._grids import below
from ._jet import Number, exp, logaddexp

__all__ = ["Skaling"]


class Skaling(Law):
    """L(N, D) = E + (A N^-alpha + B D^-beta)^k; k = 1 is Chinchilla's law."""

    name = "skaling"
    formula = "L = E + (A N^-alpha + B D^-beta)^k"
    symbols = where(
        L="loss",
        N="parameters",
        D="tokens",
        E="irreducible loss",
        A="shortage of size at N = 1",
        B="shortage of data at D = 1",
        alpha="exponent of the size",
        beta="exponent of the data",
        k="how the shortages combine",
    )
    reference = "arXiv:2608.07222"
    inputs = ("parameters", "tokens")
    parameters = (
        Parameter("E", "irreducible loss", "loss", lower=0.0, log=True, zero=True, grid=(0.0, 1.0)),
        coefficient("A", "shortage of size at N = 1", "loss^(1/k)"),
        coefficient("B", "shortage of data at D = 1", "loss^(1/k)"),
        exponent("alpha", "exponent of the size", 0.05, 1.6, 10),
        exponent("beta", "exponent of the data", 0.05, 1.6, 10),
        Parameter("k", "how the shortages combine", lower=0.02, upper=20.0, log=True, grid=(0.2, 0.4, 0.7, 1.0, 1.5, 3.0)),
    )
    example = Example(
        {"E": 1.8, "A": 5.0e3, "B": 2.0e4, "alpha": 0.5, "beta": 0.55, "k": 0.6},
        plane(parameters=np.geomspace(1e7, 2e10, 7), tokens=np.geomspace(2e8, 1e12, 7)),
    )

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        shortage = logaddexp(p["A"] - p["alpha"] * x["parameters"], p["B"] - p["beta"] * x["tokens"])
        return logaddexp(exp(p["k"]) * shortage, p["E"])

    def grids(self, x: Mapping[str, Array], y: Array) -> Mapping[str, Sequence[float] | Array]:
        """See `Law.grids`."""
        return {**super().grids(x, y), "E": below(y, 7)}

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:
        """At fixed E, k and exponents (L - E)^(1/k) is linear in A and B."""
        reducible = y - np.exp(node["E"])
        fine = reducible > 0
        power = np.exp(-node["k"])
        with np.errstate(all="ignore"):
            target = np.where(fine, np.exp(power * np.log(np.where(fine, reducible, 1.0))), 1.0)
            weight = np.where(fine, (reducible / (power * target * y)) ** 2, np.inf)
        columns = (np.exp(-node["alpha"] * x["parameters"]), np.exp(-node["beta"] * x["tokens"]))
        return Linear(("A", "B"), columns, target, weight, (True, True))
