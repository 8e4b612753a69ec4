"""The test of a kept setting against the lowest points of swept scales: does it drift away from them as scale grows?

With y_c = z*_c - z_c, the lowest point less the setting that was kept (in nats, for most), at scales x_c from the smallest swept,

    y = a 1 + X p + eta + e,    a ~ N(0, h^2 / 24),    eta_c ~ N(0, tau^2),    e ~ N(0, V)

H0: p = 0. a is what a setting picked off a grid of step h is off anyway: evenly spread over a step that is h^2 / 12, and half of
it keeps false alarms at 5 % where settings were so picked (benchmarks/verdicts). tau is the scatter of scales, of which two
sweeps say nothing, so it carries a prior and the p-value is averaged over its posterior; V the sweeps' error (`_sweeps.py`). For
one tau, with S the covariance of y,

    Q = p' (X' S^-1 X) p / k ~ F(k, nu),    p = (X' S^-1 X)^-1 X' S^-1 y,

two-sided, nu the noise's degrees of freedom by Satterthwaite: only V's part of S was estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["TAU", "Slope", "power", "slope"]

Array: TypeAlias = NDArray[np.float64]

# ln tau ~ N(ln 0.1, 0.4^2): 0.11 nat (rate) and 0.06 (batch) between the scales of one public grid, 0.1 to 0.2 on simulated
# ladders of our own trainer.
TAU, _TAU_SD = 0.1, 0.4
# Prior on the movement per nat of parameters, for the excess only, never for the test: published rates move by 0.25 to 0.7.
_MOVE = 0.5
# Directions of scale in which the sweeps are less than this many nats apart say nothing.
_APART = 0.3
# Variance of what a setting picked off a grid is off anyway: its squared step over this.
_PICKED = 24.0
# How far off a setting may be at the only scale that was swept, in nats.
_FREE = 1.5


@dataclass(frozen=True, eq=False)
class Slope:
    """What the sweeps say of the drift.

    Args:
        p_value: of no drift, two-sided.
        directions: number of directions of scale tested; 0 where one scale was swept, whose lowest point itself is then tested.
        tau, chances: grid and posterior of the scatter.
        mean, covariance: of (a, p) per tau, `(taus, 1 + columns)` and `(taus, 1 + columns, 1 + columns)`.
        degrees: of freedom, averaged over tau.
        origin: ln scale from which p counts, `(columns,)`.
    """

    p_value: float
    directions: int
    tau: Array
    chances: Array
    mean: Array
    covariance: Array
    degrees: float
    origin: Array

    def draw(self, x: Array, count: int, random: np.random.Generator) -> Array:
        """Draws of z* - z, kept, at ln scales `(points, columns)`, each scale with its own scatter: `(count, points)`."""
        pick = random.choice(len(self.tau), size=count, p=self.chances)
        roots = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(self.covariance.shape[1]))
        scale = np.sqrt(self.degrees / random.chisquare(self.degrees, count))[:, None]
        theta = self.mean[pick] + scale * np.einsum("nij,nj->ni", roots[pick], random.standard_normal((count, len(self.mean[0]))))
        own = self.tau[pick][:, None] * random.standard_normal((count, len(x)))
        return theta @ np.concatenate([np.ones((len(x), 1)), x - self.origin], axis=1).T + own


def slope(y: Array, x: Array, error: Array, degrees: float, *, step: float, nats: Array, scatter: bool = True) -> Slope:
    """Test and estimate the drift.

    Args:
        y: lowest point less kept setting, `(scales,)`. x: ln scales, `(scales, columns)`.
        error: covariance of y from the sweeps, `(scales, scales)`; degrees: of freedom of its noise.
        step: of the grid the setting was picked off, in nats. nats: ln parameters per ln of each scale column.
        scatter: False leaves the scatter between scales out, whose false alarms the benchmark prints.
    """
    # Where the kept setting was tuned nobody says; small is the rule.
    origin = x[int(np.argmin(x @ nats))]
    values = _directions((x - origin) * nats)
    design = values if values.shape[1] else np.ones((len(y), 1))
    tau = TAU * np.exp(_TAU_SD * np.linspace(-2.5, 2.5, 11)) if scatter else np.array([1e-6])
    parts = [_Given(y, design, error, max(degrees, 1.0), each**2, step) for each in tau]
    log = np.array([each.log_likelihood for each in parts])
    log = log - 0.5 * (np.log(tau / TAU) / _TAU_SD) ** 2 if scatter else log
    chances = np.exp(log - log.max())
    chances /= chances.sum()
    mean, covariance = _posterior(y, x - origin, error, tau, step=step, nats=nats)
    return Slope(
        p_value=float(chances @ [each.p_value for each in parts]),
        directions=values.shape[1],
        tau=tau,
        chances=chances,
        mean=mean,
        covariance=covariance,
        degrees=float(chances @ [each.degrees for each in parts]),
        origin=origin,
    )


def power(away: Array, x: Array, error: Array, degrees: float, *, step: float, nats: Array, level: float = 0.95) -> float:
    """Probability that `slope` finds lowest points `away` from the kept setting, `(scales,)`: noncentral F, tau at 0.1."""
    from scipy.special import fdtri, ncfdtr

    values = _directions((x - x[int(np.argmin(x @ nats))]) * nats)
    design = values if values.shape[1] else np.ones((len(away), 1))
    given = _Given(away, design, error, max(degrees, 1.0), TAU**2, step)
    k = design.shape[1]
    critical = float(fdtri(k, given.degrees, level))
    # Far beyond any threshold the series for the tail fails, and the tail is one.
    return 1.0 if given.q * k > 200 else 1.0 - float(ncfdtr(k, given.degrees, given.q * k, critical))


class _Given:
    """The test at one tau: q and its degrees of freedom, the p-value, and the restricted log likelihood of tau."""

    def __init__(self, y: Array, design: Array, error: Array, degrees: float, tau: float, step: float) -> None:
        from scipy.special import fdtrc

        n, k = design.shape
        S = error + tau * np.eye(n) + step**2 / _PICKED * np.ones((n, n))
        inverse = np.linalg.inv(S)
        information = design.T @ inverse @ design
        gain = np.linalg.solve(information, design.T @ inverse)
        p = gain @ y
        rest = y - design @ p
        whole, part = float(np.trace(gain @ S @ gain.T)), float(np.trace(gain @ error @ gain.T))
        self.degrees = min(degrees * (whole / max(part, 1e-12)) ** 2, 1e6)
        self.q = float(p @ information @ p) / k
        self.p_value = float(fdtrc(k, self.degrees, max(self.q, 0.0)))
        self.log_likelihood = -0.5 * (np.linalg.slogdet(S)[1] + np.linalg.slogdet(information)[1] + float(rest @ inverse @ rest))


def _directions(x: Array) -> Array:
    """The scales in the directions in which they differ, `(scales, directions)`."""
    _, size, rows = np.linalg.svd(x, full_matrices=False)
    return x @ rows[size > _APART].T


def _posterior(y: Array, x: Array, error: Array, tau: Array, *, step: float, nats: Array) -> tuple[Array, Array]:
    """Mean and covariance of (a, p) per tau, with their priors."""
    design = np.concatenate([np.ones((len(y), 1)), x], axis=1)
    # One sweep says how far off the setting is there, wherever it was picked.
    free = np.array([_PICKED / step**2 if len(y) > 1 else _FREE**-2.0])
    prior = np.diag(np.concatenate([free, (_MOVE * nats) ** -2.0]))
    means: list[Array] = []
    covariances: list[Array] = []
    for each in tau:
        inverse = np.linalg.inv(error + each**2 * np.eye(len(y)))
        covariance = np.linalg.inv(design.T @ inverse @ design + prior)
        means.append(covariance @ design.T @ inverse @ y)
        covariances.append(covariance)
    return np.stack(means), np.stack(covariances)
