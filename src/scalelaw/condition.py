"""Row filters: `learning_rate == 3e-4 and width <= 512`, parsed and never evaluated as Python.

The grammar is comparisons (== != < <= > >= in, chained as in mathematics) between columns, numbers, text and + - * / of
them, joined by `and`, `or`, `not`. `width in [64, 128]` asks whether a value is in a list, `'pilot' in tags` whether a word is
among those of a column of words with commas between. Anything else is refused. Numbers compare equal within 1e-9 of their size,
so that 3e-4 finds 0.00030000000000000003.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import DataError, near
from .notation import Kind, quantity

__all__ = ["is_condition", "select"]

_MEND = "Write comparisons of columns and numbers joined by and, or, not; for example: width <= 512 and learning_rate == 3e-4"
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_LONGEST = 2000


def is_condition(text: str) -> bool:
    """Whether a text is meant as a filter: no id or file name has a comparison in it."""
    return re.search(r"[=<>]|\bin\b", text) is not None


def select(expression: str, columns: dict[str, np.ndarray], rows: int) -> np.ndarray:
    """The rows for which `expression` holds, as a boolean array of shape (rows,).

    Raises:
        DataError: the expression does not parse, uses anything but the grammar above, or names an unknown column.
    """
    if len(expression) > _LONGEST:
        raise DataError(f"the filter is longer than {_LONGEST} characters", "--where", _MEND)
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"cannot read the filter {expression!r}", "--where", _MEND) from error
    try:
        with np.errstate(all="ignore"):
            result = _truth(tree.body, columns)
    except (TypeError, ZeroDivisionError, OverflowError) as error:
        raise DataError(f"the filter {expression!r} compares text with numbers or overflows", "--where", _MEND) from error
    except RecursionError as error:
        raise DataError("the filter is nested too deeply", "--where", _MEND) from error
    return np.broadcast_to(np.asarray(result, dtype=bool), (rows,)).copy()


def _truth(node: ast.expr, columns: dict[str, np.ndarray]) -> Any:
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_truth(value, columns) for value in values]
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            result = parts[0]
            for part in parts[1:]:
                result = join(result, part)
            return result
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return np.logical_not(_truth(operand, columns))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            terms = [left, *comparators]
            result = np.asarray(True)
            for op, one, other in zip(ops, terms, terms[1:], strict=False):
                result = np.logical_and(result, _compare(op, one, other, columns))
            return result
        case _:
            raise DataError(f"the filter has {ast.unparse(node)!r} where a comparison belongs", "--where", _MEND)


def _compare(op: ast.cmpop, left: ast.expr, right: ast.expr, columns: dict[str, np.ndarray]) -> Any:
    one = _value(left, columns)
    if isinstance(op, ast.In | ast.NotIn):
        inside = np.asarray(False)
        if isinstance(right, ast.Name) and isinstance(one, str):
            inside = _among(one, _value(right, columns))
        elif isinstance(right, ast.List | ast.Tuple):
            for each in right.elts:
                inside = np.logical_or(inside, _equal(one, _value(each, columns)))
        else:
            raise DataError("`in` needs a list", "--where", "For example: width in [64, 128], or 'pilot' in tags")
        return inside if isinstance(op, ast.In) else np.logical_not(inside)
    other = _value(right, columns)
    if isinstance(op, ast.Eq):
        return _equal(one, other)
    if isinstance(op, ast.NotEq):
        return np.logical_not(_equal(one, other))
    if type(op) not in _ORDER:
        raise DataError("the filter uses an operator that is not a comparison", "--where", _MEND)
    strictly = isinstance(op, ast.Lt | ast.Gt)
    close = _equal(one, other)
    return (
        np.logical_and(_ORDER[type(op)](one, other), ~close) if strictly else np.logical_or(_ORDER[type(op)](one, other), close)
    )


def _among(word: str, cells: Any) -> Any:
    """Whether `word` is among the words of each cell, which have commas between."""
    if np.asarray(cells).dtype.kind not in "OUS":
        raise TypeError
    # Most cells hold the same few words.
    holds = {cell: word in (each.strip() for each in cell.split(",")) for cell in set(np.atleast_1d(cells).tolist())}
    return np.array([holds[cell] for cell in np.atleast_1d(cells).tolist()], dtype=bool)


def _equal(one: Any, other: Any) -> Any:
    texts = [np.asarray(value).dtype.kind in "OUS" for value in (one, other)]
    if all(texts):
        return np.asarray(one == other)
    if any(texts):
        raise TypeError
    one, other = np.asarray(one, float), np.asarray(other, float)
    # An infinity is close to nothing but itself.
    near_enough = np.abs(one - other) <= 1e-9 * np.maximum(np.abs(one), np.abs(other))
    return (one == other) | (near_enough & np.isfinite(one) & np.isfinite(other))


def _value(node: ast.expr, columns: dict[str, np.ndarray]) -> Any:
    match node:
        case ast.Constant(value=bool() as value):
            return float(value)
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Constant(value=str() as value):
            return value
        case ast.Name(id=name):
            return _column(name, columns)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, columns)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return +_value(operand, columns)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_value(left, columns), _value(right, columns))
        case _:
            raise DataError(f"the filter cannot use {ast.unparse(node)!r}", "--where", _MEND)


def _column(name: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    if name in columns:
        return columns[name]
    known = quantity(name)
    if known is not None and known.column in columns:
        return columns[known.column]
    if known is not None and known.kind is Kind.NOTE:
        return np.array([""], dtype=object)  # nobody has written any
    close = near(name, columns)
    hint = f"Did you mean {close!r}? The columns are" if close else "The columns are"
    raise DataError(f"the filter names the unknown column {name!r}", "--where", f"{hint}: {', '.join(sorted(columns))}")
