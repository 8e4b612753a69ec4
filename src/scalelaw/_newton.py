"""Damped Newton on many starts or resamples at once, with every factorisation checked to be positive definite.

A step that does not lower the objective is not taken. A start counts as converged only where the undamped Hessian of its free
coordinates is positive definite (or, for the flat bottom of an absolute loss, the gradient is zero) and the Newton decrement,
which bounds how far the objective can still fall, is negligible. Nothing here looks at the size of the objective alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._problem import Problem

__all__ = ["Minima", "minimise"]

Array: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

# A decrement below this share of the objective cannot change its 12th digit.
_RELATIVE = 1e-13
# The rounding of a double: a fall below it leaves the objective as it is.
_ROUNDED = 1e-16
# Half a square of a residual at the rounding of a double: noise-free data stop here.
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
    lower = np.zeros(matrix.shape)
    good = np.ones(matrix.shape[2], dtype=bool)
    for j in range(size):
        own = matrix[j, j]
        pivot = own - np.einsum("kb,kb->b", lower[j, :j], lower[j, :j]) if j else own
        # A pivot that is rounding of what it was subtracted from carries no information.
        fine = pivot > 1e-14 * np.abs(own)
        good &= fine
        root = np.sqrt(np.where(fine, pivot, 1.0))
        lower[j, j] = root
        if j + 1 < size:
            below = matrix[j + 1 :, j]
            if j:
                below = below - np.einsum("ikb,kb->ib", lower[j + 1 :, :j], lower[j, :j])
            np.divide(below, root, out=lower[j + 1 :, j])
    return lower, good


def solve(lower: Array, right: Array) -> Array:
    """x with L L^T x = right, for `lower` from `factor` and right `(q, B)`."""
    size = len(lower)
    x = right.copy()
    for j in range(size):
        if j:
            x[j] -= np.einsum("kb,kb->b", lower[j, :j], x[:j])
        x[j] /= lower[j, j]
    for j in reversed(range(size)):
        if j + 1 < size:
            x[j] -= np.einsum("kb,kb->b", lower[j + 1 :, j], x[j + 1 :])
        x[j] /= lower[j, j]
    return x


def _solved(matrix: Array, right: Array) -> tuple[Array, Flags]:
    """matrix^-1 right for a batch `(q, q, B)`, and where the matrix is positive definite."""
    if matrix.shape[2] > _FEW:
        lower, good = factor(matrix)
        return solve(lower, right), good
    # For a few matrices one LAPACK call is cheaper than a vectorised factorisation.
    batch = matrix.transpose(2, 0, 1)
    values, vectors = np.linalg.eigh(np.where(np.isfinite(batch), batch, 0.0))
    good = values[:, 0] > 1e-14
    turned = np.matmul(right.T[:, None, :], vectors)[:, 0, :] / np.where(good[:, None], values, 1.0)
    return np.matmul(vectors, turned[:, :, None])[:, :, 0].T, good


@dataclass(eq=False)
class _Batch:
    """The starts that still move, batch last. `live`: which of all they are; `weight`: the largest bend, summed over rows."""

    live: NDArray[np.intp]
    u: Array
    value: Array
    gradient: Array
    hessian: Array
    free: Flags
    damping: Array
    stale: NDArray[np.intp]
    weight: Array

    def keep(self, kept: Flags) -> None:
        """Drop the others."""
        for key, rows in vars(self).items():
            setattr(self, key, np.compress(kept, rows, axis=-1))

    def step(self, move: Flags) -> tuple[Array, Array, Flags]:
        """Newton step `(q, B)` of the movable coordinates, its decrement, and whether the damped Hessian is positive definite."""
        gradient, hessian = self.gradient, self.hessian
        if not move.all():
            gradient, hessian = np.where(move, gradient, 0.0), hessian * (move[:, None] & move)
        index = np.arange(len(gradient))
        # The slope bounds the scale from below: where every row lies outside the Huber width the Hessian is 0, and damping
        # relative to it would never shorten the step.
        bend = np.abs(hessian[index, index])
        scale = np.maximum(bend, 1e-6 * np.abs(gradient))
        np.maximum(scale, 1e-12 * bend.max(axis=0) + 1e-300, out=scale)
        root = 1 / np.sqrt(scale)
        unit = hessian * root[:, None]
        unit *= root
        unit[index, index] += self.damping + ~move
        solved, good = _solved(unit, gradient * root)
        good &= np.isfinite(solved[0])
        step = np.where(good, solved, 0.0)
        step *= -root
        return step, -0.5 * np.sum(gradient * step, axis=0), good

    def finished(self, move: Flags, fall: Array, good: Flags) -> tuple[Flags, Flags]:
        """Which are at a minimum, and which of these because nothing but rounding is left."""
        done = good & (fall <= _RELATIVE * self.value + _ROUNDING * self.weight)
        steep = done & (self.damping > 1e-6)
        if steep.any():
            done &= ~steep
            ask = np.flatnonzero(steep & (self.damping <= 0.1))
            done[ask] = _flat(self.hessian[:, :, ask], move[:, ask])
        # Pairs of rows at one size whose pulls cancel.
        level = np.abs(self.gradient * move).max(axis=0) <= 1e-13 * self.value
        if level.any():
            level &= np.abs(self.hessian).max(axis=(0, 1)) <= 1e-10 * self.value
        return done | level, level


def _flat(hessian: Array, move: Flags) -> Flags:
    """Where the bottom is flat: no negative curvature and no slope, as under an absolute loss between two rows."""
    index = np.arange(len(hessian))
    matrix = np.where(move[:, None] & move, hessian, 0.0)
    size = np.abs(matrix[index, index])
    scale = np.sqrt(np.maximum(size, 1e-12 * size.max(axis=0, initial=1e-300)))
    matrix = matrix / (scale[:, None] * scale)
    matrix[index, index] += ~move
    return move.any(axis=0) & (np.linalg.eigvalsh(matrix.transpose(2, 0, 1))[:, 0] > -1e-9)


def _damped(before: Array, eased: Flags, good: Flags) -> Array:
    """Less damping after a step that helped, more after one that did not."""
    return np.where(eased, np.where(before > 1e-7, before * 0.1, 0.0), np.maximum(before * 8, np.where(good, 1e-4, 1e-3)))


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
    count = len(u)
    now = problem.evaluate(u, weight, y)
    nothing, never = np.full(count, np.inf), np.zeros(count, dtype=bool)
    end = Minima(u, now.value.copy(), now.gradient.copy(), now.hessian.copy(), nothing, never, 0)
    if u.shape[1] == 0:
        return replace(end, decrement=np.zeros(count), converged=~never)
    batch = _Batch(
        np.arange(count),
        np.array(u.T),
        now.value,
        np.array(now.gradient.T),
        np.array(now.hessian.transpose(1, 2, 0)),
        np.ones(u.T.shape, dtype=bool) if free is None else np.array(free.T),
        np.zeros(count),
        np.zeros(count, dtype=np.intp),
        np.sum(problem.weight if weight is None else weight, axis=-1) * problem.objective.rho(np.zeros(1))[2] * np.ones(count),
    )
    batch.keep(np.isfinite(now.value))
    iteration = 0
    while len(batch.live) and iteration < limit:
        iteration += 1
        _iterate(problem, batch, end, weight, y)
    _write(end, batch, np.ones(len(batch.live), dtype=bool))
    return replace(end, iterations=iteration)


def _iterate(problem: Problem, batch: _Batch, end: Minima, weight: Array | None, y: Array | None) -> None:
    """One step of every start in the batch; those that end are written to `end` and leave it."""
    low, high = problem.lower[:, None], problem.upper[:, None]
    move = batch.free
    at_low, at_high = batch.u <= low, batch.u >= high
    if at_low.any() or at_high.any():
        move = move & ~(at_low & (batch.gradient > 0) | at_high & (batch.gradient < 0))
    step, fall, good = batch.step(move)
    done, level = batch.finished(move, fall, good)
    end.decrement[batch.live] = np.where(level, 0.0, np.where(good, fall, np.inf))
    end.converged[batch.live[done]] = True
    trial = np.minimum(np.maximum(batch.u + step, low), high)
    # A fall below the rounding of the objective could not be told from none.
    ask = good & ~(done & (fall <= _ROUNDED * batch.value))
    tried = np.arange(len(good)) if ask.all() else np.flatnonzero(ask)
    better = np.zeros(len(good), dtype=bool)
    if len(tried):
        some = trial if len(tried) == len(good) else trial[:, tried]
        there = problem.evaluate(some.T, weight, y, batch.live[tried])
        gradient, hessian = there.gradient.T, there.hessian.transpose(1, 2, 0)
        lower = there.value < batch.value[tried]
        lower &= np.isfinite(gradient).all(axis=0) & np.isfinite(hessian).all(axis=(0, 1))
        took = tried[lower]
        better[took] = True
        if len(took) == len(ask):
            batch.u, batch.value, batch.gradient, batch.hessian = trial, there.value, gradient, hessian
        else:
            batch.u[:, took], batch.value[took] = trial[:, took], there.value[lower]
            batch.gradient[:, took], batch.hessian[:, :, took] = gradient[:, lower], hessian[:, :, lower]
    batch.damping = _damped(batch.damping, better | done, good)
    batch.stale = np.where(better, 0, batch.stale + 1)
    ended = done | (batch.stale >= 25)
    if ended.any():
        _write(end, batch, ended)
        batch.keep(~ended)


def _write(end: Minima, batch: _Batch, rows: Flags) -> None:
    """Where those starts of the batch are, into the result."""
    at = batch.live[rows]
    end.u[at], end.value[at] = batch.u[:, rows].T, batch.value[rows]
    end.gradient[at], end.hessian[at] = batch.gradient[:, rows].T, batch.hessian[:, :, rows].transpose(2, 0, 1)
