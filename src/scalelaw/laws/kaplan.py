"""The first joint law of size and data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._base import Array, Example, Law, Linear, Parameter, exponent, plane, where
from ._jet import Number, logaddexp

__all__ = ["Kaplan"]


class Kaplan(Law):
    """L(N, D) = ((N_c / N)^(alpha / beta) + D_c / D)^beta; without an irreducible loss."""

    name = "kaplan"
    formula = "L = ((N_c / N)^(alpha / beta) + D_c / D)^beta"
    symbols = where(
        L="loss",
        N="parameters (Kaplan et al. count them without embeddings)",
        D="tokens",
        N_c="size at which loss of finite size is 1",
        D_c="data at which loss of finite data is 1",
        alpha="exponent of the size (alpha_N)",
        beta="exponent of the data (alpha_D)",
    )
    reference = "Kaplan et al. 2020, arXiv:2001.08361, equation 1.5"
    inputs = ("parameters", "tokens")
    parameters = (
        Parameter("N_c", "size at which loss of finite size is 1", "parameters", lower=0.0, log=True, linear=True),
        Parameter("D_c", "data at which loss of finite data is 1", "tokens", lower=0.0, log=True, linear=True),
        exponent("alpha", "exponent of the size (alpha_N)", 0.02, 1.0, 16),
        exponent("beta", "exponent of the data (alpha_D)", 0.02, 1.0, 16),
    )
    example = Example(
        {"N_c": 8.8e13, "D_c": 5.4e13, "alpha": 0.076, "beta": 0.095},
        plane(parameters=np.geomspace(1e6, 2e9, 6), tokens=np.geomspace(2e7, 2e10, 6)),
    )

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        size = p["alpha"] / p["beta"] * (p["N_c"] - x["parameters"])
        return p["beta"] * logaddexp(size, p["D_c"] - x["tokens"])

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:
        """At fixed exponents L^(1/beta) is linear in N_c^(alpha/beta) and D_c."""
        ratio = node["alpha"] / node["beta"]
        # Relative to the middle of the data, so that no power overflows.
        middle = np.mean(np.log(y))
        target = np.exp((np.log(y) - middle) / node["beta"])
        shift = np.exp(-middle / node["beta"])
        columns = (np.exp(-ratio * x["parameters"]) * shift, np.exp(-x["tokens"]) * shift)
        weight = (node["beta"] / target) ** 2
        return Linear(("N_c", "D_c"), columns, target, weight, (True, True), powers={"N_c": ratio[:, 0]})
