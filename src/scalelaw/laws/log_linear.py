"""A straight line in the logarithm of the size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._objective import LeastSquares
from ._base import Array, Example, Law, Linear, Parameter, where
from ._jet import Number

__all__ = ["LogLinear"]


class LogLinear(Law):
    """L(x) = a - b ln x.

    It must fail somewhere, since it reaches zero at a finite size; it is the law of the width study that began this package.
    Fitted by ordinary least squares of the loss itself: the line is straight in plain loss, so log residuals would bend it.
    """

    name = "log_linear"
    formula = "L = a - b ln x"
    symbols = where(L="loss", x="any scale column", a="loss at x = 1", b="loss removed by a factor e of x")
    reference = "Metz 2022, On the Difficulty of Extrapolation with NN Scaling (blog)"
    parameters = (
        Parameter("a", "loss at x = 1", "loss", linear=True),
        Parameter("b", "loss removed by a factor e of x", "loss", linear=True),
    )
    objective = LeastSquares(log=False)
    logarithmic = False
    example = Example({"a": 7.0, "b": 0.275}, {"x": np.geomspace(4, 512, 8)})

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        return p["a"] - p["b"] * x["x"]

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:  # noqa: ARG002
        """See `Law.linearise`."""
        return Linear(("a", "b"), (np.ones_like(y), -x["x"]), y, np.ones_like(y), (False, False))
