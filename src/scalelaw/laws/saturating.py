"""A power law that levels off at an irreducible loss."""

from __future__ import annotations

import numpy as np

from ._base import Example, Law, Term, coefficient, exponent, where

__all__ = ["Saturating"]


class Saturating(Law):
    """L(x) = E + A x^-alpha, also known as M2 (Alabdulmohsin et al. 2022)."""

    name = "saturating"
    formula = "L = E + A x^-alpha"
    symbols = where(L="loss", x="any scale column", E="irreducible loss", A="reducible loss at x = 1", alpha="exponent")
    reference = "Hestness et al. 2017, arXiv:1712.00409; Henighan et al. 2020, arXiv:2010.14701"
    parameters = (
        coefficient("E", "loss that no size removes", zero=True),
        coefficient("A", "reducible loss at x = 1"),
        exponent("alpha", "how fast the reducible loss falls", count=40),
    )
    terms = (Term("E"), Term("A", {"x": "alpha"}))
    example = Example({"E": 1.7, "A": 12.0, "alpha": 0.35}, {"x": np.geomspace(4, 4096, 11)})
