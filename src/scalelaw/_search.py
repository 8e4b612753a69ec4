"""The search of a fit: every basin of the grid, followed down to a checked minimum of the true objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._newton import Minima, minimise
from ._objective import Huber
from ._problem import Problem
from ._starts import VANISHED, Starts, grid_of, scan

__all__ = ["Found", "lowest", "pushes", "refit", "search"]

Array: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

# Steps along a valley, the lengths tried at each, and Newton steps of the coefficients after it.
_VALLEY, _LENGTHS, _INNER = 60, np.array([4.0, 2.0, 1.0, 0.5, 0.1, 0.01]), 8


@dataclass(frozen=True, eq=False)
class Found:
    """Every start's end, which coordinates moved, the basins of the grid, and the row that is the answer."""

    minima: Minima
    free: Flags
    basins: int
    best: int


def search(problem: Problem, values: Array) -> tuple[Minima, Flags, int]:
    """Newton from every basin of the grid; for a robust objective also from the basins left when outliers weigh less."""
    if problem.basis.shape[1] == 0:
        nothing = np.zeros((1, 0))
        return minimise(problem, nothing), np.ones((1, 0), dtype=bool), 1
    grid = grid_of(problem, values)
    first = scan(problem, grid, problem.weight)
    minima, free = _descend(problem, first)
    if not np.isfinite(problem.objective.delta):
        return minima, free, first.basins
    lead = minima.u[np.argmin(minima.value)]
    size = np.abs(problem.residual(lead[None, :])[0])
    middle = max(float(np.median(size)), 1e-12)
    again = scan(problem, grid, problem.weight * np.minimum(1.0, middle / np.maximum(size, 1e-300)) ** 2)
    apart = np.abs(again.nodes[:, None, :] - first.nodes[None, :, :]).max(axis=2, initial=0).min(axis=1) > 2
    if not apart.any():
        return minima, free, max(first.basins, again.basins)
    again = replace(again, u=again.u[apart], free=again.free[apart])
    second, free_again = _descend(problem, again)
    return _joined(minima, second), np.concatenate([free, free_again]), max(first.basins, again.basins)


def _descend(problem: Problem, starts: Starts) -> tuple[Minima, Flags]:
    """Newton from the starts. A Huber width far below the scatter is reached in stages, each a warm start of the next."""
    u, free = starts.u, starts.free
    size = float(np.median(np.abs(problem.residual(u[:1])[0])))
    while size > 4 * problem.objective.delta:
        u = minimise(problem.under(Huber(problem.objective.log, size)), u, free, limit=20).u
        size /= 5
    minima = minimise(problem, u, free, limit=40)
    # Starts that are slow and far above the best are not followed to their end.
    slow = ~minima.converged & (minima.value <= 2 * np.min(minima.value))
    if slow.any():
        _put(minima, slow, minimise(problem, minima.u[slow], free[slow]))
    slow = ~minima.converged & (minima.value <= 2 * np.min(minima.value))
    if slow.any():
        along = np.stack([_along(problem, u, move) for u, move in zip(minima.u[slow], free[slow], strict=True)])
        _put(minima, slow, minimise(problem, along, free[slow]))
    stuck = ~minima.converged & (minima.value <= 2 * np.min(minima.value))
    if stuck.any():
        aside, move = _aside(minima, free, stuck)
        minima, free = _joined(minima, minimise(problem, aside, move)), np.concatenate([free, move])
        keep = ~np.concatenate([stuck, np.zeros(len(move), dtype=bool)]) | _first(minima)
        minima, free = _taken(minima, keep), free[keep]
    return _settled(problem, minima, free)


def _along(problem: Problem, u: Array, free: Flags) -> Array:
    """Further down a curved valley, where a straight step leaves its floor at once: variable projection proper.

    Coefficients are solved for exactly after every step of the other coordinates, which so follow the floor whatever its shape.
    Newton on the profile f(w) = min_c F(w, c): its gradient is F_w, its Hessian F_ww - F_wc F_cc^-1 F_cw. Several lengths of the
    step are tried at once and the lowest is taken. Nothing is certified here.
    """
    linear = _linear(problem) & free
    if not linear.any() or not (free & ~linear).any():
        return u
    now = minimise(problem, u[None, :], linear[None, :], limit=_INNER)
    for _ in range(_VALLEY):
        way = _downhill(problem, now, free, linear)
        if way is None:
            break
        # As far as the first bound, too: beyond it the coefficients cannot follow.
        edge = np.where(way > 0, problem.upper - now.u[0], problem.lower - now.u[0])[way != 0] / way[way != 0]
        trial = now.u + np.append(_LENGTHS, min(edge.min(initial=1.0), 1.0))[:, None] * way
        there = minimise(problem, trial, np.tile(linear, (len(trial), 1)), limit=_INNER)
        best = int(np.argmin(np.where(np.isfinite(there.value), there.value, np.inf)))
        if not there.value[best] < now.value[0] * (1 - 1e-13):
            break
        now = _taken(there, np.arange(len(trial)) == best)
    # A valley that runs out through a bound ends on it; just before it every step of Newton's would be cut short.
    here, slope = now.u[0], now.gradient[0]
    over = free & (problem.upper - here < 1e-6 * (1 + np.abs(here))) & (slope < 0)
    under = free & (here - problem.lower < 1e-6 * (1 + np.abs(here))) & (slope > 0)
    return np.where(over, problem.upper, np.where(under, problem.lower, here))


def _linear(problem: Problem) -> Flags:
    """Coordinates that move linear parameters alone, `(q,)`."""
    linear = np.array([item.linear for item in problem.law.parameters], dtype=bool)
    used = problem.basis != 0
    return np.asarray(used[linear].any(axis=0) & ~used[~linear].any(axis=0), dtype=bool)


def _downhill(problem: Problem, now: Minima, free: Flags, linear: Flags) -> Array | None:
    """The Newton step `(q,)` of the profile, the coefficients carried along its tangent; None where there is none."""
    u, gradient, hessian = now.u[0], now.gradient[0], now.hessian[0]
    if not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
        return None
    inside = free & ~((u <= problem.lower) & (gradient > 0) | (u >= problem.upper) & (gradient < 0))
    bent, flat = np.flatnonzero(inside & ~linear), np.flatnonzero(inside & linear)
    if len(bent) == 0:
        return None
    carry = -np.linalg.pinv(hessian[np.ix_(flat, flat)], hermitian=True) @ hessian[np.ix_(flat, bent)]
    reduced = hessian[np.ix_(bent, bent)] + hessian[np.ix_(bent, flat)] @ carry
    values, vectors = np.linalg.eigh((reduced + reduced.T) / 2)
    # Down, also where the profile bends down, and no further than a factor e^2 at once.
    size = np.maximum(np.abs(values), 1e-12 * np.abs(values).max() + 1e-300)
    step = -vectors @ ((vectors.T @ gradient[bent]) / size)
    step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
    way = np.zeros(len(u))
    way[bent], way[flat] = step, carry @ step
    return way


def refit(problem: Problem, u: Array, *, weight: Array | None = None, y: Array | None = None) -> Minima:
    """Newton from warm starts `(B, q)`, one for each resample, in their order; coefficients may reach 0 or leave it."""
    free = u > problem.floor + 1e-9
    minima = minimise(problem, u, free, weight=weight, y=y)
    moved, start, free = _crossing(problem, minima, free)
    if moved.any():
        pick = (None if rows is None else rows[moved] for rows in (weight, y))
        fresh = minimise(problem, start[moved], free[moved], **dict(zip(("weight", "y"), pick, strict=True)))
        _put(minima, moved, fresh)
    return minima


def _put(minima: Minima, rows: Flags, fresh: Minima) -> None:
    """Write later answers over earlier ones."""
    for key in _ROWS:
        getattr(minima, key)[rows] = getattr(fresh, key)


def _crossing(problem: Problem, minima: Minima, free: Flags) -> tuple[Flags, Array, Flags]:
    """Which rows hold a coefficient that ran off towards 0, or that is held at 0 against the slope; where to start them again."""
    own = np.zeros(free.shape[1], dtype=bool)
    for place, item in enumerate(problem.law.parameters):
        column = np.flatnonzero(problem.basis[place])
        if item.zero and len(column) == 1 and problem.lower[column[0]] <= problem.floor[column[0]]:
            own[column] = True
    vanishing = own & free & (minima.u < problem.floor + VANISHED)
    growing = own & ~free & (minima.gradient < 0)
    small = problem.floor + VANISHED + 9.0
    start = np.where(vanishing, problem.floor, np.where(growing, small, minima.u))
    return np.any(vanishing | growing, axis=1), start, (free & ~vanishing) | growing


def _settled(problem: Problem, minima: Minima, free: Flags) -> tuple[Minima, Flags]:
    """Put a coefficient at 0 that ran off towards it, and let one grow that was held at 0 against the slope."""
    moved, start, free = _crossing(problem, minima, free)
    if not moved.any():
        return minima, free
    fresh = minimise(problem, start[moved], free[moved])
    return _joined(_taken(minima, ~moved), fresh), np.concatenate([free[~moved], free[moved]])


def _aside(minima: Minima, free: Flags, stuck: Flags) -> tuple[Array, Flags]:
    """Two starts for each saddle point: a little to both sides along the direction that bends down."""
    starts: list[Array] = []
    moves: list[Flags] = []
    for k in np.flatnonzero(stuck):
        move = np.flatnonzero(free[k])
        if len(move) == 0 or not np.all(np.isfinite(minima.hessian[k])):
            continue
        _, vectors = np.linalg.eigh(minima.hessian[k][np.ix_(move, move)])
        for sign in (1e-3, -1e-3):
            start = minima.u[k].copy()
            start[move] += sign * vectors[:, 0]
            starts.append(start)
            moves.append(free[k])
    shape = (len(starts), minima.u.shape[1])
    return np.array(starts).reshape(shape), np.array(moves, dtype=bool).reshape(shape)


def _first(minima: Minima) -> Flags:
    """The single lowest row: never dropped, converged or not."""
    value = np.where(np.isfinite(minima.value), minima.value, np.inf)
    return np.arange(len(value)) == int(np.argmin(value))


_ROWS = ("u", "value", "gradient", "hessian", "decrement", "converged")


def _joined(left: Minima, right: Minima) -> Minima:
    rows = (np.concatenate([getattr(left, key), getattr(right, key)]) for key in _ROWS)
    return Minima(*rows, iterations=left.iterations + right.iterations)


def _taken(minima: Minima, rows: Flags) -> Minima:
    return Minima(*(getattr(minima, key)[rows] for key in _ROWS), iterations=minima.iterations)


def lowest(minima: Minima, free: Flags, problem: Problem) -> int:
    """The lowest minimum; among equals one that is certified."""
    value = np.where(np.isfinite(minima.value), minima.value, np.inf)
    near = value <= value.min() * (1 + 1e-9) + 1e-25 * float(np.sum(problem.weight))
    good = near & minima.converged & pushes(minima, free)
    return int(np.flatnonzero(good)[0]) if good.any() else int(np.argmin(value))


def pushes(minima: Minima, free: Flags) -> Flags:
    """Where a coefficient held at 0 would raise the objective if it grew: the condition for a minimum at that bound."""
    return np.all(free | (minima.gradient >= 0), axis=1)
