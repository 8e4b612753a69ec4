"""Variable projection: for fixed exponents the coefficients are a small linear problem, so only the exponents need a search.

On a dense grid of the nonlinear parameters the linear ones are solved in closed form (non-negative where they must be), which
leaves a profile with few local minima. Each of those is a start for Newton's method on the true objective. For a robust objective
a second scan downweights the rows that the first answer leaves far off, so that an outlier does not choose the basin.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._newton import factor, solve
from ._problem import Problem
from .laws import Law, Linear

__all__ = ["VANISHED", "Grid", "Starts", "floors_of", "grid_of", "scan"]

Array: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

# Rows used by a scan: enough to find the basin; Newton then uses all of them.
_MOST_ROWS = 4096
_MOST_CELLS = 2_000_000
# e^-45 of the smallest outcome is below the rounding of a prediction: the coordinate of a coefficient that is 0.
_ZERO = 45.0
# Less than this above the floor (1e-7 of the smallest outcome) a coefficient is on its way to 0.
VANISHED = 45.0 - 16.0


def floors_of(law: Law, x: Mapping[str, Array], values: Array) -> Array:
    """The coordinate `(p,)` that stands for a positive parameter of exactly 0."""
    size = np.abs(values[values != 0])
    usual = (float(np.log(size.min())) if len(size) else 0.0) - _ZERO
    own = law.floors(x, values)
    return np.array([own.get(name, usual) for name in law.names])


@dataclass(frozen=True, eq=False)
class Starts:
    """Starts `(B, q)`, lowest profile first, with the coordinates that may move, their grid nodes, and the basins of the grid."""

    u: Array
    free: Flags
    nodes: NDArray[np.intp]
    basins: int


@dataclass(frozen=True, eq=False)
class Grid:
    """The nodes of a search, and the linear problem that is left at each; what does not depend on the weights of rows.

    Args:
        u: `(g, q)`, NaN where a coordinate is projected out.
        shape: nodes along each axis.
        rows: the rows that are used.
        node: coordinates `(g, 1)` of the nonlinear parameters.
        linear: None where the law has no linear part.
    """

    u: Array
    shape: tuple[int, ...]
    rows: slice
    node: Mapping[str, Array]
    linear: Linear | None


def grid_of(problem: Problem, values: Array) -> Grid:
    """The grid of a problem; `values` are the outcomes themselves (not their logarithm), `(n,)`."""
    axes = _axes(problem, values)
    mesh = np.meshgrid(*(grid for _, grid in axes), indexing="ij") if axes else []
    shape = tuple(len(grid) for _, grid in axes)
    nodes = math.prod(shape)
    u = np.full((nodes, problem.basis.shape[1]), np.nan)
    for (column, _), level in zip(axes, mesh, strict=True):
        u[:, column] = level.ravel()
    rows = _sample(len(values), nodes)
    x = {name: column[rows] for name, column in problem.x.items()}
    node = _nodes(problem, u)
    with np.errstate(all="ignore"):
        linear = problem.law.linearise(node, x, values[rows])
    return Grid(u, shape or (1,), rows, node, linear)


def scan(problem: Problem, grid: Grid, weight: Array, most: int = 8) -> Starts:
    """The basins of the profile on the grid.

    Args:
        problem: the fit.
        grid: its grid.
        weight: row weights of the scan.
        most: how many basins are followed.
    """
    if grid.linear is None:
        return _unprojected(problem, grid.u, grid.shape, most)
    phi, zero, rss = _project(problem, grid.node, grid.linear, weight[grid.rows])
    basin = _basins(rss.reshape(grid.shape))
    order = basin[np.argsort(rss[basin], kind="stable")][:most] if len(basin) else np.array([len(rss) // 2])
    place = np.stack(np.unravel_index(order, grid.shape), axis=1)
    return Starts(*_as_coordinates(problem, phi[order], zero[order]), place, len(basin))


def _axes(problem: Problem, values: Array) -> list[tuple[int, Array]]:
    """Free nonlinear coordinates with their grids."""
    grids = problem.law.grids(problem.x, values)
    axes: dict[int, Array] = {}
    for place, item in enumerate(problem.law.parameters):
        columns = np.flatnonzero(problem.basis[place])
        if item.linear or len(columns) == 0 or int(columns[0]) in axes:
            continue
        column = int(columns[0])
        low, high = problem.lower[column], problem.upper[column]
        grid = np.unique(np.clip(np.asarray(item.inner(np.asarray(grids[item.name], dtype=np.float64))), low, high))
        # Bounds that leave less than two values of the grid are scanned themselves.
        axes[column] = grid if len(grid) > 1 or low == high or not np.isfinite(high - low) else np.linspace(low, high, 8)
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


def _project(problem: Problem, node: Mapping[str, Array], linear: Linear, weight: Array) -> tuple[Array, Flags, Array]:
    """Coordinates phi `(g, p)`, which of them are 0, and the profile `(g,)`."""
    law = problem.law
    count = len(next(iter(node.values()))) if node else 1
    places = [law.names.index(name) for name in linear.names]
    known = {j: problem.offset[place] for j, place in enumerate(places) if not np.any(problem.basis[place])}
    known = {
        j: np.exp(value * linear.powers.get(linear.names[j], 1.0))
        if linear.positive[j] and law.parameters[places[j]].log
        else value
        for j, value in known.items()
    }
    loose = [j for j in range(len(places)) if j not in known]
    phi = np.tile(problem.offset, (count, 1))
    zero = np.zeros(phi.shape, dtype=bool)
    for name, level in node.items():
        phi[:, law.names.index(name)] = level[:, 0]
    gram, right, total = _shared_moments(linear, weight) if linear.rows else _moments(linear, weight, count)
    for j, value in known.items():
        total = total - 2 * value * right[:, j] + value**2 * gram[:, j, j]
        right = right - np.reshape(value, (-1, 1)) * gram[:, :, j]
    if known:
        gram, right = gram[:, loose][:, :, loose], right[:, loose]
    value, rss = _least_squares(gram, right, total, [linear.positive[j] for j in loose])
    for column, j in enumerate(loose):
        found = value[:, column]
        if linear.positive[j] and law.parameters[places[j]].log:
            zero[:, places[j]] = found <= 0
            found = np.log(np.where(found > 0, found, 1.0)) / linear.powers.get(linear.names[j], 1.0)
        phi[:, places[j]] = found
    return phi, zero, np.where(np.isfinite(rss), rss, np.inf)


def _moments(linear: Linear, weight: Array, count: int) -> tuple[Array, Array, Array]:
    """Weighted second moments of columns `(g, m, m)`, with the target `(g, m)`, and of the target `(g,)`."""
    shape = (count, len(weight))
    pull = np.broadcast_to(linear.weight * weight, shape)
    target = np.broadcast_to(linear.target, shape)
    columns = np.stack([np.broadcast_to(column, shape) for column in linear.columns], axis=1)
    weighted = columns * pull[:, None, :]
    total = np.einsum("gn,gn->g", pull * target, target)
    return np.matmul(weighted, columns.transpose(0, 2, 1)), np.matmul(weighted, target[:, :, None])[:, :, 0], total


def _shared_moments(linear: Linear, weight: Array) -> tuple[Array, Array, Array]:
    """`_moments` where nodes share columns: one matrix product of the distinct columns, then a look-up."""
    pull = linear.weight * weight
    sizes = np.cumsum([0, *(len(column) for column in linear.columns)])
    place = np.stack([begin + row for begin, row in zip(sizes, linear.rows, strict=False)], axis=1)
    every = np.concatenate(linear.columns)
    weighted = every * pull
    gram, right = weighted @ every.T, weighted @ linear.target
    total = np.full(len(place), np.sum(pull * linear.target**2))
    return gram[place[:, :, None], place[:, None, :]], right[place], total


def _least_squares(gram: Array, right: Array, total: Array, positive: list[bool]) -> tuple[Array, Array]:
    """Least squares from second moments for each node, non-negative where asked, by trying every face: exact for a few columns.

    Returns coefficients `(g, m)` and residual sums `(g,)`.
    """
    size = len(positive)
    with np.errstate(all="ignore"):
        scale = np.sqrt(np.maximum(np.einsum("gjj->gj", gram), 1e-300))
        gram = np.ascontiguousarray((gram / (scale[:, :, None] * scale[:, None, :])).transpose(1, 2, 0))
        right = np.ascontiguousarray((right / scale).T)
    best, value = _face(gram, right, total, positive, tuple(range(size)))
    # Where that is feasible it is the answer; the other faces are for the other nodes.
    rest = np.flatnonzero(~np.isfinite(best))
    if len(rest):
        gram, right, total = gram[:, :, rest], right[:, rest], total[rest]
        lowest, chosen = best[rest], value[:, rest]
        signed = [j for j in range(size) if not positive[j]]
        chosen_from = [j for j in range(size) if positive[j]]
        for count in range(len(chosen_from) - 1, -1, -1):
            for some in itertools.combinations(chosen_from, count):
                rss, found = _face(gram, right, total, positive, tuple(sorted([*signed, *some])))
                better = rss < lowest
                lowest, chosen = np.where(better, rss, lowest), np.where(better, found, chosen)
        best[rest], value[:, rest] = lowest, chosen
    return value.T / scale, np.where(np.isfinite(best), np.maximum(best, 0.0), np.inf)


def _face(gram: Array, right: Array, total: Array, positive: list[bool], face: tuple[int, ...]) -> tuple[Array, Array]:
    """Residual sums `(g,)` and coefficients `(m, g)` with those outside the face at 0; infinite where not feasible."""
    value = np.zeros(right.shape)
    if not face:
        return total.copy(), value
    inside = list(face)
    whole = len(face) == len(gram)
    target = right if whole else right[inside]
    if len(face) == 1:
        found, fine = target / gram[face[0], face[0]], gram[face[0], face[0]] > 0
    elif len(face) == 2:
        j, k = face
        cross, left = gram[j, k] / gram[j, j], gram[j, j]
        rest = gram[k, k] - cross * gram[j, k]
        fine = (left > 0) & (rest > 1e-14 * gram[k, k])
        second = (target[1] - cross * target[0]) / rest
        found = np.stack([target[0] / left - cross * second, second])
    else:
        lower, fine = factor(gram if whole else gram[np.ix_(inside, inside)])
        found = solve(lower, target)
    rss = total - np.sum(found * target, axis=0)
    for j, row in zip(face, found, strict=True):
        if positive[j]:
            fine &= row > 0
    value[inside] = np.where(fine, found, 0.0)
    return np.where(fine & np.isfinite(rss), rss, np.inf), value


def _basins(profile: Array) -> NDArray[np.intp]:
    """Flat indices of the local minima of a grid (neighbours along each axis)."""
    lowest = np.isfinite(profile)
    for axis in range(profile.ndim):
        here, along = np.moveaxis(profile, axis, 0), np.moveaxis(lowest, axis, 0)
        along[1:] &= here[1:] <= here[:-1]
        along[:-1] &= here[:-1] <= here[1:]
    return np.flatnonzero(lowest)


def _as_coordinates(problem: Problem, phi: Array, zero: Flags) -> tuple[Array, Flags]:
    """From phi to u, with a coefficient of 0 at its floor and held there."""
    u = (phi - problem.offset) @ problem.inverse.T
    gone = (zero.astype(float) @ np.abs(problem.basis)) > 0
    for place, item in enumerate(problem.law.parameters):
        # Centring lets an exponent's column reach into a coefficient's row; only the coefficient's own column is at zero.
        if not item.linear:
            gone[:, np.flatnonzero(problem.basis[place])] = False
    u = np.where(gone, problem.floor, u if np.isfinite(u).all() else np.nan_to_num(u))
    return u, ~(gone | _meaningless(problem, zero))


def _meaningless(problem: Problem, zero: Flags) -> Flags:
    """Exponents of terms that are all 0: they stay where they are."""
    law = problem.law
    used, known = np.zeros(zero.shape, dtype=bool), np.zeros(zero.shape[1], dtype=bool)
    for term in law.terms:
        for power in term.powers.values():
            used[:, law.names.index(power)] |= ~zero[:, law.names.index(term.coefficient)]
            known[law.names.index(power)] = True
    columns = np.zeros((len(zero), problem.basis.shape[1]), dtype=bool)
    for place in np.flatnonzero(known):
        columns[:, np.flatnonzero(problem.basis[place])] |= ~used[:, place, None]
    return columns


def _unprojected(problem: Problem, u: Array, shape: tuple[int, ...], most: int) -> Starts:
    """A law without a linear part: the objective itself on the grid."""
    value = problem.objective_at(u)
    basin = _basins(value.reshape(shape or (1,)))
    order = basin[np.argsort(value[basin], kind="stable")][:most]
    place = np.stack(np.unravel_index(order, shape or (1,)), axis=1)
    return Starts(u[order], np.ones(u[order].shape, dtype=bool), place, len(basin))
