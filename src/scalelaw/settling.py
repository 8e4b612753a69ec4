"""Settling: whether a quantity levels off as size grows, and with which exponent.

With t = ln size - its mean,

    y(t) = c + g (1 - e^(-b t)) / b + eta + error,     eta ~ N(0, tau^2), error ~ N(0, se^2)

so for b > 0 it settles at y_inf = c + g / b, from which it is away by g / b e^(-b t) ~ size^-b. At b = 0 it is a line in ln size
and for b < 0 it moves ever faster: neither has a limit, and the family passes through both without a break. b is profiled: for
each b, c and g follow by weighted least squares, and the weighted sum of squares S(b) gives the signed root
sign(b - best) sqrt(S(b) - S(best)), read as Student's t with (sizes - 3) degrees of freedom. Where S stays below a quantile up to
the end of the grid, that end is open: the exponent may be anything beyond.

The family with three coefficients is usual (y_inf + A n^-b); profiling it through b = 0 is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .estimate import Effects, Estimate, random_effects

__all__ = ["LEAST", "Settling", "order", "settling"]

Array: TypeAlias = NDArray[np.float64]

# Sizes that three coefficients and a scatter take at least.
LEAST = 5
_POINTS = 401
# The grid ends where one step of the ladder takes this many e-foldings: beyond, only the smallest size would differ.
_FOLDS = 4.0


@dataclass(frozen=True, eq=False)
class Settling:
    """The profile of the exponent.

    Args:
        middle: mean of ln size.
        exponents, roots: the grid of b, and the signed root of the rise at each, ascending.
        value: the best b; infinite where it lies at an end of the grid.
        tau: standard deviation of a size's own value about the curve.
        degrees: of freedom of Student's t.
        constant: p-value of a quantity that does not move at all, F(2, degrees).
    """

    middle: float
    exponents: Array
    roots: Array
    value: float
    tau: float
    degrees: int
    constant: float
    _t: Array = field(repr=False)
    _y: Array = field(repr=False)
    _weight: Array = field(repr=False)

    def draw(self, count: int, random: np.random.Generator) -> Array:
        """Draws of b from its confidence distribution, `(count,)`: infinite where an end is open."""
        root = random.standard_t(self.degrees, count)
        found = np.interp(root, self.roots, self.exponents)
        return np.where(root > self.roots[-1], np.inf, np.where(root < self.roots[0], -np.inf, found))

    def estimate(self, level: float = 0.9, draws: int = 4000) -> Estimate:
        """b with its interval."""
        found = np.sort(self.draw(draws, np.random.default_rng(0)))
        return Estimate(self.value, order(found, 0.5 - level / 2), order(found, 0.5 + level / 2), level)

    def limits(self, exponents: Array, random: np.random.Generator) -> Array:
        """Draws of the value it settles at, one for each b; infinite where b is not positive.

        An infinite b has settled from the second size on, and the grid's end stands for it.
        """
        result = np.full(len(exponents), np.inf)
        for n, b in enumerate(np.minimum(exponents, self.exponents[-1])):
            if b > 0:
                beta, covariance = _linear(self._t, self._y, self._weight, float(b))
                row = np.array([1.0, 1 / b])
                scale = math.sqrt(self.degrees / random.chisquare(self.degrees))
                result[n] = row @ beta + scale * math.sqrt(max(float(row @ covariance @ row), 0.0)) * random.standard_normal()
        return result


def settling(log_size: Array, y: Array, se: Array, *, scatter: float = 0.1) -> Settling:
    """Profile the exponent.

    Args:
        log_size, y, se: ln size, the quantity and its standard error, `(n,)` each, n >= `LEAST`.
        scatter: scale of the weak prior on tau, in units of y (`estimate.random_effects`).
    """
    middle = float(log_size.mean())
    t = log_size - middle
    step = float(np.median(np.diff(np.unique(np.round(t, 9)))))
    grid = np.linspace(-_FOLDS / step, _FOLDS / step, _POINTS)
    effects = random_effects(np.stack([np.ones_like(t), t, t**2], axis=1), y, se, scatter)
    weight, squares = np.zeros(0), np.zeros(0)
    for _ in range(3):
        weight = 1.0 / (effects.tau**2 + se**2)
        squares = np.array([_squares(t, y, weight, float(b)) for b in grid])
        effects = _tangent(t, y, se, float(grid[np.argmin(squares)]), scatter)
    best = int(np.argmin(squares))
    rise: Array = np.sqrt(np.maximum(squares - squares[best], 0.0))
    roots = np.concatenate([-np.maximum.accumulate(rise[:best][::-1])[::-1], np.maximum.accumulate(rise[best:])])
    # A flat stretch of the profile has no inverse.
    roots = np.asarray(roots + 1e-9 * np.arange(len(roots)), dtype=np.float64)
    degrees = max(len(y) - 3, 1)
    mean = float(np.sum(weight * y) / weight.sum())
    gain = 0.5 * (float(np.sum(weight * (y - mean) ** 2)) - float(squares[best]))
    constant = (1 + 2 * max(gain, 0.0) / degrees) ** (-degrees / 2)
    value = float(grid[best]) if 0 < best < len(grid) - 1 else math.copysign(math.inf, grid[best])
    return Settling(middle, grid, roots, value, effects.tau, degrees, constant, t, y, weight)


def order(ascending: Array, probability: float) -> float:
    """An order statistic: infinities are values like others."""
    return float(ascending[min(int(probability * len(ascending)), len(ascending) - 1)])


def _curve(t: Array, b: float) -> Array:
    return t if abs(b) < 1e-9 else -np.expm1(-b * t) / b


def _design(t: Array, b: float) -> Array:
    return np.stack([np.ones_like(t), _curve(t, b)], axis=1)


def _linear(t: Array, y: Array, weight: Array, b: float) -> tuple[Array, Array]:
    """c, g at one exponent, and their covariance."""
    X = _design(t, b)
    scale = np.abs(X).max(axis=0)
    unit = X / scale
    inverse = np.linalg.inv((unit * weight[:, None]).T @ unit)
    covariance = inverse / np.outer(scale, scale)
    return (inverse @ (unit.T @ (weight * y))) / scale, covariance


def _squares(t: Array, y: Array, weight: Array, b: float) -> float:
    beta, _ = _linear(t, y, weight, b)
    return float(np.sum(weight * (y - _design(t, b) @ beta) ** 2))


def _tangent(t: Array, y: Array, se: Array, b: float, scatter: float) -> Effects:
    """The scatter with all three coefficients counted: the curve's change with b is a third column."""
    X = np.column_stack([_design(t, b), _curve(t, b + 1e-3) - _curve(t, b - 1e-3)])
    return random_effects(X / np.abs(X).max(axis=0), y, se, scatter)
