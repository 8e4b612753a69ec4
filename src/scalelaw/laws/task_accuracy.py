"""Task accuracy from loss: the second link of a chained law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._objective import LeastSquares
from ._base import Array, Example, Law, Linear, Parameter, where
from ._grids import along
from ._jet import Number, exp, sigmoid

__all__ = ["TaskAccuracy"]


class TaskAccuracy(Law):
    """accuracy(L) = c + g / (1 + exp(k (L - m))): from chance, at high loss, to c + g.

    Chained with a law of the loss it gives accuracy from size: `task.predict({"loss": law.predict(at)})`.
    """

    name = "task_accuracy"
    formula = "accuracy = c + g / (1 + exp(k (L - m)))"
    symbols = where(
        L="loss", c="accuracy of guessing", g="what can be gained above it", k="steepness", m="loss at which half is gained"
    )
    reference = "Grattafiori et al. 2024, arXiv:2407.21783, section 3.2; Bhagia et al. 2024, arXiv:2412.04403"
    inputs = ("loss",)
    output = "accuracy"
    parameters = (
        Parameter("c", "accuracy of guessing", lower=-1.0, upper=1.0, linear=True),
        Parameter("g", "what can be gained above it", lower=0.0, log=True, linear=True),
        Parameter("k", "steepness", "1/loss", lower=0.0, log=True, grid=tuple(np.geomspace(0.3, 60, 20))),
        Parameter("m", "loss at which half is gained", "loss", lower=0.0, log=True, grid=(1.0, 2.0)),
    )
    objective = LeastSquares(log=False)
    logarithmic = False
    example = Example({"c": 0.25, "g": 0.65, "k": 4.0, "m": 2.6}, {"loss": np.linspace(1.8, 4.0, 16)})

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        return p["c"] + exp(p["g"]) * sigmoid(exp(p["k"]) * (exp(p["m"]) - np.exp(x["loss"])))

    def grids(self, x: Mapping[str, Array], y: Array) -> Mapping[str, Sequence[float] | Array]:
        """See `Law.grids`."""
        return {**super().grids(x, y), "m": along(x["loss"], 16)}

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:
        """At fixed steepness and middle it is a straight line."""
        rise = sigmoid(np.exp(node["k"]) * (np.exp(node["m"]) - np.exp(x["loss"])))
        return Linear(("c", "g"), (np.ones_like(y), rise), y, np.ones_like(y), (False, True))
