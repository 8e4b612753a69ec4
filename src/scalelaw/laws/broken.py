"""A power law whose exponent changes at breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ._base import Array, Example, Law, Linear, Parameter, where
from ._grids import along, below
from ._jet import Number, exp, logaddexp, softplus

__all__ = ["Broken"]

_MOST = 4


class Broken(Law):
    """L(x) = a + b x^-c0 prod_i (1 + (x / d_i)^(1 / f_i))^(-c_i f_i): smoothly broken neural scaling law (BNSL).

    The exponent is c0 before the first break and grows by c_i at x = d_i, over a width f_i in ln x. `broken` has one break;
    `broken:2` has two, and so on to four. Breaks are in rising order.
    """

    name = "broken"
    formula = "L = a + b x^-c0 (1 + (x / d1)^(1 / f1))^(-c1 f1)"
    symbols = where(
        L="loss",
        x="any scale column",
        a="loss that no size removes",
        b="scale of the power law",
        c0="exponent before the breaks",
        c1="what the break adds to the exponent",
        d1="where the break is",
        f1="how gradual the break is, in ln x",
    )
    reference = "Caballero et al. 2022, arXiv:2210.14891"
    breaks = 1
    example = Example({"a": 0.5, "b": 6.0, "c0": 0.1, "c1": 0.6, "d1": 900.0, "f1": 0.4}, {"x": np.geomspace(10, 1e5, 25)})

    def __init__(self) -> None:
        self.parameters = _parameters(1)

    def option(self, text: str) -> Law:
        """`broken:n` has n breaks."""
        if not text.isdigit() or not 1 <= int(text) <= _MOST:
            raise InputError(f"{text!r} is not a number of breaks", "law", f"Use broken:1 to broken:{_MOST}")
        count = int(text)
        factors = " ".join(f"(1 + (x / d{i})^(1 / f{i}))^(-c{i} f{i})" for i in range(1, count + 1))
        return self._with(breaks=count, parameters=_parameters(count), formula=f"L = a + b x^-c0 {factors}")

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        fall: Any = p["b"] - p["c0"] * x["x"]
        for i in range(1, self.breaks + 1):
            width = exp(p[f"f{i}"])
            fall = fall - p[f"c{i}"] * width * softplus((x["x"] - p[f"d{i}"]) / width)
        return logaddexp(fall, p["a"])

    def grids(self, x: Mapping[str, Array], y: Array) -> Mapping[str, Sequence[float] | Array]:
        """See `Law.grids`; coarser with more breaks."""
        floors, places = ((8, 12), (5, 9), (4, 7), (3, 5))[self.breaks - 1]
        widths = ((0.05, 0.2, 0.5, 1.2), (0.1, 0.6), (0.3,), (0.3,))[self.breaks - 1]
        grids: dict[str, Sequence[float] | Array] = {"a": below(y, floors)}
        for i in range(1, self.breaks + 1):
            grids |= {f"d{i}": along(x["x"], places), f"f{i}": widths}
        return grids

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:
        """At fixed floor and breaks it is linear in logarithms."""
        reducible = y - np.exp(node["a"])
        fine = reducible > 0
        for i in range(1, self.breaks):
            fine = fine & (node[f"d{i}"] < node[f"d{i + 1}"])
        columns = [np.ones_like(y), -x["x"]]
        for i in range(1, self.breaks + 1):
            width = np.exp(node[f"f{i}"])
            columns.append(-width * softplus((x["x"] - node[f"d{i}"]) / width))
        names = ("b", "c0", *(f"c{i}" for i in range(1, self.breaks + 1)))
        weight = np.where(fine, (reducible / y) ** 2, np.inf)
        return Linear(names, tuple(columns), np.log(np.where(fine, reducible, 1.0)), weight, (False,) * len(names))


def _parameters(breaks: int) -> tuple[Parameter, ...]:
    changes = [
        Parameter(f"c{i}", "what the break adds to the exponent", lower=-20.0, upper=20.0, linear=True)
        for i in range(1, breaks + 1)
    ]
    places = [Parameter(f"d{i}", "where the break is", "x", lower=0.0, log=True, grid=(1.0, 2.0)) for i in range(1, breaks + 1)]
    widths = [
        Parameter(f"f{i}", "how gradual the break is, in ln x", lower=0.01, upper=10.0, log=True, grid=(0.1, 1.0))
        for i in range(1, breaks + 1)
    ]
    return (
        Parameter("a", "loss that no size removes", "loss", lower=0.0, log=True, zero=True, grid=(0.0, 1.0)),
        Parameter("b", "scale of the power law", "loss", lower=0.0, log=True, linear=True),
        Parameter("c0", "exponent before the breaks", lower=-20.0, upper=20.0, linear=True),
        *changes,
        *places,
        *widths,
    )
