"""Variable projection: for fixed exponents the coefficients are a small linear problem, so only the exponents need a search.

On a dense grid of the nonlinear parameters the linear ones are solved in closed form (non-negative where they must be), which
leaves a profile with few local minima. Each of those is a start for Newton's method on the true objective. For a robust objective
a second scan downweights the rows that the first answer leaves far off, so that an outlier does not choose the basin.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._newton import factor, solve
from ._problem import Problem
from .laws import Linear

__all__ = ["VANISHED", "Starts", "floor_of", "scan"]

Array: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

# Rows used by a scan: enough to find the basin; Newton then uses all of them.
_MOST_ROWS = 4096
_MOST_CELLS = 2_000_000
# e^-45 of the smallest outcome is below the rounding of a prediction: the coordinate of a coefficient that is 0.
_ZERO = 45.0
# Less than this above the floor (1e-7 of the smallest outcome) a coefficient is on its way to 0.
VANISHED = 45.0 - 16.0


def floor_of(values: Array) -> float:
    """The coordinate that stands for a positive coefficient of exactly 0."""
    size = np.abs(values[values != 0])
    return (float(np.log(size.min())) if len(size) else 0.0) - _ZERO


@dataclass(frozen=True, eq=False)
class Starts:
    """Starts `(B, q)` with the coordinates that may move, lowest profile first, and how many basins the grid has."""

    u: Array
    free: Flags
    basins: int


def scan(problem: Problem, values: Array, weight: Array, floor: float, most: int = 8) -> Starts:
    """The basins of the profile on the grid.

    Args:
        problem: the fit.
        values: outcomes themselves (not their logarithm), `(n,)`.
        weight: row weights of the scan.
        floor: coordinate of a coefficient that is 0.
        most: how many basins are followed.
    """
    axes = _axes(problem)
    mesh = np.meshgrid(*(grid for _, grid in axes), indexing="ij") if axes else []
    shape = tuple(len(grid) for _, grid in axes)
    nodes = int(np.prod(shape)) if shape else 1
    u = np.full((nodes, problem.basis.shape[1]), np.nan)
    for (column, _), level in zip(axes, mesh, strict=True):
        u[:, column] = level.ravel()
    rows = _sample(len(values), nodes)
    x = {name: column[rows] for name, column in problem.x.items()}
    node = _nodes(problem, u)
    with np.errstate(all="ignore"):
        linear = problem.law.linearise(node, x, values[rows])
    if linear is None:
        return _unprojected(problem, u, shape, most)
    phi, zero, rss = _project(problem, node, linear, weight[rows])
    basin = _basins(rss.reshape(shape or (1,)))
    order = basin[np.argsort(rss[basin], kind="stable")][:most]
    return Starts(*_as_coordinates(problem, phi[order], zero[order], floor), len(basin))


def _axes(problem: Problem) -> list[tuple[int, Array]]:
    """Free nonlinear coordinates with their grids."""
    axes: dict[int, Array] = {}
    for place, item in enumerate(problem.law.parameters):
        if item.linear:
            continue
        columns = np.flatnonzero(problem.basis[place])
        if len(columns) == 0 or int(columns[0]) in axes:
            continue
        column = int(columns[0])
        grid = np.asarray(item.inner(np.asarray(item.grid, dtype=np.float64)))
        inside = grid[(grid >= problem.lower[column]) & (grid <= problem.upper[column])]
        if len(inside) < 2:
            low, high = max(problem.lower[column], grid[0]), min(problem.upper[column], grid[-1])
            low, high = (low, high) if low <= high else (problem.lower[column], problem.upper[column])
            inside = np.linspace(low, high, 8) if low < high else np.array([low])
        axes[column] = inside
    return sorted(axes.items())


def _nodes(problem: Problem, u: Array) -> dict[str, Array]:
    """Coordinates `(g, 1)` of the nonlinear parameters at each node."""
    node: dict[str, Array] = {}
    for place, item in enumerate(problem.law.parameters):
        if item.linear:
            continue
        column = np.flatnonzero(problem.basis[place])
        node[item.name] = u[:, column] if len(column) else np.full((len(u), 1), problem.offset[place])
    return node


def _sample(rows: int, nodes: int) -> slice:
    most = min(_MOST_ROWS, max(64, _MOST_CELLS // max(nodes, 1)))
    return slice(None, None, max(1, -(-rows // most)))


def _project(problem: Problem, node: dict[str, Array], linear: Linear, weight: Array) -> tuple[Array, Flags, Array]:
    """Coordinates phi `(g, p)`, which of them are 0, and the profile `(g,)`."""
    law = problem.law
    count = len(next(iter(node.values()))) if node else 1
    places = [law.names.index(name) for name in linear.names]
    known = [not np.any(problem.basis[place]) for place in places]
    target = linear.target
    for place, fixed, positive, column in zip(places, known, linear.positive, linear.columns, strict=True):
        if fixed:
            target = target - column * (np.exp(problem.offset[place]) if positive else problem.offset[place])
    loose = [j for j, fixed in enumerate(known) if not fixed]
    shape = (count, max(linear.weight.shape[-1], linear.target.shape[-1]))
    pull = np.broadcast_to(linear.weight * weight, shape)
    phi = np.tile(problem.offset, (count, 1))
    zero = np.zeros(phi.shape, dtype=bool)
    for name, level in node.items():
        phi[:, law.names.index(name)] = level[:, 0]
    if loose:
        columns = np.stack([np.broadcast_to(linear.columns[j], shape) for j in loose], axis=2)
        positive = [linear.positive[j] for j in loose]
        value, rss = _least_squares(columns, np.broadcast_to(target, shape), pull, positive)
        for j, place in enumerate(places[k] for k in loose):
            if positive[j]:
                zero[:, place] = value[:, j] <= 0
                phi[:, place] = np.log(np.where(value[:, j] > 0, value[:, j], 1.0))
            else:
                phi[:, place] = value[:, j]
    else:
        rss = np.sum(pull * np.broadcast_to(target, shape) ** 2, axis=1)
    return phi, zero, np.where(np.isfinite(rss), rss, np.inf)


def _least_squares(columns: Array, target: Array, weight: Array, positive: list[bool]) -> tuple[Array, Array]:
    """Weighted least squares for each node, non-negative where asked, by trying every face: exact for a few columns.

    Shapes: columns `(g, n, m)`, target and weight `(g, n)`; returns coefficients `(g, m)` and residual sums `(g,)`.
    """
    weighted = columns * weight[:, :, None]
    gram = np.matmul(weighted.transpose(0, 2, 1), columns)
    right = np.einsum("gnm,gn->gm", weighted, target)
    total = np.einsum("gn,gn->g", weight * target, target)
    size = columns.shape[2]
    scale = np.sqrt(np.maximum(np.einsum("gjj->gj", gram), 1e-300))
    gram = gram / (scale[:, :, None] * scale[:, None, :])
    right = right / scale
    best = np.full(len(total), np.inf)
    value = np.zeros((len(total), size))
    signed = [j for j in range(size) if not positive[j]]
    open_ = [j for j in range(size) if positive[j]]
    for count in range(len(open_), -1, -1):
        for chosen in itertools.combinations(open_, count):
            face = sorted([*signed, *chosen])
            if not face:
                rss, found = total, np.zeros((len(total), 0))
                fine = np.isfinite(rss)
            else:
                lower, good = factor(np.ascontiguousarray(gram[:, face][:, :, face].transpose(1, 2, 0)))
                solved = solve(lower, np.ascontiguousarray(right[:, face].T))
                found = solved.T
                rss = total - np.einsum("gj,gj->g", found, right[:, face])
                fine = good & np.isfinite(rss) & np.all(found[:, [face.index(j) for j in chosen]] > 0, axis=1)
            better = fine & (rss < best)
            best = np.where(better, rss, best)
            value[better] = 0.0
            value[np.ix_(better, face)] = found[better]
        if count == len(open_) and np.all(np.isfinite(best)):
            # The unconstrained answer is feasible at every node.
            break
    return value / scale, np.where(np.isfinite(best), np.maximum(best, 0.0), np.inf)


def _basins(profile: Array) -> NDArray[np.intp]:
    """Flat indices of the local minima of a grid (neighbours along each axis)."""
    lowest = np.isfinite(profile)
    for axis in range(profile.ndim):
        for shift in (1, -1):
            neighbour = np.roll(profile, shift, axis)
            edge = [slice(None)] * profile.ndim
            edge[axis] = slice(0, 1) if shift == 1 else slice(-1, None)
            neighbour[tuple(edge)] = np.inf
            lowest &= profile <= neighbour
    return np.flatnonzero(lowest)


def _as_coordinates(problem: Problem, phi: Array, zero: Flags, floor: float) -> tuple[Array, Flags]:
    """From phi to u, with a coefficient of 0 at its floor and held there; then the same with the constants that may vanish at 0."""
    inverse = np.linalg.pinv(problem.basis)
    u = (phi - problem.offset) @ inverse.T
    gone = (zero.astype(float) @ np.abs(problem.basis)) > 0
    for place, item in enumerate(problem.law.parameters):
        # Centring lets an exponent's column reach into a coefficient's row; only the coefficient's own column is at zero.
        if not item.linear:
            gone[:, np.flatnonzero(problem.basis[place])] = False
    u = np.where(gone, floor, u)
    starts, free = [u], [~gone]
    for place, item in enumerate(problem.law.parameters):
        own = np.flatnonzero(problem.basis[place])
        if item.zero and len(own) == 1 and problem.lower[own[0]] <= floor:
            at_zero = u[: max(1, len(u) // 2)].copy()
            at_zero[:, own] = floor
            move = free[0][: len(at_zero)].copy()
            move[:, own] = False
            starts.append(at_zero)
            free.append(move)
    return np.concatenate(starts), np.concatenate(free)


def _unprojected(problem: Problem, u: Array, shape: tuple[int, ...], most: int) -> Starts:
    """A law without a linear part: the objective itself on the grid."""
    value = problem.objective_at(u)
    basin = _basins(value.reshape(shape or (1,)))
    order = basin[np.argsort(value[basin], kind="stable")][:most]
    return Starts(u[order], np.ones(u[order].shape, dtype=bool), len(basin))
