"""What is known of the best settings, and what a run would add to it before it is made.

The response surface (`_surface.py`) is linear at its solution: a run at scale c and setting z is a row f = (u, v) of that
scale's own unknowns and of the shared ones, with noise variance s^2 / w(excess): runs far up the bowl weigh less. The posterior
covariance Sigma does not depend on the losses, so a run can be added in fantasy. With z*(s_T) = x' theta at the targets,

    R = 1/2 tr(H_T Cov z*(s_T)),      dR(f) = 1/2 c' H_T c / (s^2 / w + f' Sigma f),      c = x' Sigma f

averaged over the targets (L-optimal design: Atkinson, Donev and Tobias 2007, chapter 10). A scale's own scatter eta and its own
curvature are among its unknowns: repeats at one cheap scale soon tell of nothing but that scale, and their gain saturates.
Sigma is an arrow (each scale with the shared unknowns), so that the gain of every candidate costs as many operations as it has
unknowns, and a fantasy one scale's small inverse.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..response import Response

__all__ = ["Belief", "Offers"]

Array: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.intp]

# Least standard deviation of a new scale's lowest ln loss about the law.
_LEAST = 0.003


class Belief:
    """The posterior at the solution of a response, to which runs can be added in fantasy.

    Args:
        response: the surface.
        points: scales of the candidates; those that were measured share the unknowns of their bowl.
        targets: scales at which a setting is to be chosen.
        level_sd: standard deviation of ln best-case loss at each of `points`, by the loss law.
    """

    def __init__(
        self,
        response: Response,
        points: Sequence[Mapping[str, float]],
        targets: Sequence[Mapping[str, float]],
        level_sd: Array,
    ) -> None:
        surface = response.solver
        self.response, self._surface = response, surface
        self.points, self.targets = tuple(points), tuple(targets)
        own, cross, _, _ = surface.blocks
        known = {_key(bowl.point, response.over): c for c, bowl in enumerate(response.bowls) if bowl.levels == response.level}
        place = [known.get(_key(point, response.over)) for point in points]
        C, new = own.shape[1], [n for n, each in enumerate(place) if each is None]
        self._cell = np.array([C + new.index(n) if each is None else each for n, each in enumerate(place)], dtype=np.intp)
        self._own = np.concatenate([own[0], np.zeros((len(new), *own.shape[2:]))])
        self._cross = np.concatenate([cross[0], np.zeros((len(new), *cross.shape[2:]))])
        precision = surface.precision()[0]
        fresh = np.repeat(precision[:1], len(new), axis=0)
        fresh[:, 0] = np.maximum(level_sd[new], _LEAST) ** -2.0 if new else fresh[:, 0]
        self._prior = np.concatenate([precision, fresh])
        self._whole = surface.whole[0][0].copy()
        self._rows(response, place)
        self._aims = np.stack([self._law_row(point) for point in targets])
        self._bowls = np.stack([response.hessian_at(point) for point in targets])
        self._loosen(response)
        self._settle()

    def _rows(self, response: Response, place: Sequence[int | None]) -> None:
        """Centre of each candidate scale, and the maps from its unknowns to the features of its runs."""
        surface = self._surface
        centre, H, s = [], [], []
        for point, c in zip(self.points, place, strict=True):
            s.append(response.trend.place(point))
            centre.append(response.trend.best(point) if c is None else surface.state.centre[0, c])
            H.append(response.hessian_at(point) if c is None else surface.state.H[0, c])
        X = np.stack([self._short(each) for each in s])
        steep = np.stack(s) if surface.steep.shape[2] else np.zeros((len(s), 0))
        L, M = surface.maps(np.stack(H)[None], X[None], steep[None])
        self._centre, self._H, self._L, self._M = np.stack(centre), np.stack(H), L[0], M[0]

    def _short(self, s: Array) -> Array:
        """The law's row at s: intercept, exponents, bends; at the best levels, whose columns are zero."""
        bends = 0.5 * s**2 if self._surface.p.bend else s[:0]
        return np.concatenate([[1.0], s, bends, np.zeros(self._surface.t.level.shape[2])])

    def _law_row(self, point: Mapping[str, float]) -> Array:
        """z*(point) = row' theta, `(m, t)`."""
        row = self._short(self.response.trend.place(point))
        found = np.zeros((self._surface.m, self._whole.shape[0]))
        for j in range(self._surface.m):
            found[j, j * len(row) : (j + 1) * len(row)] = row
        return found

    def _loosen(self, response: Response) -> None:
        """Bends get the prior variance that is left to them: (1 - P(straight)) bend^2, the spread of 'none or some'."""
        surface, S = self._surface, len(response.over)
        q = surface.X.shape[2]
        if not surface.p.bend:
            return
        for j, path in enumerate(response.trend.paths):
            at = range(j * q + 1 + S, j * q + 1 + 2 * S)
            extra = surface.p.bend**-2.0 * (1.0 / max(1.0 - path.straight, 1e-3) - 1.0)
            self._whole[at, at] += extra

    def _settle(self) -> None:
        self._inner = np.linalg.inv(self._own + _diagonal(self._prior))
        self._gain = self._inner @ self._cross
        self._normal = self._whole - np.einsum("cla,clb->ab", self._cross, self._gain)
        self._invert()

    def _invert(self) -> None:
        found = np.linalg.inv(0.5 * (self._normal + self._normal.T))
        self._cov = 0.5 * (found + found.T)

    def copy(self) -> Belief:
        """The same belief, to be moved on apart."""
        other = copy.copy(self)
        for name in ("_own", "_cross", "_whole", "_inner", "_gain", "_normal"):
            setattr(other, name, getattr(self, name).copy())
        return other

    # ---- read -------------------------------------------------------------------------------------------------------

    def covariance(self) -> Array:
        """Of the law's best settings at the targets, `(targets, m, m)`."""
        return self._aims @ self._cov @ np.swapaxes(self._aims, 1, 2)

    def covariance_at(self, points: Sequence[Mapping[str, float]]) -> Array:
        """Of the law's best settings at other points, `(points, m, m)`."""
        rows = np.stack([self._law_row(point) for point in points])
        return rows @ self._cov @ np.swapaxes(rows, 1, 2)

    @property
    def regret(self) -> float:
        """R, ln loss, without the scatter of the target's own best, which no run elsewhere can tell."""
        return 0.5 * float(np.mean(np.einsum("tij,tji->t", self._bowls, self.covariance())))

    def spread(self) -> Array:
        """Covariance of each candidate scale's own best, leaning on the law, `(points, m, m)`."""
        m, at = self._surface.m, slice(1, 1 + self._surface.m)
        q = self._surface.X.shape[2]
        through = -self._gain[self._cell][:, at].copy()
        for n, point in enumerate(self.points):
            row = self._short(self.response.trend.place(point))
            for j in range(m):
                through[n, j, j * q : (j + 1) * q] += row
        return self._inner[self._cell][:, at, at] + through @ self._cov @ np.swapaxes(through, 1, 2)

    def excess(self, cell: Places, z: Array) -> Array:
        """Expected ln loss of settings above their scale's best, its error counted: E cost(z - z*), by its second order."""
        spread = self.spread()
        away = z - self._centre[cell]
        near = np.zeros(len(z))
        for n, point in enumerate(self.points):
            rows = cell == n
            if rows.any():
                near[rows] = self.response.cost(point, away[rows])
        return near + 0.5 * np.einsum("nij,nji->n", self._H, spread)[cell]

    def weights(self, cell: Places, z: Array) -> Array:
        """Soft weight of a run at each candidate, by its expected excess: see `Surface.weights`."""
        p = self._surface.p
        window = min(p.window * (1 + self._surface.m), p.widest)
        return 1.0 / (1.0 + (self.excess(cell, z) / window) ** 2) ** 2

    def told(self, repeats: Array) -> Array:
        """1 / variance that one more run adds where so many were made: seeds share the lack of fit of their setting."""
        seeds, lack = float(self._surface.t.own.mean()), float(self._surface.state.noise[0])
        after = 1.0 / (lack + seeds / (repeats + 1.0))
        if not seeds:
            return np.where(repeats > 0, 0.0, after)
        return after - np.where(repeats > 0, 1.0 / (lack + seeds / np.maximum(repeats, 1.0)), 0.0)

    # ---- fantasy ----------------------------------------------------------------------------------------------------

    def rows(self, cell: Places, z: Array) -> tuple[Array, Array]:
        """u `(n, l)` and v `(n, t)` of candidates."""
        F = self._surface.columns(z - self._centre[cell])
        u, v = np.empty((len(z), self._L.shape[2])), np.empty((len(z), self._M.shape[2]))
        for c in np.unique(cell):
            mine = cell == c
            u[mine], v[mine] = F[mine] @ self._L[c], F[mine] @ self._M[c]
        return u, v

    def add(self, cell: int, u: Array, v: Array, information: float) -> None:
        """Add one run in fantasy."""
        at = int(self._cell[cell])
        before = self._cross[at].T @ self._gain[at]
        self._own[at] += information * np.outer(u, u)
        self._cross[at] += information * np.outer(u, v)
        self._whole += information * np.outer(v, v)
        self._inner[at] = np.linalg.inv(self._own[at] + np.diag(self._prior[at]))
        self._gain[at] = self._inner[at] @ self._cross[at]
        self._normal += information * np.outer(v, v) + before - self._cross[at].T @ self._gain[at]
        self._invert()

    def eliminated(self, cell: int, u: Array, v: Array) -> tuple[Array, Array]:
        """Candidates of one scale, its own unknowns taken out: rows of the shared ones `(n, t)`, variance of the rest `(n,)`."""
        at = int(self._cell[cell])
        return v - u @ self._gain[at], np.sum((u @ self._inner[at]) * u, axis=1)

    def gains(self, rest: Array, own: Array, information: Array) -> Array:
        """dR of each candidate, `(n,)`, from what `eliminated` gives."""
        toward = rest @ self._cov
        variance = own + np.sum(toward * rest, axis=1)
        reach = np.zeros(len(rest))
        for aim, bowl in zip(self._aims, self._bowls, strict=True):
            c = toward @ aim.T
            reach += np.sum((c @ bowl) * c, axis=1)
        return reach / (2 * len(self.targets)) * information / (1.0 + information * np.maximum(variance, 0.0))


class Offers:
    """Candidates with what their gains need; only the scale that a fantasy touched is worked out again."""

    def __init__(self, belief: Belief, cell: Places, z: Array, repeats: Array) -> None:
        self.belief, self.cell, self.repeats = belief, cell, repeats.copy()
        self.u, self.v = belief.rows(cell, z)
        self.weights = belief.weights(cell, z)
        self.information = self.weights * belief.told(self.repeats)
        self._rest, self._own = np.empty_like(self.v), np.empty(len(z))
        for c in np.unique(cell):
            self._work_out(int(c))

    def _work_out(self, cell: int) -> None:
        mine = self.cell == cell
        self._rest[mine], self._own[mine] = self.belief.eliminated(cell, self.u[mine], self.v[mine])

    def gains(self) -> Array:
        """dR of each candidate, `(n,)`."""
        return self.belief.gains(self._rest, self._own, self.information)

    def add(self, index: int, share: float = 1.0) -> None:
        """Make a candidate in fantasy; `share` of its information, as it may fail."""
        cell = int(self.cell[index])
        self.belief.add(cell, self.u[index], self.v[index], float(self.information[index]) * share)
        self.repeats[index] += 1
        self.information[index] = self.weights[index] * self.belief.told(self.repeats[[index]])[0]
        self._work_out(cell)


def _key(point: Mapping[str, float], over: Sequence[str]) -> tuple[float, ...]:
    return tuple(round(float(np.log(point[name])), 9) for name in over)


def _diagonal(values: Array) -> Array:
    return values[..., None] * np.eye(values.shape[-1])
