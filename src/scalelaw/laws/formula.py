"""A law given as text, in a study file or on the command line."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from ..errors import InputError
from ..notation import QUANTITIES
from ._base import Array, Example, Law, Linear, Parameter, where
from ._jet import Number, exp, log

__all__ = ["Formula"]

_FUNCTIONS = {"exp": exp, "log": log, "ln": log}
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_LONGEST = 400
_MOST_NODES = 4000


class Formula(Law):
    """Any formula of numbers, names, + - * / ^, exp and log: `formula:E + A * x^-alpha + F / log(x)`.

    `x` and the names of notation's columns are inputs, every other name is a positive parameter. The text is parsed into a tree
    of those operations alone; it is never run as Python. A parameter that only scales one of the summed terms is linear and
    projected out; the others are scanned, exponents from 0.03 to 3 and the rest from 0.001 to 1000.
    """

    name = "formula"
    formula = "E + A * x^-alpha"
    symbols = where(x="any scale column", E="parameter", A="parameter", alpha="parameter")
    reference = "given by the user"
    logarithmic = False
    example = Example({"E": 1.7, "A": 12.0, "alpha": 0.35}, {"x": np.geomspace(4, 4096, 11)})

    def __init__(self) -> None:
        self._read(self.formula)

    def option(self, text: str) -> Law:
        """`formula:TEXT` is the law TEXT."""
        law = Formula()
        law._read(text)
        return law

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        names: dict[str, Any] = {name: exp(value) for name, value in p.items()} | {
            name: np.exp(value) for name, value in x.items()
        }
        return _value(self._tree, names)

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear | None:
        """Terms of the sum with a coefficient of their own are columns; the others are moved to the target."""
        if not self._linear:
            return None
        names: dict[str, Any] = {name: np.exp(value) for name, value in (*node.items(), *x.items())}
        names |= dict.fromkeys(self._linear, 1.0)
        target: Any = y
        columns: list[Array] = []
        for term in self._terms:
            value = term.sign * np.asarray(_value(term.tree, names))
            if term.coefficient:
                columns.append(value + np.zeros_like(y))
            else:
                target = target - value
        return Linear(self._linear, tuple(columns), target, 1 / y**2, (True,) * len(columns))

    def _read(self, text: str) -> None:
        """Take the law from its text."""
        body = text.split("=", 1)[1] if "=" in text else text
        self._tree = _parsed(body.strip())
        self._terms = _terms(self._tree)
        names = list(dict.fromkeys(_names(self._tree)))
        self.inputs = tuple(name for name in names if name == "x" or name in QUANTITIES)
        free = [name for name in names if name not in self.inputs]
        if not self.inputs or not free:
            missing = "input (x or a column such as parameters)" if not self.inputs else "parameter"
            raise InputError(f"the formula {body.strip()!r} has no {missing}", "law", "Write for example E + A * x^-alpha")
        self._linear = tuple(term.coefficient for term in self._terms if term.coefficient)
        powers = set(itertools.chain(*(_names(node.right) for node in ast.walk(self._tree) if _is_power(node))))
        scanned = [name for name in free if name not in self._linear]
        count = max(3, min(30, int(_MOST_NODES ** (1 / max(len(scanned), 1)))))
        self.parameters = tuple(
            Parameter(
                name,
                "exponent" if name in powers else "parameter",
                "1",
                lower=0.0,
                log=True,
                linear=name in self._linear,
                zero=any(term.coefficient == name and _constant(term.tree, self.inputs) for term in self._terms),
                grid=tuple(np.geomspace(0.03, 3, count) if name in powers else np.geomspace(1e-3, 1e3, count)),
            )
            for name in free
        )
        self.formula = body.strip()
        self.symbols = where(**dict.fromkeys(self.inputs, "an input"), **{item.name: item.meaning for item in self.parameters})


@dataclass(frozen=True)
class _Term:
    """One summand: its sign, its tree, and the parameter that scales it and occurs nowhere else."""

    sign: float
    tree: ast.expr
    coefficient: str | None


def _parsed(text: str) -> ast.expr:
    """The tree of a formula, made of allowed nodes only."""
    if not text or len(text) > _LONGEST:
        raise InputError(f"a formula has 1 to {_LONGEST} characters", "law", "Write for example E + A * x^-alpha")
    try:
        tree = ast.parse(text.replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"the formula {text!r} cannot be read", "law", "Write for example E + A * x^-alpha") from None
    for node in ast.walk(tree):
        fine = (
            isinstance(node, (ast.Name, ast.Load, ast.USub, ast.UAdd, *_OPERATORS))
            or (isinstance(node, ast.Constant) and type(node.value) in (int, float))
            or (isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS))
            or (isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)))
            or (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in _FUNCTIONS
                and len(node.args) == 1
                and not node.keywords
            )
        )
        if not fine:
            what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
            raise InputError(f"{what!r} is not allowed in a formula", "law", "Use numbers, names, + - * / ^, exp and log")
    return tree


def _value(tree: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of a tree; an overflow gives inf or NaN, which an objective rejects."""
    with np.errstate(all="ignore"):
        if isinstance(tree, ast.Constant):
            return float(tree.value)  # pyright: ignore[reportArgumentType]  _parsed lets only int and float through
        if isinstance(tree, ast.Name):
            return names[tree.id]
        if isinstance(tree, ast.UnaryOp):
            inner = _value(tree.operand, names)
            return -inner if isinstance(tree.op, ast.USub) else inner
        if isinstance(tree, ast.Call):
            assert isinstance(tree.func, ast.Name)
            return _FUNCTIONS[tree.func.id](_value(tree.args[0], names))
        assert isinstance(tree, ast.BinOp)
        left, right = _value(tree.left, names), _value(tree.right, names)
        if isinstance(tree.op, ast.Add):
            return left + right
        if isinstance(tree.op, ast.Sub):
            return left - right
        if isinstance(tree.op, ast.Mult):
            return left * right
        if isinstance(tree.op, ast.Div):
            return np.float64(left) / right if isinstance(left, float) else left / right
        return np.float64(left) ** right if isinstance(left, float) else left**right


def _is_power(node: ast.AST) -> TypeGuard[ast.BinOp]:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)


def _names(tree: ast.AST) -> list[str]:
    """The names in a tree, as they are written from left to right."""
    found = [item for item in ast.walk(tree) if isinstance(item, ast.Name) and item.id not in _FUNCTIONS]
    return [item.id for item in sorted(found, key=lambda item: (item.lineno, item.col_offset))]


def _constant(tree: ast.expr, inputs: Sequence[str]) -> bool:
    return not any(name in inputs for name in _names(tree))


def _terms(tree: ast.expr) -> list[_Term]:
    """The summands of a formula."""
    summands = list(_sum(tree, 1.0))
    found: list[_Term] = []
    for place, (sign, part) in enumerate(summands):
        elsewhere = set(itertools.chain(*(_names(other) for k, (_, other) in enumerate(summands) if k != place)))
        own = _names(part)
        scales = [name for name in _factors(part) if own.count(name) == 1 and name not in elsewhere and not _is_input(name)]
        found.append(_Term(sign, part, scales[0] if scales else None))
    return found


def _is_input(name: str) -> bool:
    return name == "x" or name in QUANTITIES


def _sum(tree: ast.expr, sign: float) -> list[tuple[float, ast.expr]]:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Add, ast.Sub)):
        return _sum(tree.left, sign) + _sum(tree.right, sign if isinstance(tree.op, ast.Add) else -sign)
    if isinstance(tree, ast.UnaryOp):
        return _sum(tree.operand, -sign if isinstance(tree.op, ast.USub) else sign)
    return [(sign, tree)]


def _factors(tree: ast.expr) -> list[str]:
    """Names that multiply a whole summand."""
    if isinstance(tree, ast.Name):
        return [tree.id]
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        return _factors(tree.left) + _factors(tree.right)
    return _factors(tree.left) if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Div) else []
