"""The response: how loss depends on the hyperparameters at each scale, near its lowest point, and how that point moves.

One bowl per scale, all estimated together with the law of their lowest points. With d = z - z*_c, z the settings' coordinates
(logarithms, for most),

    ln loss = mu_c + 1/2 d' H_c d + sum_ij k_ij d_i^2 d_j + noise,    z*_c = law(s_c) + eta_c,  eta_c ~ N(0, tau^2)

H_c is shrunk towards a curvature that all scales share, with a log-linear trend in scale. The cubic terms are there because the
landscape is skewed, steeper on the high-rate side: a plain parabola through a wide window puts the best rate too low, and through
a narrow window it is noise. On simulated skewed bowls (benchmarks/calibration) the shared cubic halves the error of the best
rate; on symmetric ones it costs a third more, which is the smaller evil.

Because the bowls lean on the law, a scale with few settings, at the edge of its grid, or with a single setting takes part with
what it knows: its loss is corrected by what its distance from the predicted best should cost, with that prediction's error.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._exponents import known_exponents
from ._growth import Growth, growth
from ._surface import Priors, Surface, Table
from .cells import Cell, cells_of
from .estimate import Estimate, quantile_t
from .factors import Best, Level, best_levels, compare_levels
from .noise import SeedNoise, seed_noise
from .trend import Path, Trend, straighten
from .trials import Trials

__all__ = ["FORM", "Bowl", "Edge", "Response", "Settings", "respond"]

Array: TypeAlias = NDArray[np.float64]
Settings = Priors

# Error of ln H that no run tells of: a cubic within its window is not the bowl. On simulated bowls 0.05 to 0.15.
FORM = 0.1
# A scale counts as tuned where its own runs place the best setting to within a nat.
_TOLD = 1.0


class Edge(enum.Enum):
    """Where a scale's best setting lies in its grid."""

    INSIDE = "The best setting is bracketed by the grid."
    LOW = "The best setting lies at or below the lowest one tried: extend the grid downwards."
    HIGH = "The best setting lies at or above the highest one tried: extend the grid upwards."
    ALONE = "One setting was tried: the best is what the law of the other scales says."


@dataclass(frozen=True, eq=False)
class Bowl:
    """What one scale's runs say about its best setting.

    Args:
        point: the scale. levels: of the factors, in their order.
        log_loss, log_loss_se: ln of the best-case loss and its standard error.
        best: coordinates of the best setting by this scale's own runs, `(hyperparameters,)`; of the law's where they are ALONE.
        best_cov: its covariance, `(hyperparameters, hyperparameters)`.
        pooled, pooled_cov: the same, leaning on the law of all scales.
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
    pooled: Array
    pooled_cov: Array
    edge: tuple[Edge, ...]
    hessian: Array
    count: int
    argmin: float
    seed_sd: float
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Response:
    """The bowls of all scales, and the law of their lowest points.

    Args:
        over: scale columns.
        hyper: hyperparameters that vary within a scale.
        bowls: one per scale, and per level of the factors, in ascending order.
        factors: hyperparameters that were compared by level (schedule, precision, two values of a number).
        level: the levels that the law of best settings is for, in their order: see `factors.best_levels`.
        hessian: shared curvature of ln loss, `(hyperparameters, hyperparameters)`.
        skew: shared cubic coefficients of d_j^3, at the curvature `hessian`.
        growth: how curvature changes with scale.
        noise: standard deviation of ln loss of one run about its bowl: seeds and lack of fit together.
        trend: the law of the best settings.
        cells: the runs behind it.
        solver: the converged surface, from which a bootstrap starts.
    """

    over: tuple[str, ...]
    hyper: tuple[str, ...]
    bowls: tuple[Bowl, ...]
    hessian: Array
    skew: Array
    growth: Growth = field(repr=False)
    noise: float
    trend: Trend = field(repr=False)
    cells: tuple[Cell, ...] = field(repr=False)
    solver: Surface = field(repr=False)
    factors: tuple[str, ...] = ()
    level: tuple[str, ...] = ()

    @property
    def bests(self) -> list[Best]:
        """(scale, levels, ln loss, its standard error) of every bowl, for comparing levels."""
        return [(tuple(bowl.point.values()), bowl.levels, bowl.log_loss, bowl.log_loss_se) for bowl in self.bowls]

    def levels(self, level: float = 0.9) -> tuple[Level, ...]:
        """Every level of every factor: its effect on the loss and what it moves, each with its interval."""
        effects, surface = compare_levels(self.bests, self.level, level), self.solver
        others = level_columns(self.cells, self.level)
        q, K = surface.X.shape[2], len(others)
        found: list[Level] = []
        for factor, name in sorted({(f, each) for cell in self.cells for f, each in enumerate(cell.levels)}):
            shift: dict[str, Estimate] = {}
            for j, hyper in enumerate(self.hyper if (factor, name) in others else ()):
                at = (j + 1) * q - K + others.index((factor, name))
                value, se = float(surface.theta[0, at]), float(np.sqrt(surface.cov[0, at, at]))
                half = quantile_t(0.5 + 0.5 * level, self.trend.paths[j].degrees) * se
                shift[hyper] = Estimate(value, value - half, value + half, level, se)
            scales = len({tuple(cell.point.values()) for cell in self.cells if cell.levels[factor] == name})
            best = name == self.level[factor]
            found.append(Level(self.factors[factor], name, best, effects.get((factor, name)), shift, scales))
        return tuple(found)

    def hessian_at(self, point: Mapping[str, float]) -> Array:
        """Expected curvature at a scale: the bowls' curvatures averaged with weights that fall with the distance in ln scale,
        then carried on from the middle of those weights along the trend of ln H (`_growth.py`)."""
        near, beyond = self._near(point)
        root = np.exp(0.5 * self.growth.value @ beyond)
        return root[:, None] * near * root

    def skew_at(self, point: Mapping[str, float]) -> Array:
        """Cubic coefficients at a scale: k grows with H, so that the bowl keeps its shape in nats."""
        return self.skew * np.diag(self.hessian_at(point)) / np.diag(self.hessian)

    def curvature_sd(self, point: Mapping[str, float]) -> Array:
        """Standard deviation of ln H_jj of one scale about the expected one, `(hyperparameters,)`."""
        beyond, m = self._near(point)[1], len(self.hyper)
        of_trend = np.einsum("jsjt,s,t->j", self.growth.covariance.reshape(m, len(beyond), m, len(beyond)), beyond, beyond)
        return np.sqrt(self.solver.state.between[0] ** 2 + FORM**2 + of_trend)

    def sharpness(self, points: Sequence[Mapping[str, float]], count: int, random: np.random.Generator) -> Array:
        """Draws of one scale's own H_jj over the expected one, `(count, points, hyperparameters)`: the error of the trend and the
        scatter of scales, the latter the same for all points of a draw."""
        scatter = math.hypot(self.solver.state.between[0], FORM) * random.standard_normal((count, 1, 1))
        beyond = np.stack([self._near(point)[1] for point in points])
        return np.exp(scatter + np.einsum("njs,ps->npj", self.growth.errors(count, random), beyond))

    def _near(self, point: Mapping[str, float]) -> tuple[Array, Array]:
        """Average curvature of the nearest bowls, and how far in ln scale the point lies beyond their average, `(scales,)`."""
        there = np.log([point[name] for name in self.over])
        here = np.log([[bowl.point[name] for name in self.over] for bowl in self.bowls])
        distance = np.sqrt(np.sum((here - there) ** 2, axis=1))
        weight = np.exp(-(distance - distance.min()) / np.log(4.0))
        weight /= weight.sum()
        return np.einsum("c,cij->ij", weight, np.stack([bowl.hessian for bowl in self.bowls])), there - weight @ here

    def cost(self, point: Mapping[str, float], away: Array, sharpness: Array | float = 1.0) -> Array:
        """ln loss lost at settings `away` from the best, `(.., hyperparameters)` -> `(..)`: see `skewed`."""
        return skewed(self.hessian_at(point), self.skew_at(point), away, sharpness)


def skewed(hessian: Array, skew: Array, away: Array, sharpness: Array | float = 1.0) -> Array:
    """The bowl continued beyond its window: 1/2 d'Hd + sum_j H_jj / b_j^2 (e^(b_j d_j) - 1 - b_j d_j - (b_j d_j)^2 / 2).

    b_j = 6 k_j / H_jj gives the cubic's third derivative at the best setting; unlike a cubic it never turns down. |b| is held
    below 1, the steepest that has been measured.

    Args:
        hessian `(m, m)`, skew `(m,)`: at the best setting. away: `(.., m)`.
        sharpness: factors of the H_jj, `(.., m)`, at the same b_j.
    """
    scaled = np.sqrt(sharpness) * away
    quadratic = 0.5 * np.einsum("...i,ij,...j->...", scaled, hessian, scaled)
    H = np.diag(hessian)
    b = np.clip(6 * skew / H, -1.0, 1.0)
    b = np.where(np.abs(b) < 1e-4, 1e-4, b)
    x = np.clip(b * away, -50.0, 50.0)
    return np.maximum(quadratic + np.sum(sharpness * H / b**2 * (np.expm1(x) - x - 0.5 * x**2), axis=-1), 0.0)


def respond(
    trials: Trials,
    over: Sequence[str],
    hyper: Sequence[str],
    settings: Settings | None = None,
    *,
    factors: Sequence[str] = (),
) -> Response | None:
    """Estimate the bowls and the law of their lowest points.

    Args:
        factors: hyperparameters compared by level: a level has bowls of its own, whose curvature and skew are shared and whose
            lowest points are moved by a shift that is the same at every scale.

    Returns:
        None where some hyperparameter takes three values within no scale: the data hold no information on its tuning.
    """
    settings = settings or Settings()
    cells = cells_of(trials, over, hyper, factors)
    if not cells or not all(any(len(np.unique(cell.z[:, j])) >= 3 for cell in cells) for j in range(len(hyper))):
        return None
    first = _respond(cells, tuple(over), tuple(hyper), tuple(factors), settings)
    best = best_levels(first.bests)
    # The law is stated for the best levels: theirs is the intercept, and the others' shifts are from there.
    return first if best == first.level else _respond(cells, tuple(over), tuple(hyper), tuple(factors), settings, best)


def _respond(
    cells: list[Cell],
    over: tuple[str, ...],
    hyper: tuple[str, ...],
    factors: tuple[str, ...],
    settings: Settings,
    level: tuple[str, ...] = (),
) -> Response:
    level = level or cells[0].levels
    scale = np.log([[cell.point[name] for name in over] for cell in cells])
    middle = scale.mean(axis=0)
    table = tabulate(cells, scale - middle, level, known_exponents(hyper, over, settings.exponent))
    surface, seeds = _solve(cells, table, settings)
    own = [n for n, (i, j) in enumerate(surface.cubes) if i == j]
    return Response(
        over,
        hyper,
        tuple(_bowls(surface, cells, seeds)),
        surface.state.shared[0],
        surface.skew[0, own] if own else np.zeros(len(hyper)),
        growth(surface),
        float(np.sqrt(surface.state.noise[0] + seeds.total.mean())),
        _trend(surface, over, hyper, middle),
        tuple(cells),
        surface,
        factors,
        level,
    )


def _solve(cells: list[Cell], table: Table, settings: Settings) -> tuple[Surface, SeedNoise]:
    """Once without seeds, which tells what is near the best; where settings were repeated, again with their noise."""
    surface = Surface(table, settings)
    surface.run()
    near = surface.weights()[0]
    seeds = seed_noise(cells, [near[c, : len(cell.y)] for c, cell in enumerate(cells)])
    if seeds.degrees:
        surface = Surface(replace(table, own=seeds.own[None]), settings, surface.state)
        surface.run()
    return surface, seeds


def tabulate(cells: Sequence[Cell], s: Array, level: tuple[str, ...], exponents: tuple[Array, Array]) -> Table:
    """The cells as one padded table with a single replicate; levels other than the given ones get a column each."""
    n, m = max(len(cell.y) for cell in cells), cells[0].z.shape[1]
    z, y, count = np.zeros((1, len(cells), n, m)), np.zeros((1, len(cells), n)), np.zeros((1, len(cells), n))
    for c, cell in enumerate(cells):
        rows = len(cell.y)
        z[0, c, :rows], y[0, c, :rows], count[0, c, :rows] = cell.z, cell.y, cell.count
        # Padding stands where a run stands, so that no feature of it overflows; its weight is zero.
        z[0, c, rows:], y[0, c, rows:] = cell.z[0], cell.y[0]
    others = level_columns(cells, level)
    at = np.array([[float(cell.levels[k] == each) for k, each in others] for cell in cells]).reshape(len(cells), len(others))
    return Table(z, y, count, np.zeros((1, len(cells))), s[None], at[None], *exponents)


def level_columns(cells: Sequence[Cell], level: tuple[str, ...]) -> list[tuple[int, str]]:
    """(factor, level) of the surface's level columns, in their order."""
    return sorted({(k, each) for cell in cells for k, each in enumerate(cell.levels) if each != level[k]})


def _trend(surface: Surface, over: tuple[str, ...], hyper: tuple[str, ...], middle: Array) -> Trend:
    q, S, m = surface.X.shape[2], len(over), len(hyper)
    _, own = surface.own_best()
    paths: list[Path] = []
    for j in range(m):
        # The shifts of levels stand last and are not part of the law.
        at = slice(j * q, (j + 1) * q - surface.t.level.shape[2])
        beta, covariance = surface.B[0, j, : at.stop - at.start], surface.cov[0][at, at]
        if surface.p.bend:
            straight, left, chance = straighten(beta, covariance, surface.p.bend, surface.p.straight)
        else:
            straight, left, chance = beta, covariance, 1.0
            beta, covariance = np.append(beta, np.zeros(S)), np.pad(covariance, (0, S))
        told = int(np.sum(own[0, :, j, j] < _TOLD**2))
        share = np.clip(np.diag(left)[1:] / surface.t.doubt[j] ** 2, 0.0, 1.0)
        tau = float(surface.state.tau[0, j])
        paths.append(Path(straight, left, beta, covariance, chance, tau, max(told - S, 1), share))
    first = surface.cov[0][np.ix_(range(0, m * q, q), range(0, m * q, q))]
    sd = np.sqrt(np.diag(first))
    return Trend(over, hyper, middle, tuple(paths), first / np.outer(sd, sd))


def _bowls(surface: Surface, cells: list[Cell], seeds: SeedNoise) -> list[Bowl]:
    """The result per scale."""
    best, own = (each[0] for each in surface.own_best())
    centre, covariance, mu_variance = surface.state.centre[0], surface.pooled()[0], surface.mu_variance()[0]
    result: list[Bowl] = []
    for c, cell in enumerate(cells):
        H = surface.state.H[0, c]
        mine, edge, extra = _place(cell, np.where(_single(cell), centre[c], best[c]))
        leaning, _, _ = _place(cell, centre[c])
        # The lowest point of a fitted bowl lies below the truth by half the curvature times the centre's variance.
        bias = 0.5 * float(np.trace(H @ covariance[c]))
        at = float(H @ (leaning - centre[c]) @ (leaning - centre[c])) / 2
        variance = float(mu_variance[c] + seeds.common[c]) + 2 * bias**2
        result.append(
            Bowl(
                cell.point,
                float(surface.state.mu[0, c]) + at + min(bias, 0.02),
                math.sqrt(variance),
                mine,
                own[c] + np.diag(extra**2),
                leaning,
                covariance[c],
                edge,
                H,
                int(cell.count.sum()),
                float(np.exp(cell.y.min())),
                float(np.sqrt(seeds.total[c])) if seeds.degrees else float("nan"),
                cell.levels,
            )
        )
    return result


def _single(cell: Cell) -> Array:
    """Which hyperparameters took one value only."""
    return np.ptp(cell.z, axis=0) < 1e-9


def _place(cell: Cell, centre: Array) -> tuple[Array, tuple[Edge, ...], Array]:
    """Where the lowest point lies in the grid, moved back where diverged runs bound it; and the extra error of an edge."""
    best = centre.copy()
    edges: list[Edge] = []
    extra = np.zeros(len(centre))
    for j, value in enumerate(centre):
        column = np.unique(cell.z[:, j])
        step = float(np.median(np.diff(column))) if len(column) > 1 else 0.0
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
        elif len(column) == 1:
            edges.append(Edge.ALONE)
        elif value > column[-1] - 0.1 * step:
            extra[j] = max(value - column[-1], 0.0) + 0.25 * step
            edges.append(Edge.HIGH)
        elif value < column[0] + 0.1 * step:
            extra[j] = max(column[0] - value, 0.0) + 0.25 * step
            edges.append(Edge.LOW)
        else:
            edges.append(Edge.INSIDE)
    return best, tuple(edges), extra
