"""`Law`: one formula with its names, bounds and example. Everything numerical about it is derived here or in `fit`.

A member is one file of tens of lines. It states the formula once, in one of two ways:

- `terms`: a sum of power terms, c * x^-p * ... ; prediction, gradient, Hessian and linear basis follow in closed form;
- `evaluate`: any formula written with `_jet`'s functions, in log space where it can overflow; derivatives follow exactly.
  Such a law also gives `linearise`, the least-squares problem that remains when its nonlinear parameters are fixed.

Inside a fit a parameter with `log=True` is its logarithm (so it stays positive), and every input is its logarithm.
"""

from __future__ import annotations

import copy
import functools
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._objective import Huber, Objective
from ..errors import InputError
from ._jet import Number, exp, log, logaddexp

__all__ = ["Example", "Law", "Linear", "Parameter", "Term", "coefficient", "exponent", "plane", "where"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Args:
        name: its key in `theta`.
        meaning: what it is, in words.
        unit: of the value; "loss" stands for the unit of the output column.
        lower, upper: bounds of the value.
        log: fitted as its logarithm; positive, and 0 is reported where the data push it there.
        linear: enters linearly once the others are fixed, and is projected out of the search.
        zero: may be exactly 0 without leaving another parameter without meaning, so the fit with it at 0 is tried as well.
        grid: the values scanned where it is not linear.
    """

    name: str
    meaning: str
    unit: str = "1"
    lower: float = -np.inf
    upper: float = np.inf
    log: bool = False
    linear: bool = False
    zero: bool = False
    grid: tuple[float, ...] = ()

    def inner(self, value: Any) -> Any:
        """From the value to the coordinate of the fit."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(value) if self.log else value

    def outer(self, coordinate: Any) -> Any:
        """From the coordinate of the fit to the value."""
        return exp(coordinate) if self.log else coordinate


def coefficient(name: str, meaning: str, unit: str = "loss", **other: Any) -> Parameter:
    """A positive linear coefficient."""
    return Parameter(name, meaning, unit, lower=0.0, log=True, linear=True, **other)


def where(**symbols: str) -> Mapping[str, str]:
    """The symbol map of a formula: symbol -> what it stands for."""
    return MappingProxyType(symbols)


def exponent(name: str, meaning: str, low: float = 0.02, high: float = 2.0, count: int = 30) -> Parameter:
    """A positive exponent, scanned on a geometric grid, at most 10."""
    return Parameter(name, meaning, lower=0.0, upper=10.0, grid=tuple(np.geomspace(low, high, count)))


@dataclass(frozen=True)
class Term:
    """coefficient * prod_k input_k^(-exponent_k); `powers` maps an input to the name of its exponent."""

    coefficient: str
    powers: Mapping[str, str] = field(default_factory=dict[str, str])


def plane(**axes: Array) -> dict[str, Array]:
    """Every combination of the values on each axis, as columns."""
    mesh = np.meshgrid(*axes.values(), indexing="ij")
    return {name: level.ravel() for name, level in zip(axes, mesh, strict=True)}


@dataclass(frozen=True)
class Example:
    """A known truth: a law must recover `theta` from its own predictions at `x`."""

    theta: Mapping[str, float]
    x: Mapping[str, Array]


@dataclass(frozen=True)
class Linear:
    """What is left at g nodes of the nonlinear parameters: target ~ sum_j c_j column_j.

    Args:
        names: the parameters projected out, in the order of the columns.
        columns: one array `(g, n)` each, or anything that broadcasts to it.
        target: `(g, n)` or `(n,)`.
        weight: of each squared residual, same shapes; infinite where the node is impossible.
        rows: where many nodes share a column, column j of node k is `columns[j][rows[j][k]]`; target and weight are `(n,)`.
        powers: parameter -> `(g,)`, where the coefficient c_j is that power of the parameter.
        positive: which c_j must be positive; for a parameter with `log` c_j is then its value, else its coordinate in the fit.
    """

    names: tuple[str, ...]
    columns: tuple[Array, ...]
    target: Array
    weight: Array
    positive: tuple[bool, ...]
    rows: tuple[NDArray[np.intp], ...] = ()
    powers: Mapping[str, Array] = field(default_factory=dict[str, Array])


class Law(ABC):
    """Base of every law. A member is stateless; `over` binds it to columns and `option` to its variants.

    Attributes:
        name: the file's name, and the name on the command line.
        formula: plain text.
        symbols: symbol in the formula -> what it stands for.
        reference: the paper.
        inputs: default columns. The single input "x" stands for any scale column.
        output: the column it predicts.
        parameters: in the order of `theta`.
        objective: what `fit` minimises unless told otherwise.
        logarithmic: `evaluate` returns ln(prediction), else the prediction.
        example: a truth and the points that identify it.
    """

    name: ClassVar[str]
    formula: str
    symbols: Mapping[str, str]
    reference: str
    inputs: tuple[str, ...] = ("x",)
    output: str = "loss"
    parameters: tuple[Parameter, ...]
    terms: tuple[Term, ...] = ()
    objective: Objective = Huber()
    logarithmic: bool = True
    example: Example
    columns: tuple[str, ...] = ()

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """The formula, ln f or, if not `logarithmic`, f.

        Args:
            p: the parameters by name, as coordinates of the fit (the logarithm of a parameter with `log`).
            x: the logarithm of each input.
        """
        parts: list[Any] = []
        for term in self.terms:
            part: Any = p[term.coefficient]
            for name, power in term.powers.items():
                part = part - p[power] * x[name]
            parts.append(part)
        return functools.reduce(logaddexp, parts)

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear | None:
        """The linear problem at nodes `(g, 1)` of the nonlinear parameters; None where the law has none. Errors are relative."""
        if not self.terms:
            return None
        columns: list[Array] = []
        rows: list[NDArray[np.intp]] = []
        count = max((len(level) for level in node.values()), default=1)
        for term in self.terms:
            if not term.powers:
                columns.append(np.ones((1, len(y))))
                rows.append(np.zeros(count, dtype=np.intp))
                continue
            levels = np.concatenate([node[power] for power in term.powers.values()], axis=1)
            levels = np.broadcast_to(levels, (count, levels.shape[1]))
            if levels.shape[1] == 1:
                # The same, ten times faster.
                levels, row = np.unique(levels[:, 0], return_inverse=True)
                levels = levels[:, None]
            else:
                levels, row = np.unique(levels, axis=0, return_inverse=True)
            columns.append(np.exp(-levels @ np.stack([x[name] for name in term.powers])))
            rows.append(row.reshape(-1))
        names = tuple(term.coefficient for term in self.terms)
        return Linear(names, tuple(columns), y, 1 / y**2, (True,) * len(names), tuple(rows))

    def grids(self, x: Mapping[str, Array], y: Array) -> Mapping[str, Sequence[float] | Array]:  # noqa: ARG002
        """Values to scan for the nonlinear parameters; a law whose scales depend on the data overrides this."""
        return {item.name: item.grid for item in self.parameters if not item.linear}

    def floors(self, x: Mapping[str, Array], y: Array) -> Mapping[str, float]:  # noqa: ARG002
        """Coordinate that stands for exactly 0, too small to matter, of a parameter not in the unit of the output."""
        return {}

    def over(self, columns: str | Sequence[str]) -> Law:
        """The same law read from other columns, one for each input."""
        columns = (columns,) if isinstance(columns, str) else tuple(columns)
        if len(columns) != len(self.inputs):
            wanted = ", ".join(self.inputs)
            raise InputError(
                f"law {self.name} has {len(self.inputs)} inputs ({wanted}), not {len(columns)}", "over", "Name one column each"
            )
        return self._with(columns=columns)

    def option(self, text: str) -> Law:
        """The variant that `name:text` asks for."""
        raise InputError(f"law {self.name} has no variant {text!r}", "law", f"Use {self.name} alone")

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name."""
        return next(item for item in self.parameters if item.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of `theta`, in order."""
        return tuple(item.name for item in self.parameters)

    def predict(self, theta: Mapping[str, Any], x: Mapping[str, Any]) -> Array:
        """The law's value at inputs `x` (plain values, by input name or bound column)."""
        logs = self.logs(x)
        with np.errstate(divide="ignore"):
            p = {item.name: np.asarray(item.inner(np.asarray(theta[item.name], dtype=np.float64))) for item in self.parameters}
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            value = self.evaluate(p, logs)
        return np.asarray(exp(value) if self.logarithmic else value, dtype=np.float64)

    def logs(self, x: Mapping[str, Any]) -> dict[str, Array]:
        """Logarithms of the inputs, keyed by the law's own input names."""
        result: dict[str, Array] = {}
        for place, name in enumerate(self.inputs):
            column = self.columns[place] if self.columns else name
            key = column if column in x else name
            if key not in x:
                raise InputError(f"law {self.name} needs {column}", "at", f"Give a value, for example {column}=1e9")
            values = np.asarray(x[key], dtype=np.float64)
            if not np.all(values > 0):
                raise InputError(f"{column} must be positive", "at", "Scales are positive numbers")
            result[name] = np.asarray(log(values), dtype=np.float64)
        return result

    def _with(self, **changes: Any) -> Law:
        other = copy.copy(self)
        for key, value in changes.items():
            setattr(other, key, value)
        return other
