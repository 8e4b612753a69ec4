"""How the best hyperparameter moves with size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._objective import LeastSquares
from ..errors import InputError
from ._base import Array, Example, Law, Linear, Parameter, where
from ._jet import Number

__all__ = ["Optimum"]


class Optimum(Law):
    """h*(x) = c prod_j x_j^-p_j, a power law in one or several scale columns; `optimum:curved` adds x_j^(-q_j ln x_j).

    A law like any other, with another output column: `fit("optimum", table, over=("width", "tokens"), outcome="learning_rate")`.
    Least squares of the logarithm, since optima come with standard errors of their own: pass 1 / se^2 as weights.
    """

    name = "optimum"
    formula = "h = c x^-p"
    symbols = where(h="best value of a hyperparameter", x="any scale column", c="its value at x = 1", p="exponent", q="bend")
    reference = "Li et al. 2025 (Step Law), arXiv:2503.04715; bend: arXiv:2606.29158"
    output = "learning_rate"
    objective = LeastSquares()
    curved = False
    example = Example({"c": 0.004, "p": 0.44}, {"x": np.geomspace(4, 4096, 11)})

    def __init__(self) -> None:
        self.parameters = _parameters(("x",), curved=False)

    def over(self, columns: str | Sequence[str]) -> Law:
        """Any number of columns; with several, the exponents are p_<column>."""
        columns = (columns,) if isinstance(columns, str) else tuple(columns)
        if not columns:
            raise InputError("no scale column", "over", "Name at least one")
        inputs = ("x",) if len(columns) == 1 else columns
        return self._with(
            inputs=inputs, columns=columns, parameters=_parameters(inputs, curved=self.curved), **_words(inputs, self.curved)
        )

    def option(self, text: str) -> Law:
        """`optimum:curved` lets the exponent change with size."""
        if text != "curved":
            raise InputError(f"law optimum has no variant {text!r}", "law", "Use optimum or optimum:curved")
        return self._with(curved=True, parameters=_parameters(self.inputs, curved=True), **_words(self.inputs, True))

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        result: Any = p["c"]
        for name in self.inputs:
            result = result - p[_key("p", name)] * x[name]
            if self.curved:
                result = result - p[_key("q", name)] * x[name] ** 2
        return result

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:  # noqa: ARG002
        """A straight line, or a parabola, in logarithms."""
        columns = [np.ones_like(y), *(-x[name] for name in self.inputs)]
        if self.curved:
            columns += [-(x[name] ** 2) for name in self.inputs]
        return Linear(self.names, tuple(columns), np.log(y), np.ones_like(y), (False,) * len(columns))


def _key(letter: str, name: str) -> str:
    return letter if name == "x" else f"{letter}_{name}"


def _parameters(inputs: Sequence[str], *, curved: bool) -> tuple[Parameter, ...]:
    slopes = [Parameter(_key("p", name), f"exponent of {name}", linear=True) for name in inputs]
    bends = [Parameter(_key("q", name), f"change of that exponent with ln {name}", linear=True) for name in inputs if curved]
    return (Parameter("c", "value at size 1", "of the output", lower=0.0, log=True, linear=True), *slopes, *bends)


def _words(inputs: Sequence[str], curved: bool) -> dict[str, Any]:
    powers = [
        f"{name}^(-{_key('p', name)} - {_key('q', name)} ln {name})" if curved else f"{name}^-{_key('p', name)}"
        for name in inputs
    ]
    symbols = {"h": "best value of a hyperparameter", "c": "its value at size 1", **dict.fromkeys(inputs, "a scale column")}
    symbols |= {item.name: item.meaning for item in _parameters(inputs, curved=curved)}
    return {"formula": f"h = c {' '.join(powers)}", "symbols": where(**symbols)}
