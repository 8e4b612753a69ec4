"""Arithmetic over a trial's numbers, `6 * parameters * tokens`: parsed, and never evaluated as Python."""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import SpecError, StudyError, near
from ..notation import quantity

__all__ = ["Formula", "formula"]

_MEND = 'Write numbers and the trial\'s own names with + - * / ** and parentheses, for example "6 * parameters * tokens"'
_LONGEST = 500
_HIGHEST = 64.0
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Formula:
    """A formula that was read.

    Args:
        text: as it was written. tree: what it means. names: the quantities it needs, as notation calls those it knows.
    """

    text: str
    tree: ast.expr
    names: tuple[str, ...]

    def value(self, numbers: Mapping[str, float]) -> float:
        """Its value, above 0.

        Raises:
            SpecError: a name that `numbers` lacks, or a value that is not finite and above 0.
        """
        for name in self.names:
            if name not in numbers:
                close = near(name, numbers)
                hint = f"Did you mean {close!r}? " if close else ""
                known = ", ".join(numbers) or "none"
                raise SpecError(
                    f"the formula {self.text!r} needs {name!r}", "trainer.flops", f"{hint}The trial's numbers: {known}"
                )
        try:
            found = _value(self.tree, numbers)
        except (ZeroDivisionError, OverflowError):
            found = math.nan
        if not (0 < found < math.inf):
            raise SpecError(f"the formula {self.text!r} gives no number above 0", "trainer.flops", _MEND)
        return found


@functools.lru_cache
def formula(text: str, where: str) -> Formula:
    """Read a formula. Raises StudyError where it uses anything but the grammar above; `where` names it."""
    what = f"cannot read the formula {text!r}"
    try:
        tree = ast.parse(text.strip(), mode="eval").body if len(text) <= _LONGEST else None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise StudyError(what, where, _MEND) from error
    if tree is None:
        raise StudyError(f"the formula is longer than {_LONGEST} characters", where, _MEND)
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name):
                names[_column(name)] = None
            case ast.Constant(value=bool()):
                raise StudyError(what, where, _MEND)
            case (
                ast.Constant(value=int() | float())
                | ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow())
                | ast.UnaryOp(op=ast.UAdd() | ast.USub())
                | ast.operator()
                | ast.unaryop()
                | ast.Load()
            ):
                pass
            case _:
                raise StudyError(what, where, _MEND)
    return Formula(text, tree, tuple(names))


def _column(name: str) -> str:
    known = quantity(name)
    return name if known is None else known.column


def _value(node: ast.expr, numbers: Mapping[str, float]) -> float:
    match node:
        case ast.Name(id=name):
            return numbers[_column(name)]
        case ast.UnaryOp(op=op, operand=operand):
            value = _value(operand, numbers)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            one, other = _value(left, numbers), _value(right, numbers)
            if not isinstance(op, ast.Pow):
                return _ARITHMETIC[type(op)](one, other)
            # A negative base has no real power that is not whole; a huge power is a typing error.
            return one**other if one > 0 and abs(other) <= _HIGHEST else math.nan
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case _:  # `formula` let nothing else in
            raise TypeError(ast.dump(node))
