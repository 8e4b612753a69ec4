"""Errors of a fit's parameters.

With residual r, slope psi and prediction derivatives J (n, q), the covariance of u is the sandwich

    H^-1 M H^-1,   H = sum_i w_i kappa_i J_i J_i',   M = m sum_i w_i^2 J_i J_i',   m = sum_i psi_i^2 / (n - q)

kappa_i is the expected bend E[rho''(r_i)]. For least squares it is 1 and the usual covariance results. For a Huber loss it is
the probability of a residual inside the Huber width. Counting the few rows inside a width of 1e-3 would be a poor estimate of it
(and at a small width the fit puts q residuals at exactly zero), so it is taken from a smoothed distribution of the residuals,
widened by sqrt(n / (n - q)) for the freedom that the fit has used. Intervals use Student's t with n - q degrees of freedom. The
choice was made by simulation (tests/test_fit.py keeps a small one): with 8 to 12 points it covers about as often as it says,
where counting rows or normal quantiles do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._problem import Problem

__all__ = ["Spread", "spread", "student"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spread:
    """Covariance of the free coordinates u `(q, q)`, the scatter of a single row, the information and its rank."""

    covariance: Array
    residual_sd: float
    information: Array
    weakest: Array
    condition: float


def student(level: float, freedom: int) -> float:
    """Two-sided quantile of Student's t: P(|t| < value) = level."""
    from scipy.special import stdtrit  # imported late: it costs more than a fit

    return float(stdtrit(freedom, 0.5 + 0.5 * level))


def spread(problem: Problem, u: Array, moved: NDArray[np.bool_]) -> Spread:
    """The errors at the minimum `u` `(q,)`; coordinates not `moved` are known exactly."""
    count = len(problem.y)
    z, first, _ = problem.prediction(u[None, :])
    residual = problem.y - z[0]
    jacobian = np.where(moved[:, None], first[:, 0, :], 0.0).T
    free = count - int(moved.sum())
    weight = problem.weight
    relative = weight / np.mean(weight)
    widening = count / max(free, 1)
    standard = residual * np.sqrt(relative)
    residual_sd = float(np.sqrt(np.sum(standard**2) / free)) if free > 0 else np.nan
    _, psi, _ = problem.objective.rho(residual)
    bend, slope = _expected(problem, standard, psi, relative, widening)
    information = (jacobian * (weight * bend)[:, None]).T @ jacobian
    meat = (jacobian * (weight**2 * slope)[:, None]).T @ jacobian
    covariance = np.full(information.shape, np.nan)
    weakest, condition = _weakest(information, moved)
    if free > 0 and np.isfinite(condition) and condition < 1e14:
        covariance = np.zeros(information.shape)
        index = np.flatnonzero(moved)
        scale = np.sqrt(np.diag(information)[index])
        unit = information[np.ix_(index, index)] / np.outer(scale, scale)
        bread = np.linalg.inv(unit) / np.outer(scale, scale)
        covariance[np.ix_(index, index)] = bread @ meat[np.ix_(index, index)] @ bread
    return Spread(covariance, residual_sd, information, weakest, condition)


def _expected(problem: Problem, standard: Array, psi: Array, relative: Array, widening: float) -> tuple[Array, Array]:
    """Per row: expected bend, and expected squared slope."""
    objective = problem.objective
    if not np.isfinite(objective.delta):
        # Least squares: variance of a row is sigma^2 / relative weight.
        variance = float(np.mean(standard**2)) * widening
        return np.ones(len(standard)), variance / relative
    spread_out = standard * np.sqrt(widening)
    size = np.sqrt(np.mean(spread_out**2))
    middle = np.median(np.abs(spread_out)) * 1.4826
    robust = min(size, middle) if middle > 0 else size
    width = max(1.06 * robust * len(standard) ** -0.2, 1e-300)
    edge = objective.delta * np.sqrt(relative)
    levels = np.unique(edge)
    if len(levels) > 64:
        levels = np.quantile(edge, np.linspace(0, 1, 64))
    share = np.array([np.mean(_cdf((level - spread_out) / width) - _cdf((-level - spread_out) / width)) for level in levels])
    _, _, top = objective.rho(np.zeros(1))
    bend = np.interp(edge, levels, share) * top[0]
    return bend, np.full(len(standard), float(np.mean(psi**2)) * widening)


def _cdf(x: Array) -> Array:
    """A logistic distribution function of unit variance, as the smoothing kernel."""
    return 0.5 * (1 + np.tanh(0.5 * np.pi / np.sqrt(3) * x))


def _weakest(information: Array, moved: NDArray[np.bool_]) -> tuple[Array, float]:
    """The direction of u that the data say least about, and the condition number after scaling each coordinate to 1."""
    direction = np.zeros(len(information))
    index = np.flatnonzero(moved)
    if len(index) == 0:
        return direction, 1.0
    scale = np.sqrt(np.maximum(np.diag(information)[index], 0.0))
    if not np.all(np.isfinite(scale)) or np.any(scale <= 1e-150):
        direction[index[int(np.argmin(np.where(np.isfinite(scale), scale, 0.0)))]] = 1.0
        return direction, np.inf
    values, vectors = np.linalg.eigh(information[np.ix_(index, index)] / np.outer(scale, scale))
    direction[index] = vectors[:, 0]
    return direction, float(values[-1] / values[0]) if values[0] > 0 else np.inf
