"""The plain power law."""

from __future__ import annotations

import numpy as np

from ._base import Example, Law, Term, coefficient, exponent, where

__all__ = ["Power"]


class Power(Law):
    """L(x) = A x^-alpha, a straight line in log-log axes; M1 of Alabdulmohsin et al. 2022."""

    name = "power"
    formula = "L = A x^-alpha"
    symbols = where(L="loss", x="any scale column", A="loss at x = 1", alpha="exponent")
    reference = "Kaplan et al. 2020, arXiv:2001.08361"
    parameters = (coefficient("A", "loss at x = 1"), exponent("alpha", "how fast the loss falls", 0.002, 2.0, 40))
    terms = (Term("A", {"x": "alpha"}),)
    example = Example({"A": 9.0, "alpha": 0.12}, {"x": np.geomspace(4, 4096, 11)})
