"""Loss of a language model from its size and its data."""

from __future__ import annotations

import numpy as np

from ._base import Example, Law, Term, coefficient, exponent, plane, where

__all__ = ["Chinchilla"]


class Chinchilla(Law):
    """L(N, D) = E + A N^-alpha + B D^-beta."""

    name = "chinchilla"
    formula = "L = E + A N^-alpha + B D^-beta"
    symbols = where(
        L="loss",
        N="parameters",
        D="tokens",
        E="irreducible loss",
        A="loss of finite size at N = 1",
        B="loss of finite data at D = 1",
        alpha="exponent of the size",
        beta="exponent of the data",
    )
    reference = "Hoffmann et al. 2022, arXiv:2203.15556; Besiroglu et al. 2024, arXiv:2404.10102"
    inputs = ("parameters", "tokens")
    parameters = (
        coefficient("E", "loss that neither size nor data removes", zero=True),
        coefficient("A", "loss of finite size at N = 1"),
        coefficient("B", "loss of finite data at D = 1"),
        exponent("alpha", "exponent of the size", 0.05, 1.5, 24),
        exponent("beta", "exponent of the data", 0.05, 1.5, 24),
    )
    terms = (Term("E"), Term("A", {"parameters": "alpha"}), Term("B", {"tokens": "beta"}))
    example = Example(
        {"E": 1.82, "A": 478.0, "B": 2143.0, "alpha": 0.347, "beta": 0.367},
        plane(parameters=np.geomspace(5e7, 2e10, 6), tokens=np.geomspace(1e9, 1e12, 6)),
    )
