"""The response: how loss depends on the hyperparameters at each scale, near its lowest point.

One bowl per scale, all bowls estimated together. With d = ln(setting) - ln(best setting) of the scale c,

    ln loss = mu_c + 1/2 d' H_c d + sum_j k_cj d_j^3 + noise

and H_c, k_c are shrunk towards values that all scales share (H with a linear trend in ln scale). The cubic terms are there
because the landscape is skewed, steeper on the high-rate side: a plain parabola through a wide window puts the best rate too
low, and through a narrow window it is noise. On simulated skewed bowls (benchmarks/calibration) the shared cubic halves the
error of the best rate; on symmetric ones it costs a third more, which is the smaller evil.

Runs count by a soft weight 1 / (1 + (excess / window)^2)^2 whose window is 2 % of the loss, or the excess of the fourth best
setting of the scale where the grid is coarser than that. Each solve is linear in (mu, slope, H, k) at the present centres; then
the centres move to the lowest point, until they stay (iteratively re-centred least squares). At the end the slope at the centre
is zero, so its error is the centre's error times H.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .cells import Cell, cells_of
from .noise import SeedNoise, seed_noise
from .trials import Trials

__all__ = ["Bowl", "Edge", "Response", "Settings", "respond"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Constants of the estimator, chosen on simulated worlds (benchmarks/calibration), not on published data."""

    window: float = 0.02
    nearest: int = 4
    cubic: bool = True
    trend: bool = True
    # Standard deviations of the priors, in units of the shared curvature H: the skew of Step Law's bowls is about 0.1 H.
    skew: float = 0.15
    curvature_between: float = 0.4
    skew_between: float = 0.05
    huber: float = 2.5
    floor: float = 0.003
    rounds: int = 30


class Edge(enum.Enum):
    """Where a scale's best setting lies in its grid."""

    INSIDE = "The best setting is bracketed by the grid."
    LOW = "The best setting lies at or below the lowest one tried: extend the grid downwards."
    HIGH = "The best setting lies at or above the highest one tried: extend the grid upwards."


@dataclass(frozen=True, eq=False)
class Bowl:
    """What one scale's runs say about its best setting.

    Args:
        point: the scale.
        log_loss, log_loss_se: ln of the best-case loss and its standard error.
        best: ln of the best setting, `(hyperparameters,)`.
        best_cov: its covariance, `(hyperparameters, hyperparameters)`.
        edge: where each hyperparameter's best lies in the grid.
        hessian: second derivative of ln loss at the best setting.
        count: finished runs at this scale.
        argmin: lowest loss of any setting (mean over its seeds).
        seed_sd: standard deviation of ln loss between seeds near the best setting; NaN without replicates.
    """

    point: Mapping[str, float]
    log_loss: float
    log_loss_se: float
    best: Array
    best_cov: Array
    edge: tuple[Edge, ...]
    hessian: Array
    count: int
    argmin: float
    seed_sd: float


@dataclass(frozen=True, eq=False)
class Response:
    """The bowls of all scales.

    Args:
        over: scale columns.
        hyper: hyperparameters that vary within a scale, on a logarithmic axis.
        bowls: one per scale, in ascending order.
        hessian: shared curvature of ln loss, `(hyperparameters, hyperparameters)`.
        skew: shared cubic coefficients.
        noise: standard deviation of ln loss of one run about its bowl: seeds and lack of fit together.
        skipped: scales with too few settings to have a bowl.
    """

    over: tuple[str, ...]
    hyper: tuple[str, ...]
    bowls: tuple[Bowl, ...]
    hessian: Array
    skew: Array
    noise: float
    skipped: tuple[Mapping[str, float], ...] = field(default=())

    def hessian_at(self, point: Mapping[str, float]) -> Array:
        """Curvature at a scale: the bowls' curvatures averaged with weights that fall with the distance in ln scale.

        It is not extrapolated by its trend: beyond the data the nearest scales' curvature stands, which is the careful choice
        where curvature grows with size (a mistuning is then predicted to cost too little, not too much).
        """
        there = np.log([point[name] for name in self.over])
        here = np.log([[bowl.point[name] for name in self.over] for bowl in self.bowls])
        distance = np.sqrt(np.sum((here - there) ** 2, axis=1))
        weight = np.exp(-(distance - distance.min()) / np.log(4.0))
        return np.einsum("c,cij->ij", weight / weight.sum(), np.stack([bowl.hessian for bowl in self.bowls]))


def respond(trials: Trials, over: Sequence[str], hyper: Sequence[str], settings: Settings | None = None) -> Response | None:
    """Estimate the bowls.

    A scale takes part when it has at least three settings and every hyperparameter of `hyper` varies in it.

    Returns:
        None where no scale has three settings: the data hold no information on tuning.
    """
    settings = settings or Settings()
    cells = cells_of(trials, over, hyper)
    usable = [cell for cell in cells if len(cell.z) >= 3 and all(len(np.unique(column)) > 1 for column in cell.z.T)]
    if not usable or not any(len(np.unique(cell.z[:, 0])) >= 3 for cell in usable):
        return None
    solver = _Solver(usable, tuple(over), settings)
    solver.run()
    skipped = tuple(cell.point for cell in cells if cell not in usable)
    return Response(
        tuple(over),
        tuple(hyper),
        tuple(solver.bowls()),
        solver.shared,
        solver.skew,
        float(np.sqrt(solver.noise + solver.seeds.total.mean())),
        skipped,
    )


class _Solver:
    """State of the re-centred least squares; made, run once and read."""

    def __init__(self, cells: list[Cell], over: tuple[str, ...], settings: Settings) -> None:
        self.cells, self.settings = cells, settings
        self.m = cells[0].z.shape[1]
        scale = np.log([[cell.point[name] for name in over] for cell in cells])
        self.scale = (scale - scale.mean(axis=0)) if settings.trend and len(cells) > 2 else np.zeros((len(cells), 0))
        self.scale = self.scale[:, np.ptp(self.scale, axis=0) > 0] if self.scale.size else self.scale
        self.pairs = [(i, j) for i in range(self.m) for j in range(i, self.m)]
        self.index = np.concatenate([np.full(len(cell.y), c) for c, cell in enumerate(cells)])
        self.z = np.concatenate([cell.z for cell in cells])
        self.y = np.concatenate([cell.y for cell in cells])
        self.count = np.concatenate([cell.count for cell in cells])
        self.seeds = SeedNoise(np.zeros(len(cells)), 0.0, np.ones(len(cells)), 0.0)
        self.noise = 1e-6
        self.mu = np.array([cell.y.min() for cell in cells])
        self.centre = np.stack([cell.z[np.argsort(cell.y)[:3]].mean(axis=0) for cell in cells])
        self.reach = np.stack([np.ptp(cell.z, axis=0) for cell in cells])
        self.shared = np.eye(self.m) * 0.02
        self.skew = np.zeros(self.m)
        self.hessians = np.stack([self.shared] * len(cells))
        self.robust = np.ones(len(self.y))

    def run(self) -> None:
        self._start_curvature()
        for _ in range(self.settings.rounds):
            self._solve()
            if self._move() < 1e-4:
                break
        self._solve()

    def _start_curvature(self) -> None:
        """A first shared curvature: each cell's excess over its minimum against squared distance, robustly."""
        d = self.z - self.centre[self.index]
        excess = self.y - self.mu[self.index]
        for j in range(self.m):
            far = np.abs(d[:, j]) > 0
            if np.any(far):
                self.shared[j, j] = max(float(np.median(2 * excess[far] / np.sum(d[far] ** 2, axis=1))), self.settings.floor)

    def weights(self) -> Array:
        """Soft weight of each setting by its excess over its cell's minimum."""
        excess = np.maximum(self.y - self.mu[self.index], 0.0)
        width = np.empty(len(self.cells))
        for c in range(len(self.cells)):
            mine = np.sort(excess[self.index == c])
            width[c] = max(self.settings.window, mine[min(self.settings.nearest * self.m, len(mine)) - 1])
        return 1.0 / (1.0 + (excess / width[self.index]) ** 2) ** 2

    def _design(self) -> tuple[Array, Array]:
        """Columns and prior precisions. Order: mu (cells), slope (cells x m), H, H trend, skew, H by cell, skew by cell."""
        C, m, s = len(self.cells), self.m, self.settings
        d = self.z - self.centre[self.index]
        one = np.eye(C)[self.index]
        unit = np.sqrt(np.diag(self.shared))
        quad = np.stack([d[:, i] * d[:, j] * (0.5 if i == j else 1.0) for i, j in self.pairs], axis=1)
        quad_unit = np.array([unit[i] * unit[j] for i, j in self.pairs])
        cube = d**3
        cube_unit = unit**2
        parts: list[Array] = [one]
        precision: list[Array] = [np.zeros(C)]
        for j in range(m):
            parts.append(one * d[:, j, None])
            # The slope's prior only damps a step to the width of the grid, and caps the standard error there.
            precision.append(1.0 / (unit[j] ** 2 * np.maximum(self.reach[:, j], 0.1)) ** 2)
        trend = self.scale[self.index]
        parts.append(quad)
        precision.append(1.0 / (10.0 * quad_unit) ** 2)
        for t in range(trend.shape[1]):
            parts.append(quad * trend[:, t, None])
            precision.append(1.0 / (0.3 * quad_unit) ** 2)
        if s.cubic:
            parts.append(cube)
            precision.append(1.0 / (s.skew * cube_unit) ** 2)
        for c in range(C):
            parts.append(quad * one[:, c, None])
            precision.append(1.0 / (s.curvature_between * quad_unit) ** 2)
            if s.cubic:
                parts.append(cube * one[:, c, None])
                precision.append(1.0 / (s.skew_between * cube_unit) ** 2)
        return np.concatenate(parts, axis=1), np.concatenate(precision)

    def _solve(self) -> None:
        X, prior = self._design()
        near = self.weights()
        soft = near * self.robust
        self.seeds = seed_noise(self.cells, [near[self.index == c] for c in range(len(self.cells))])
        own = self.seeds.own[self.index] / self.count
        base = own + self.noise
        w = soft / base
        A = (X * w[:, None]).T @ X + np.diag(prior)
        self.inverse = np.linalg.inv(A)
        theta = self.inverse @ (X.T @ (w * self.y))
        residual = self.y - X @ theta
        lever = w * np.einsum("ij,jk,ik->i", X, self.inverse, X)
        free = max(float(np.sum(soft * (1 - lever))), 1.0)
        # Noise beyond the seeds: lack of fit, or all of the noise where there are no replicates.
        total = float(np.sum(soft * residual**2)) / free
        expected = float(np.sum(soft * (1 - lever) * own)) / free
        self.noise = max(total - expected, 1e-8, 0.01 * float(self.seeds.total.mean()))
        scaled = np.abs(residual) / np.sqrt(own + self.noise)
        self.robust = np.minimum(1.0, self.settings.huber / np.maximum(scaled * np.sqrt(soft), 1e-12))
        self.theta = theta
        self._unpack()

    def _unpack(self) -> None:
        C, m, P = len(self.cells), self.m, len(self.pairs)
        theta, at = self.theta, 0
        self.mu = theta[:C]
        self.slope = theta[C : C + m * C].reshape(m, C).T
        at = C + m * C
        shared = theta[at : at + P]
        at += P
        T = self.scale.shape[1]
        trend = theta[at : at + T * P].reshape(T, P)
        at += T * P
        cubic = m if self.settings.cubic else 0
        self.skew = theta[at : at + cubic] if cubic else np.zeros(m)
        own = theta[at + cubic :].reshape(C, P + cubic)
        self.shared = self._positive(self._matrix(shared), self.settings.floor)
        least = 0.2 * float(np.linalg.eigvalsh(self.shared)[0])
        flat = shared + self.scale @ trend + own[:, :P]
        self.hessians = np.stack([self._positive(self._matrix(row), max(least, self.settings.floor)) for row in flat])

    def _matrix(self, values: Array) -> Array:
        result = np.zeros((self.m, self.m))
        for (i, j), value in zip(self.pairs, values, strict=True):
            result[i, j] = result[j, i] = value
        return result

    @staticmethod
    def _positive(matrix: Array, floor: float) -> Array:
        values, vectors = np.linalg.eigh(matrix)
        return (vectors * np.maximum(values, floor)) @ vectors.T

    def _move(self) -> float:
        """Move every centre towards its lowest point, at most half a nat, and not further than one nat beyond its grid."""
        step = -np.linalg.solve(self.hessians, self.slope[:, :, None])[:, :, 0]
        moved = self.centre + np.clip(step, -0.5, 0.5)
        low = np.stack([cell.z.min(axis=0) for cell in self.cells]) - 1.0
        high = np.stack([cell.z.max(axis=0) for cell in self.cells]) + 1.0
        moved = np.clip(moved, low, high)
        change = float(np.max(np.abs(moved - self.centre)))
        self.centre = moved
        return change

    def bowls(self) -> list[Bowl]:
        """The result per cell."""
        C, m = len(self.cells), self.m
        result: list[Bowl] = []
        for c, cell in enumerate(self.cells):
            rows = [C + j * C + c for j in range(m)]
            inverse = np.linalg.inv(self.hessians[c])
            cov = inverse @ self.inverse[np.ix_(rows, rows)] @ inverse
            best, edge, extra = _place(cell, self.centre[c])
            cov = cov + np.diag(extra**2)
            # The lowest point of a fitted bowl lies below the truth by half the curvature times the centre's variance.
            bias = 0.5 * float(np.trace(self.hessians[c] @ cov))
            at = self.hessians[c] @ (best - self.centre[c]) @ (best - self.centre[c]) / 2
            variance = float(self.inverse[c, c] + self.seeds.common[c]) + 2 * bias**2
            result.append(
                Bowl(
                    cell.point,
                    float(self.mu[c] + at + min(bias, 0.02)),
                    float(np.sqrt(variance)),
                    best,
                    cov,
                    edge,
                    self.hessians[c],
                    int(cell.count.sum()),
                    float(np.exp(cell.y.min())),
                    float(np.sqrt(self.seeds.total[c])) if self.seeds.degrees else float("nan"),
                )
            )
        return result


def _place(cell: Cell, centre: Array) -> tuple[Array, tuple[Edge, ...], Array]:
    """Where the lowest point lies in the grid, moved back where diverged runs bound it; and the extra error of an edge."""
    best = centre.copy()
    edges: list[Edge] = []
    extra = np.zeros(len(centre))
    for j, value in enumerate(centre):
        column = np.unique(cell.z[:, j])
        step = float(np.median(np.diff(column)))
        worse = cell.bad[:, j] if len(cell.bad) else np.zeros(0)
        above, below = worse[worse > column[-1]], worse[worse < column[0]]
        if value > column[-1] and len(above):
            # A diverged run above bounds the best setting: not an open edge.
            wall = 0.5 * (column[-1] + above.min())
            best[j], extra[j] = min(value, wall), 0.5 * (above.min() - column[-1])
            edges.append(Edge.INSIDE)
        elif value < column[0] and len(below):
            wall = 0.5 * (column[0] + below.max())
            best[j], extra[j] = max(value, wall), 0.5 * (column[0] - below.max())
            edges.append(Edge.INSIDE)
        elif value > column[-1] - 0.1 * step:
            extra[j] = max(value - column[-1], 0.0) + 0.25 * step
            edges.append(Edge.HIGH)
        elif value < column[0] + 0.1 * step:
            extra[j] = max(column[0] - value, 0.0) + 0.25 * step
            edges.append(Edge.LOW)
        else:
            edges.append(Edge.INSIDE)
    return best, tuple(edges), extra
