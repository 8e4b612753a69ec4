"""A power law that starts late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._base import Array, Example, Law, Linear, Parameter, where
from ._jet import Number, logaddexp

__all__ = ["M3"]


class M3(Law):
    """L(x) = A (1/x + g)^c: a power law x^-c up to x = 1/g, where it levels off at A g^c.

    Positive g is a floor; g = 0 is the plain power law.
    """

    name = "m3"
    formula = "L = A (x^-1 + g)^alpha"
    symbols = where(
        L="loss", x="any scale column", A="loss at x = 1 without g", g="1 / size at which it levels off", alpha="exponent"
    )
    reference = "Alabdulmohsin et al. 2022, arXiv:2209.06640, M3"
    parameters = (
        Parameter("A", "loss at x = 1 without g", "loss", lower=0.0, log=True, linear=True),
        Parameter("g", "1 / size at which it levels off", "1/x", lower=0.0, log=True, zero=True, grid=(0.0, 1.0)),
        Parameter("alpha", "exponent", lower=0.0, upper=20.0, linear=True),
    )
    example = Example({"A": 9.0, "g": 0.002, "alpha": 0.3}, {"x": np.geomspace(4, 4096, 11)})

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        return p["A"] + p["alpha"] * logaddexp(p["g"], -x["x"])

    def floors(self, x: Mapping[str, Array], y: Array) -> Mapping[str, float]:  # noqa: ARG002
        """See `Law.floors`: g is compared with 1 / x."""
        return {"g": -float(np.max(x["x"])) - 45.0}

    def grids(self, x: Mapping[str, Array], y: Array) -> Mapping[str, Sequence[float] | Array]:  # noqa: ARG002
        """See `Law.grids`."""
        return {"g": np.concatenate([[0.0], np.exp(-x["x"].max() + np.linspace(-7.0, float(np.ptp(x["x"])) + 3.0, 60))])}

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:
        """At fixed g it is a straight line in logarithms: ln L = ln A + alpha ln(1/x + g)."""
        return Linear(
            ("A", "alpha"), (np.ones_like(y), logaddexp(node["g"], -x["x"])), np.log(y), np.ones_like(y), (False, False)
        )
