"""Second-order forward differentiation in numpy: a law writes its formula once, exact gradient and Hessian follow.

A `Jet` carries a value with its first and second derivatives in q variables. Shapes: value `(..., n)`, first `(q, ..., n)`,
second `(q, q, ..., n)`; anything that broadcasts to these is allowed. `second` is None where it is zero. The functions of this
module take jets, arrays and floats alike, so the same formula also predicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Jet", "Number", "exp", "expm1", "log", "logaddexp", "maximum_constant", "sigmoid", "softplus"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Jet:
    """A value with its derivatives; supports + - * / ** with jets, arrays and floats."""

    value: Array
    first: Array
    second: Array | None = None

    # numpy must hand `array * jet` to the jet instead of looping over the array's items.
    __array_ufunc__ = None

    def __add__(self, other: Number) -> Jet:
        if isinstance(other, Jet):
            return Jet(self.value + other.value, self.first + other.first, _plus(self.second, other.second))
        return Jet(self.value + other, self.first, self.second)

    def __mul__(self, other: Number) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.value * other, self.first * other, None if self.second is None else self.second * other)
        first = self.value * other.first + other.value * self.first
        cross = _outer(self.first, other.first)
        second = cross + cross.swapaxes(0, 1)
        if self.second is not None:
            second = second + other.value * self.second
        if other.second is not None:
            second = second + self.value * other.second
        return Jet(self.value * other.value, first, second)

    def __truediv__(self, other: Number) -> Jet:
        if isinstance(other, Jet):
            return self * chain(other, 1 / other.value, -1 / other.value**2, 2 / other.value**3)
        return self * (1 / np.asarray(other, dtype=np.float64))

    def __rtruediv__(self, other: Number) -> Jet:
        return chain(self, 1 / self.value, -1 / self.value**2, 2 / self.value**3) * other

    def __pow__(self, power: Number) -> Jet:
        if isinstance(power, Jet):
            return exp(power * log(self))
        value = self.value
        return chain(self, value**power, power * value ** (power - 1), power * (power - 1) * value ** (power - 2))

    def __rpow__(self, base: Number) -> Jet:
        return exp(self * np.log(np.asarray(base, dtype=np.float64)))

    def __neg__(self) -> Jet:
        return self * -1.0

    def __sub__(self, other: Number) -> Jet:
        return self + (-other)

    def __rsub__(self, other: Number) -> Jet:
        return (-self) + other

    __radd__ = __add__
    __rmul__ = __mul__


Number: TypeAlias = Jet | Array | float


def _outer(left: Array, right: Array) -> Array:
    return left[:, None] * right[None, :]


def _plus(left: Array | None, right: Array | None) -> Array | None:
    if left is None:
        return right
    return left if right is None else left + right


def chain(inner: Jet, value: Array, slope: Array, bend: Array) -> Jet:
    """f(inner), given f, f' and f'' at its value."""
    second = bend * _outer(inner.first, inner.first)
    if inner.second is not None:
        second = second + slope * inner.second
    return Jet(value, slope * inner.first, second)


def exp(x: Number) -> Any:
    """e^x; overflow gives inf, which an objective rejects, not a warning."""
    with np.errstate(over="ignore", invalid="ignore"):
        if not isinstance(x, Jet):
            return np.exp(x)
        value = np.exp(x.value)
        return chain(x, value, value, value)


def expm1(x: Number) -> Any:
    """e^x - 1, exact for small x."""
    with np.errstate(over="ignore", invalid="ignore"):
        if not isinstance(x, Jet):
            return np.expm1(x)
        slope = np.exp(x.value)
        return chain(x, np.expm1(x.value), slope, slope)


def log(x: Number) -> Any:
    """ln x; NaN below zero, which an objective rejects, not a warning."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if not isinstance(x, Jet):
            return np.log(x)
        slope = 1 / x.value
        return chain(x, np.log(x.value), slope, -(slope**2))


def sigmoid(x: Number) -> Any:
    """1 / (1 + e^-x) without overflow."""
    if not isinstance(x, Jet):
        return 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))
    value = 0.5 * (1 + np.tanh(0.5 * x.value))
    slope = value * (1 - value)
    return chain(x, value, slope, slope * (1 - 2 * value))


def softplus(x: Number) -> Any:
    """ln(1 + e^x) without overflow."""
    return logaddexp(x, 0.0)


def logaddexp(left: Number, right: Number) -> Any:
    """ln(e^left + e^right) without overflow."""
    if not isinstance(left, Jet):
        return np.logaddexp(left, right) if not isinstance(right, Jet) else logaddexp(right, left)
    value_right = right.value if isinstance(right, Jet) else right
    value = np.logaddexp(left.value, value_right)
    share = sigmoid(left.value - value_right)
    gap = left.first - right.first if isinstance(right, Jet) else left.first
    first = share * left.first + ((1 - share) * right.first if isinstance(right, Jet) else 0.0)
    second = share * (1 - share) * _outer(gap, gap)
    if left.second is not None:
        second = second + share * left.second
    if isinstance(right, Jet) and right.second is not None:
        second = second + (1 - share) * right.second
    return Jet(value, first, second)


def maximum_constant(x: Number, floor: float) -> Any:
    """max(x, floor); the derivative is that of the larger one."""
    if not isinstance(x, Jet):
        return np.maximum(x, floor)
    above = (x.value > floor).astype(np.float64)
    return chain(x, np.maximum(x.value, floor), above, np.zeros_like(above))
