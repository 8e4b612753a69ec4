"""A straight line in the logarithm of the size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._objective import LeastSquares
from ._base import Array, Example, Law, Linear, Parameter, where
from ._jet import Number

__all__ = ["LogLinear"]


class LogLinear(Law):
    """L(x) = a - b ln x; in several scale columns L = a - sum_j b_j ln x_j.

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

    def over(self, columns: str | Sequence[str]) -> Law:
        """Any number of columns; with several, the slopes are b_<column>."""
        columns = (columns,) if isinstance(columns, str) else tuple(columns)
        if len(columns) < 2:
            return super().over(columns)
        slopes = [Parameter(f"b_{name}", f"loss removed by a factor e of {name}", "loss", linear=True) for name in columns]
        symbols = {"L": "loss", "a": "loss at size 1", **dict.fromkeys(columns, "a scale column")}
        return self._with(
            inputs=columns,
            columns=columns,
            parameters=(self.parameters[0], *slopes),
            formula=f"L = a {' '.join(f'- b_{name} ln {name}' for name in columns)}",
            symbols=where(**symbols, **{item.name: item.meaning for item in slopes}),
        )

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        result: Any = p["a"]
        for name, slope in zip(self.inputs, self.parameters[1:], strict=True):
            result = result - p[slope.name] * x[name]
        return result

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:  # noqa: ARG002
        """See `Law.linearise`."""
        columns = (np.ones_like(y), *(-x[name] for name in self.inputs))
        return Linear(self.names, columns, y, np.ones_like(y), (False,) * len(columns))
