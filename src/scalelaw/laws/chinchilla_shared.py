"""Chinchilla's law with one exponent for size and data."""

from __future__ import annotations

import numpy as np

from ._base import Example, Law, Term, coefficient, exponent, plane, where

__all__ = ["ChinchillaShared"]


class ChinchillaShared(Law):
    """L(N, D) = E + A N^-alpha + B D^-alpha: optimal size and data grow alike, N* ~ D* ~ C^(1/2)."""

    name = "chinchilla_shared"
    formula = "L = E + A N^-alpha + B D^-alpha"
    symbols = where(
        L="loss",
        N="parameters",
        D="tokens",
        E="irreducible loss",
        A="loss of finite size at N = 1",
        B="loss of finite data at D = 1",
        alpha="exponent of both",
    )
    reference = "Muennighoff et al. 2023, arXiv:2305.16264, section 3; form of Hoffmann et al. 2022, arXiv:2203.15556"
    inputs = ("parameters", "tokens")
    parameters = (
        coefficient("E", "loss that neither size nor data removes", zero=True),
        coefficient("A", "loss of finite size at N = 1"),
        coefficient("B", "loss of finite data at D = 1"),
        exponent("alpha", "exponent of both", 0.05, 1.5, 40),
    )
    terms = (Term("E"), Term("A", {"parameters": "alpha"}), Term("B", {"tokens": "alpha"}))
    example = Example(
        {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.3527},
        plane(parameters=np.geomspace(5e7, 2e10, 6), tokens=np.geomspace(1e9, 1e12, 6)),
    )
