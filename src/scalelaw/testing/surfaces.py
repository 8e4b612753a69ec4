"""Simulated tuning studies with a known truth: one to six hyperparameters over one or two scale columns.

At a scale s, with t = ln s - ln(middle of the ladder) and z the logarithms of the settings,

    z*(s)   = centre + exponents t + bend t_1^2                          the law of the best settings
    ln loss = ln best(s) + cost(z - z*(s) - eta) + noise                 eta ~ N(0, tau^2) per scale and hyperparameter

    cost(d) = sum_j h_j / b_j^2 (exp(b_j u_j) - 1 - b_j u_j),            u = A d,  h_j = curvature_j exp(growth_j t_1 + xi)

A = h^(-1/2) C^(1/2) h^(1/2) turns the axes so that the second derivatives at the best are h_i^(1/2) C_ij h_j^(1/2), where
C_ij = correlation^|i - j|; Step Law's learning rate and batch size have about -0.3. xi ~ N(0, uneven^2) is drawn once per scale.
A cost c is held below `cap` as cap (1 - exp(-c / cap)): a run that learns nothing stays at chance. A run diverges with
probability Phi((u - u_max) / cliff_sd), u the logarithm of the first hyperparameter and u_max = its centre + cliff +
cliff_exponent t_1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..trials import Trials

__all__ = ["AXES", "Axis", "Surface", "Truth", "axes"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """One hyperparameter.

    Args:
        name: its column.
        centre: best value at the middle of the ladder.
        exponents: of the best value in each scale column; those beyond the world's scale columns are left out.
        curvature: second derivative of ln loss, per squared nat.
        step: spacing of the settings tried, in nats.
        skew: b of the bowl, positive where large values cost more.
        bend: coefficient of the squared logarithm of the first scale.
        points: settings on this axis of a full grid.
        growth: change of ln curvature per nat of the first scale, beyond the world's.
        shift: of the settings tried against the best ones, in steps; the best lie at an edge where it is near half the points.
    """

    name: str
    centre: float
    exponents: tuple[float, ...]
    curvature: float
    step: float
    skew: float = 0.4
    bend: float = 0.0
    points: int = 5
    growth: float = 0.0
    shift: float = 0.0


# Steps cost about 1 % of the loss. The second exponent is that of tokens.
AXES = (
    Axis("learning_rate", 1e-3, (-0.35, 0.2), 0.05, 0.693, 0.65, points=7),
    Axis("batch_size", 256.0, (0.3, 0.4), 0.035, 0.693, 0.4),
    Axis("weight_decay", 0.1, (-0.25, -0.3), 0.02, 1.04, 0.3),
    Axis("epsilon", 1e-8, (-0.4, 0.1), 0.01, 1.386, 0.2),
    Axis("init_scale", 1.0, (-0.2, 0.0), 0.02, 1.04, 0.3),
    Axis("warmup", 0.02, (0.1, -0.2), 0.01, 1.386, -0.2),
)


def axes(count: int, **changes: Mapping[str, Any]) -> tuple[Axis, ...]:
    """The first hyperparameters of `AXES`; `changes` names what differs, `axes(2, learning_rate={"shift": 2})`."""
    return tuple(replace(axis, **changes.get(axis.name, {})) for axis in AXES[:count])


@dataclass(frozen=True, eq=False)
class Truth:
    """What a drawn study was made of.

    Args:
        points: the scales, `(cells, scale columns)`.
        best: ln of each scale's own best settings, with its scatter, `(cells, hyperparameters)`.
        law: the same without the scatter.
        uneven: xi of each scale, `(cells,)`.
    """

    points: Array
    best: Array
    law: Array
    uneven: Array


@dataclass(frozen=True)
class Surface:
    """One kind of study.

    Args:
        axes: the hyperparameters.
        over: scale columns, one or two.
        sizes: of the first scale column; `ratio` between neighbours, from `smallest`.
        horizons: of the second scale column.
        ragged: how many diagonals of large size at large horizon are left out of the two-column ladder.
        seeds: runs of each setting.
        missing, missing_cells: shares of settings and of whole scales that were never run; at least 3 + scale columns stay.
        follow: share of the best settings' movement that the settings tried follow; 0 is one grid for all scales.
        sample: Latin hypercube points per scale besides centre and star, for 3 hyperparameters or more; None is 2 m + 8.
    """

    axes: tuple[Axis, ...] = AXES[:2]
    over: tuple[str, ...] = ("width",)
    sizes: int = 6
    ratio: float = 2.0
    smallest: tuple[float, ...] = (64.0,)
    horizons: int = 3
    ragged: int = 1
    seeds: int = 1
    noise: float = 0.003
    tau: float = 0.1
    correlation: float = -0.3
    growth: float = 0.1
    uneven: float = 0.0
    cap: float = 0.7
    cliff: float = math.inf
    cliff_exponent: float = -0.5
    cliff_sd: float = 0.15
    missing: float = 0.0
    missing_cells: float = 0.0
    follow: float = 0.0
    sample: int | None = None

    # ---- the law ------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters."""
        return tuple(axis.name for axis in self.axes)

    @property
    def exponents(self) -> Array:
        """d z* / d ln scale at the middle, `(hyperparameters, scale columns)`."""
        return np.array([axis.exponents[: len(self.over)] for axis in self.axes])

    @property
    def ladder(self) -> Array:
        """All scales, `(cells, scale columns)`."""
        first = self.smallest[0] * np.power(self.ratio, np.arange(self.sizes, dtype=np.float64))
        if len(self.over) == 1:
            return first[:, None]
        second = self.smallest[1] * np.power(self.ratio, np.arange(self.horizons, dtype=np.float64))
        last = self.sizes + self.horizons - 2 - self.ragged
        places = [(i, j) for i, j in itertools.product(range(self.sizes), range(self.horizons)) if i + j <= last]
        return np.array([(first[i], second[j]) for i, j in places])

    def point(self, place: Sequence[float] | Array) -> dict[str, float]:
        """A row of `ladder` by column."""
        return dict(zip(self.over, map(float, place), strict=True))

    def target(self, ratio: float) -> dict[str, float]:
        """The scale `ratio` times the largest in every scale column."""
        return self.point(ratio * self.ladder.max(axis=0))

    def _away(self, point: Mapping[str, float]) -> Array:
        """t: ln scale from the middle of the ladder."""
        low, high = self.ladder.min(axis=0), self.ladder.max(axis=0)
        return np.log([point[name] for name in self.over]) - 0.5 * np.log(low * high)

    def best(self, point: Mapping[str, float]) -> Array:
        """ln of the law's best settings, `(hyperparameters,)`, without the scatter of scales."""
        t = self._away(point)
        bend = np.array([axis.bend for axis in self.axes])
        home = np.array([math.log(axis.centre) for axis in self.axes])
        return home + self.exponents @ t + bend * t[0] ** 2

    def loss(self, point: Mapping[str, float]) -> float:
        """Loss of the best settings."""
        if len(self.over) == 1:
            return 1.2 + 6.0 * point[self.over[0]] ** -0.35
        return 1.7 + 400.0 * point[self.over[0]] ** -0.34 + 410.0 * point[self.over[1]] ** -0.28

    # ---- the bowl -----------------------------------------------------------------------------------------------------

    def _curvature(self, point: Mapping[str, float]) -> Array:
        growth = np.array([self.growth + axis.growth for axis in self.axes])
        return np.array([axis.curvature for axis in self.axes]) * np.exp(growth * float(self._away(point)[0]))

    def _root(self) -> Array:
        """Symmetric root of the correlation of curvatures."""
        place = np.arange(len(self.axes))
        distance = np.abs(place[:, None] - place[None, :])
        values, vectors = np.linalg.eigh(np.power(self.correlation, distance) if self.correlation else np.eye(len(place)))
        return (vectors * np.sqrt(values)) @ vectors.T

    def hessian(self, point: Mapping[str, float]) -> Array:
        """Second derivatives of ln loss at the best settings, `(hyperparameters, hyperparameters)`."""
        root, unit = self._root(), np.sqrt(self._curvature(point))
        return unit[:, None] * (root @ root) * unit[None, :]

    def cost(self, point: Mapping[str, float], away: Array | Sequence[float], uneven: float = 0.0) -> Array:
        """ln loss lost by settings `away` nats from the best, `(..., hyperparameters)` to `(...)`; `uneven` is the scale's xi."""
        h = self._curvature(point) * math.exp(uneven)
        unit = np.sqrt(h)
        u = (np.asarray(away, dtype=np.float64) * unit) @ self._root() / unit
        b = np.array([axis.skew for axis in self.axes])
        safe = np.where(b == 0, 1.0, b)
        bowl = np.where(b == 0, 0.5 * u**2, (np.exp(np.minimum(safe * u, 50.0)) - 1 - safe * u) / safe**2)
        cost = np.sum(h * bowl, axis=-1)
        return cost if math.isinf(self.cap) else self.cap * -np.expm1(-cost / self.cap)

    def edge_of_stability(self, point: Mapping[str, float]) -> float:
        """u_max: ln of the first hyperparameter at which half the runs diverge."""
        return math.log(self.axes[0].centre) + self.cliff + self.cliff_exponent * float(self._away(point)[0])

    def divergence(self, point: Mapping[str, float], u: float) -> float:
        """Probability that a run diverges whose first hyperparameter is exp(u)."""
        return 0.5 * math.erfc((self.edge_of_stability(point) - u) / (self.cliff_sd * math.sqrt(2.0)))

    # ---- runs ---------------------------------------------------------------------------------------------------------

    def _settings(self, random: np.random.Generator, point: Mapping[str, float], jitter: Array) -> Array:
        """ln of the settings tried at a scale, `(settings, hyperparameters)`: a full grid, or centre, star and hypercube."""
        m = len(self.axes)
        step = np.array([axis.step for axis in self.axes])
        shift = np.array([axis.shift for axis in self.axes])
        home = np.log([axis.centre for axis in self.axes])
        home = home + self.follow * (self.best(point) - home) + step * (jitter + shift)
        if m <= 2:
            lines = [np.arange(axis.points) - (axis.points - 1) / 2 for axis in self.axes]
            return home + step * np.array(list(itertools.product(*lines)))
        count = 2 * m + 8 if self.sample is None else self.sample
        strata = np.stack([random.permutation(count) for _ in range(m)], axis=1)
        cube = 4.0 * (strata + random.random((count, m))) / max(count, 1) - 2.0
        return home + step * np.concatenate([np.zeros((1, m)), np.eye(m), -np.eye(m), cube])

    def draw(self, random: np.random.Generator) -> tuple[Trials, Truth]:
        """A study, and what it was made of; runs that diverge have status DIVERGED and no loss."""
        ladder = self.ladder
        count = min(len(ladder), max(3 + len(self.over), len(ladder) - random.binomial(len(ladder), self.missing_cells)))
        kept = np.sort(random.permutation(len(ladder))[:count])
        jitter = random.uniform(-0.3, 0.3, len(self.axes))
        rows: list[tuple[float, ...]] = []
        best: list[Array] = []
        # Where curvature is even nothing is drawn for it, so that those studies do not depend on it.
        uneven = self.uneven * random.normal(size=count) if self.uneven else np.zeros(count)
        for place, xi in zip(ladder[kept], uneven, strict=True):
            point = self.point(place)
            best.append(self.best(point) + self.tau * random.normal(size=len(self.axes)))
            z = self._settings(random, point, jitter)
            z = z[random.random(len(z)) >= self.missing]
            mean = math.log(self.loss(point)) + self.cost(point, z - best[-1], float(xi))
            wall = self.edge_of_stability(point)
            for seed in range(self.seeds):
                loss = np.exp(mean + self.noise * random.normal(size=len(z)))
                loss[z[:, 0] + self.cliff_sd * random.normal(size=len(z)) > wall] = np.nan
                rows.extend((*place, *each, float(seed), value) for each, value in zip(np.exp(z), loss, strict=True))
        table = np.array(rows).reshape(-1, len(self.over) + len(self.axes) + 2).T
        columns: dict[str, Array | list[str]] = dict(zip((*self.over, *self.names, "seed", "loss"), table, strict=True))
        columns["status"] = ["COMPLETE" if ended else "DIVERGED" for ended in np.isfinite(table[-1])]
        law = np.array([self.best(self.point(place)) for place in ladder[kept]])
        return Trials.from_columns(columns, "simulated"), Truth(ladder[kept], np.array(best), law, uneven)

    def run(
        self,
        random: np.random.Generator,
        point: Mapping[str, float],
        settings: Mapping[str, float] | None = None,
        scatter: Array | None = None,
    ) -> float:
        """Loss of one run, NaN where it diverges.

        Args:
            settings: values by hyperparameter; one that is not named is at the law's best.
            scatter: eta of this scale, `(hyperparameters,)`; drawn afresh by default.
        """
        best = self.best(point)
        settings = settings or {}
        z = np.array([math.log(settings[name]) if name in settings else best[j] for j, name in enumerate(self.names)])
        eta = self.tau * random.normal(size=len(best)) if scatter is None else scatter
        loss = self.loss(point) * math.exp(float(self.cost(point, z - best - eta)) + self.noise * random.normal())
        return math.nan if z[0] + self.cliff_sd * random.normal() > self.edge_of_stability(point) else loss

    # ---- settings left behind -----------------------------------------------------------------------------------------

    @property
    def middle(self) -> dict[str, float]:
        """The middle of the ladder."""
        ladder = self.ladder
        return self.point(np.sqrt(ladder.min(axis=0) * ladder.max(axis=0)))

    def kept(self, name: str, point: Mapping[str, float], since: Mapping[str, float] | None = None) -> dict[str, float]:
        """Settings at a scale, all at the law's best but `name`, left at the best of `since` (default: the middle)."""
        best, old = self.best(point), self.best(self.middle if since is None else since)
        return {each: math.exp(old[j] if each == name else best[j]) for j, each in enumerate(self.names)}

    def excess(self, point: Mapping[str, float], since: Mapping[str, float] | None = None) -> dict[str, float]:
        """ln loss that each hyperparameter alone would cost if left at the best of `since`: 1/2 H_jj (z*_j - old_j)^2."""
        moved = self.best(point) - self.best(self.middle if since is None else since)
        return dict(zip(self.names, map(float, 0.5 * np.diag(self.hessian(point)) * moved**2), strict=True))
