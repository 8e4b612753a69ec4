"""Damped Newton on many starts or resamples at once, with every factorisation checked to be positive definite.

A step that does not lower the objective is not taken. A start counts as converged only where the undamped Hessian of its free
coordinates is positive definite (or, for the flat bottom of an absolute loss, the gradient is zero) and the Newton decrement,
which bounds how far the objective can still fall, is negligible. Nothing here looks at the size of the objective alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._problem import Evaluation, Problem

__all__ = ["Minima", "minimise"]

Array: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

# A decrement below this share of the objective cannot change its 12th digit.
_RELATIVE = 1e-13
# Objective of residuals at the rounding of a double: noise-free data stop here.
_ROUNDING = 1e-29
_FEW = 48


@dataclass(frozen=True, eq=False)
class Minima:
    """What B starts ended at. `decrement` is the predicted remaining fall of the objective."""

    u: Array
    value: Array
    gradient: Array
    hessian: Array
    decrement: Array
    converged: Flags
    iterations: int


def factor(matrix: Array) -> tuple[Array, Flags]:
    """Cholesky of a batch `(q, q, B)` (batch last), and which of them are positive definite."""
    size = len(matrix)
    lower = np.zeros_like(matrix)
    good = np.ones(matrix.shape[2], dtype=bool)
    for j in range(size):
        pivot = matrix[j, j] - np.sum(lower[j, :j] ** 2, axis=0)
        # A pivot that is rounding of what it was subtracted from carries no information.
        fine = pivot > 1e-14 * np.abs(matrix[j, j])
        good &= fine
        root = np.sqrt(np.where(fine, pivot, 1.0))
        lower[j, j] = root
        if j + 1 < size:
            lower[j + 1 :, j] = (matrix[j + 1 :, j] - np.sum(lower[j + 1 :, :j] * lower[j, :j], axis=1)) / root
    return lower, good


def solve(lower: Array, right: Array) -> Array:
    """x with L L^T x = right, for `lower` from `factor` and right `(q, B)`."""
    size = len(lower)
    x = right.copy()
    for j in range(size):
        x[j] = (x[j] - np.sum(lower[j, :j] * x[:j], axis=0)) / lower[j, j]
    for j in reversed(range(size)):
        x[j] = (x[j] - np.sum(lower[j + 1 :, j] * x[j + 1 :], axis=0)) / lower[j, j]
    return x


def _step(now: Evaluation, move: Flags, damping: Array) -> tuple[Array, Array, Flags]:
    """Newton step `(B, q)` of the movable coordinates, its decrement and whether the damped Hessian was positive definite."""
    gradient = np.where(move, now.gradient, 0.0)
    hessian = now.hessian * (move[:, :, None] & move[:, None, :])
    size = hessian.shape[1]
    diagonal = np.einsum("bii->bi", hessian)
    scale = np.abs(diagonal)
    # The slope bounds the scale from below: where every row lies outside the Huber width the Hessian is 0, and damping
    # relative to it would never shorten the step.
    scale = np.maximum(np.maximum(scale, 1e-6 * np.abs(gradient)), 1e-12 * scale.max(axis=1, keepdims=True) + 1e-300)
    root = 1 / np.sqrt(scale)
    unit = hessian * root[:, :, None] * root[:, None, :]
    index = np.arange(size)
    unit[:, index, index] += damping[:, None] + ~move
    step = -_solved(unit, gradient * root)
    good = np.isfinite(step[:, 0]) if size else np.ones(len(step), dtype=bool)
    step = np.where(good[:, None], step, 0.0) * root
    decrement = -0.5 * np.sum(gradient * step, axis=1)
    return step, decrement, good


def _solved(matrix: Array, right: Array) -> Array:
    """matrix^-1 right for a batch `(B, q, q)`; NaN where the matrix is not positive definite."""
    if len(matrix) > _FEW:
        lower, good = factor(np.ascontiguousarray(matrix.transpose(1, 2, 0)))
        return np.where(good[:, None], solve(lower, np.ascontiguousarray(right.T)).T, np.nan)
    # For a few matrices one LAPACK call is cheaper than a vectorised factorisation.
    values, vectors = np.linalg.eigh(np.where(np.isfinite(matrix), matrix, 0.0))
    turned = np.matmul(right[:, None, :], vectors)[:, 0, :]
    good = values[:, :1] > 1e-14 if values.shape[1] else np.ones((len(values), 1), dtype=bool)
    return np.where(good, np.matmul(vectors, (turned / np.where(good, values, 1.0))[:, :, None])[:, :, 0], np.nan)


def _damped(before: Array, eased: Flags, good: Flags) -> Array:
    """Less damping after a step that helped, more after one that did not."""
    return np.where(eased, np.where(before > 1e-7, before * 0.1, 0.0), np.maximum(before * 8, np.where(good, 1e-4, 1e-3)))


def _finished(now: Evaluation, move: Flags, fall: Array, good: Flags, damping: Array, weight: Array) -> tuple[Flags, Flags]:
    """Which rows are at a minimum, and which of these because nothing but rounding is left."""
    enough = good & (fall <= _RELATIVE * now.value + _ROUNDING * weight)
    done = enough & ((damping <= 1e-6) | _flat(now, move, damping, enough))
    # Pairs of rows at one size whose pulls cancel.
    level = np.abs(now.gradient * move).max(axis=1, initial=0.0) <= 1e-13 * now.value
    level &= np.abs(now.hessian).max(axis=(1, 2), initial=0.0) <= 1e-10 * now.value
    return done | level, level


def _flat(now: Evaluation, move: Flags, damping: Array, ask: Flags) -> Flags:
    """Where the bottom is flat: no negative curvature and no slope, as under an absolute loss between two rows."""
    flat = np.zeros(len(ask), dtype=bool)
    for k in np.flatnonzero(ask & (damping > 1e-6) & (damping <= 0.1)):
        matrix = now.hessian[k][np.ix_(move[k], move[k])]
        scale = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-12 * np.abs(np.diag(matrix)).max(initial=1e-300)))
        flat[k] = len(matrix) > 0 and np.linalg.eigvalsh(matrix / np.outer(scale, scale))[0] > -1e-9
    return flat


@np.errstate(all="ignore")
def minimise(
    problem: Problem,
    start: Array,
    free: Flags | None = None,
    *,
    weight: Array | None = None,
    y: Array | None = None,
    limit: int = 200,
) -> Minima:
    """Newton from each row of `start` `(B, q)`.

    Args:
        problem: the objective.
        start: one start, or one warm start for each resample.
        free: `(B, q)`, coordinates that may move; the others stay where they start.
        weight, y: one row `(B, n)` for each start, or None for the problem's own.
        limit: most iterations.
    """
    u = np.clip(start, problem.lower, problem.upper)
    if u.shape[1] == 0:
        here = problem.evaluate(u, weight, y)
        nothing = np.zeros(len(u))
        return Minima(u, here.value, here.gradient, here.hessian, nothing, np.ones(len(u), dtype=bool), 0)
    free = np.ones(u.shape, dtype=bool) if free is None else free
    weight_sum = np.sum(problem.weight if weight is None else weight, axis=-1) * np.ones(len(u))
    now = problem.evaluate(u, weight, y)
    value, gradient, hessian = now.value.copy(), now.gradient.copy(), now.hessian.copy()
    decrement = np.full(len(u), np.inf)
    converged = np.zeros(len(u), dtype=bool)
    damping = np.zeros(len(u))
    stale = np.zeros(len(u), dtype=int)
    live = np.flatnonzero(np.isfinite(value))
    iteration = 0
    while len(live) and iteration < limit:
        iteration += 1
        here = Evaluation(value[live], gradient[live], hessian[live])
        out = ((u[live] <= problem.lower) & (here.gradient > 0)) | ((u[live] >= problem.upper) & (here.gradient < 0))
        move = free[live] & ~out
        step, fall, good = _step(here, move, damping[live])
        decrement[live] = np.where(good, fall, np.inf)
        done, level = _finished(here, move, fall, good, damping[live], weight_sum[live])
        decrement[live[level]] = 0.0
        trial = np.clip(u[live] + step, problem.lower, problem.upper)
        there = problem.evaluate(trial, _pick(weight, live), _pick(y, live))
        better = (
            good
            & (there.value < here.value)
            & np.isfinite(there.gradient).all(axis=1)
            & np.isfinite(there.hessian).all(axis=(1, 2))
        )
        took = live[better]
        u[took], value[took] = trial[better], there.value[better]
        gradient[took], hessian[took] = there.gradient[better], there.hessian[better]
        damping[live] = _damped(damping[live], better | done, good)
        converged[live[done]] = True
        stale[live] = np.where(better, 0, stale[live] + 1)
        live = live[~done & (stale[live] < 25)]
    return Minima(u, value, gradient, hessian, decrement, converged, iteration)


def _pick(rows: Array | None, live: NDArray[np.intp]) -> Array | None:
    return rows[live] if rows is not None and rows.ndim == 2 else rows
