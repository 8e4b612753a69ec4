"""Chinchilla's law where the data repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._base import Array, Example, Law, Linear, Parameter, coefficient, exponent, plane, where
from ._jet import Number, exp, expm1, log, logaddexp, maximum_constant

__all__ = ["DataConstrained"]


def _rate(name: str, meaning: str) -> Parameter:
    return Parameter(name, meaning, lower=0.0, upper=1e6, log=True, grid=(1.0, 4.0, 16.0, 64.0, 256.0))


class DataConstrained(Law):
    """L = E + A N'^-alpha + B D'^-beta, with effective size and data: repeats and excess parameters lose value exponentially.

    U is the unique data, R = D / U - 1 the repeats, and D' = U + U R_D (1 - e^(-R / R_D)). U_N is the size that is optimal for U
    tokens, U_N = G (U G)^(beta / alpha) with G = (alpha A / (beta B))^(1 / (alpha + beta)), at most N; its excess S = N / U_N - 1
    counts the same way, N' = U_N + U_N R_N (1 - e^(-S / R_N)).
    """

    name = "data_constrained"
    formula = "L = E + A N'^-alpha + B D'^-beta; D' = U + U R_D (1 - e^(-R / R_D)); N' = U_N + U_N R_N (1 - e^(-S / R_N))"
    symbols = where(
        L="loss",
        N="parameters",
        D="tokens, with repeats",
        U="unique tokens (dataset_size)",
        R="repeats, D / U - 1",
        S="excess parameters, N / U_N - 1",
        U_N="size that is optimal for U tokens",
        E="irreducible loss",
        A="loss of finite size at N' = 1",
        B="loss of finite data at D' = 1",
        alpha="exponent of the size",
        beta="exponent of the data",
        R_D="repeats after which data are worth 1 / e",
        R_N="excess after which parameters are worth 1 / e",
    )
    reference = "Muennighoff et al. 2023, arXiv:2305.16264, equations 5 to 7"
    inputs = ("parameters", "tokens", "dataset_size")
    parameters = (
        coefficient("E", "irreducible loss", zero=True),
        coefficient("A", "loss of finite size at N' = 1"),
        coefficient("B", "loss of finite data at D' = 1"),
        exponent("alpha", "exponent of the size", 0.1, 1.2, 6),
        exponent("beta", "exponent of the data", 0.1, 1.2, 6),
        _rate("R_D", "repeats after which data are worth 1 / e"),
        _rate("R_N", "excess after which parameters are worth 1 / e"),
    )
    example = Example(
        {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.35, "beta": 0.36, "R_D": 15.4, "R_N": 5.3},
        plane(parameters=np.geomspace(5e7, 9e9, 6), tokens=np.geomspace(1e9, 5e11, 6), dataset_size=np.array([1e8, 4e8, 1e9])),
    )

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        both = p["alpha"] + p["beta"]
        ratio = (log(p["alpha"] / p["beta"]) + p["A"] - p["B"]) / both
        unique = np.minimum(x["dataset_size"], x["tokens"])
        base = ratio + p["beta"] / p["alpha"] * (unique + ratio)
        excess = maximum_constant(x["parameters"] - base, 0.0)
        size = x["parameters"] - excess + log(1.0 + _faded(expm1(excess), p["R_N"]))
        data = unique + log(1.0 + _faded(np.expm1(x["tokens"] - unique), p["R_D"]))
        finite = logaddexp(p["A"] - p["alpha"] * size, p["B"] - p["beta"] * data)
        return logaddexp(finite, p["E"])

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:
        """At fixed exponents and fading it is linear, but for U_N, for which one parameter to 20 unique tokens is taken."""
        unique = np.minimum(x["dataset_size"], x["tokens"])
        excess = np.maximum(x["parameters"] - unique + np.log(20.0), 0.0)
        size = x["parameters"] - excess + np.log1p(_faded(np.expm1(excess), node["R_N"]))
        data = unique + np.log1p(_faded(np.expm1(x["tokens"] - unique), node["R_D"]))
        columns = (np.ones_like(y), np.exp(-node["alpha"] * size), np.exp(-node["beta"] * data))
        return Linear(("E", "A", "B"), columns, y, 1 / y**2, (True, True, True))


def _faded(extra: Number, rate: Number) -> Any:
    """What `extra` repeats are worth: r (1 - e^(-extra / r)), for r = e^rate."""
    return -exp(rate) * expm1(-extra * exp(-rate))
