"""The test of a kept setting against the lowest points of swept scales: does it drift away from them as scale grows?

With y_c = z*_c - z_c, the lowest point less the setting that was kept (in nats, for most), at scales x_c from the smallest swept,

    y = a 1 + X p + eta + r + e,    eta_c ~ N(0, tau^2),    e ~ N(0, V)

H0: p = 0. V is the sweeps' error (`_sweeps.py`), r that of the law which a ladder's own settings follow where they change with
size (`mistuned.py`): none where one was kept. a is what the setting is off at every scale alike: two of three settings are picked
off a grid of step h, a ~ N(0, h^2 / 12), the others are as good as can be, a = 0. tau is the scatter of scales. Two sweeps tell
neither, so both carry a prior, and the p-value is averaged over their posterior. Given both, with S the covariance of y,

    T = (p - c)' C^-1 (p - c) / k ~ F(k, nu; c' C^-1 c),    p = C X' S^-1 y,    C = (X' S^-1 X)^-1,

a noncentral F, nu the noise's degrees of freedom by Satterthwaite: only V's part of S was estimated. c looks where drift is
expected: for p ~ N(m, P) beforehand the test that is most powerful on average (Neyman and Pearson, for the ratio of y's marginal
likelihood to that of no drift) rejects outside an ellipsoid around

    c = -(C^-1 - (C + P)^-1)^-1 (C + P)^-1 m,

for one direction exactly the region above, for several in C's metric. With m = 0 it is the two-sided F test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .notation import quantity

__all__ = [
    "EXPONENT",
    "EXPONENT_SD",
    "OTHER_SD",
    "PICKED",
    "SIZES",
    "TAU",
    "TAU_SD",
    "Moves",
    "Slope",
    "Swept",
    "moves",
    "rounding_of",
]

Array: TypeAlias = NDArray[np.float64]

# The best learning rate over ln parameters with tokens in proportion: -0.25 (DeepSeek), -0.36 (Porian), -0.41 (Step Law), -0.55
# (Bjorck), by theory of the standard parameterisation -0.25 to -0.5 (Everett). Over tokens or steps alone +0.3 and -0.3.
EXPONENT, EXPONENT_SD, OTHER_SD = -0.4, 0.2, 0.3
# ln parameters per ln of a scale column along which it moves so.
SIZES = {"parameters": 1.0, "width": 2.0, "compute": 0.5, "embedding_parameters": 1.0, "depth": 1.0}
# ln tau ~ N(ln 0.1, 0.4^2): 0.11 nat (rate) and 0.06 (batch) between the scales of one public grid, 0.1 to 0.2 on simulated
# ladders of our own trainer.
TAU, TAU_SD = 0.1, 0.4
# Prior on the movement per nat of parameters, for the excess only: an estimate leans nowhere.
_MOVE = 0.5
# Directions of scale in which the sweeps are less than this many nats apart say nothing.
_APART = 0.3
# Share of the settings that are picked off a grid. Variance over a step is its square over `_EVEN`.
PICKED, _EVEN = 2 / 3, 12.0
# How far off a setting may be at the only scale that was swept, in nats.
_FREE = 1.5
_POWER_DRAWS = 400


@dataclass(frozen=True, eq=False)
class Moves:
    """Prior on the drift of a kept setting per ln of each scale column, `(columns,)`: its mean and standard deviation.

    Args:
        along: ln size per ln of each column, as drifts are told: a rate's over parameters, for tokens move with them.
    """

    mean: Array
    sd: Array
    along: Array


def moves(name: str, over: tuple[str, ...], nats: Array, *, ruled: bool) -> Moves:
    """What is known beforehand of how the best setting moves.

    Args:
        nats: ln parameters per ln of each scale column. ruled: the setting was made to change with scale, so somebody's rule has
            taken out what was expected.
    """
    mean, sd, along = np.zeros(len(over)), OTHER_SD * nats, nats
    size = next((k for k, each in enumerate(over) if each in SIZES), None)
    known = quantity(name)
    if size is not None and known is not None and known.column == "learning_rate":
        mean[size] = 0.0 if ruled else EXPONENT * SIZES[over[size]]
        sd[size] = EXPONENT_SD * SIZES[over[size]]
        along = np.where(np.arange(len(over)) == size, SIZES[over[size]], 0.0)
    return Moves(mean, sd, along)


@dataclass(frozen=True, eq=False)
class Slope:
    """What the sweeps say of the drift.

    Args:
        p_value: of no drift.
        directions: number of directions of scale tested; 0 where one scale was swept, whose lowest point itself is then tested.
        tau, chances: of the scatter and of how the setting was picked: grid and posterior.
        mean, covariance: of (a, p) per point of the grid, `(grid, 1 + columns)` and `(grid, 1 + columns, 1 + columns)`.
        degrees: of freedom, averaged over the grid.
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


class Swept:
    """Swept scales, ready to be tested.

    Args:
        x: ln scales, `(scales, columns)`. start: of the smallest scale of all, where a kept setting is tuned as a rule.
        error: covariance of their lowest points, `(scales, scales)`; degrees: of freedom of its noise.
        law: covariance of the settings that the ladder would have had there, `(scales, scales)`.
        rounding: variance of what a setting picked off its grid is off at all scales alike.
        nats: ln parameters per ln of each scale column. prior: on the drift.
        scatter: False leaves the scatter between scales out, whose false alarms the benchmark prints.
    """

    def __init__(
        self,
        x: Array,
        start: Array,
        error: Array,
        degrees: float,
        *,
        law: Array,
        rounding: float,
        nats: Array,
        prior: Moves,
        scatter: bool = True,
    ) -> None:
        self.origin, self.nats = x[int(np.argmin(x @ nats))], nats
        self.away = x - self.origin
        values = _directions(self.away * nats)
        self.directions = values.shape[1]
        # With one sweep its lowest point itself is tested, for a drift from where the ladder starts.
        self.design = values if self.directions else np.ones((len(x), 1))
        reach = self.away if self.directions else x - start
        onto = np.linalg.pinv(self.design)
        expected, spread = onto @ reach @ prior.mean, onto @ (reach * prior.sd**2) @ reach.T @ onto.T
        grid = np.linspace(-2.5, 2.5, 11) if scatter else np.zeros(1)
        self.tau = np.tile(TAU * np.exp(TAU_SD * grid) if scatter else np.array([1e-6]), 2)
        self.prior = np.concatenate([np.log(1 - PICKED) - 0.5 * grid**2, np.log(PICKED) - 0.5 * grid**2])
        self.rounding = np.repeat([1e-6, max(rounding, 1e-6)], len(grid))
        self.error = error + law
        self.given = [
            _Given(self.design, error, law + a + t**2 * np.eye(len(x)), max(degrees, 1.0), expected, spread)
            for t, a in zip(self.tau, self.rounding, strict=True)
        ]

    def slope(self, y: Array) -> Slope:
        """Test and estimate the drift from lowest points less the kept setting, `(scales,)`."""
        p_value, chances = self._judge(y[None])
        mean, covariance = self._posterior(y)
        degrees = float(chances[:, 0] @ [each.degrees for each in self.given])
        return Slope(float(p_value[0]), self.directions, self.tau, chances[:, 0], mean, covariance, degrees, self.origin)

    def power(self, away: Array, level: float, chances: Array | None = None) -> float:
        """Probability that a drift is found whose lowest points are `away` from the kept setting, `(scales,)`, by simulation.

        Args:
            chances: of the grid, by what the sweeps say; None before they are run.
        """
        random = np.random.default_rng(0)
        before = np.exp(self.prior - self.prior.max())
        pick = random.choice(len(self.tau), size=_POWER_DRAWS, p=before / before.sum() if chances is None else chances)
        roots = np.stack([np.linalg.cholesky(each.total) for each in self.given])
        y = away + np.einsum("nij,nj->ni", roots[pick], random.standard_normal((_POWER_DRAWS, len(away))))
        return float(np.mean(self._judge(y)[0] <= 1 - level))

    def _judge(self, y: Array) -> tuple[Array, Array]:
        """P-values `(draws,)` and posterior of the grid `(grid, draws)` for lowest points `(draws, scales)`."""
        p_value, log = (np.stack(each) for each in zip(*(given.judge(y) for given in self.given), strict=True))
        log = log + self.prior[:, None]
        chances = np.exp(log - log.max(axis=0))
        chances /= chances.sum(axis=0)
        return np.sum(chances * p_value, axis=0), chances

    def _posterior(self, y: Array) -> tuple[Array, Array]:
        """Mean and covariance of (a, p) per point of the grid, with their priors."""
        design = np.concatenate([np.ones((len(y), 1)), self.away], axis=1)
        means: list[Array] = []
        covariances: list[Array] = []
        for tau, rounding in zip(self.tau, self.rounding, strict=True):
            # One sweep says how far off the setting is there, wherever it was picked.
            free = 1 / rounding if len(y) > 1 else _FREE**-2.0
            prior = np.diag(np.append(free, (_MOVE * self.nats) ** -2.0))
            inverse = np.linalg.inv(self.error + tau**2 * np.eye(len(y)))
            covariance = np.linalg.inv(design.T @ inverse @ design + prior)
            means.append(covariance @ design.T @ inverse @ y)
            covariances.append(covariance)
        return np.stack(means), np.stack(covariances)


class _Given:
    """The test at one tau and one variance of the rounding: p-values, and the restricted log likelihood of both."""

    def __init__(self, design: Array, error: Array, known: Array, degrees: float, expected: Array, spread: Array) -> None:
        self.design, self.total = design, error + known
        self.inverse = np.linalg.inv(self.total)
        self.information = design.T @ self.inverse @ design
        C = np.linalg.inv(self.information)
        self.gain = C @ design.T @ self.inverse
        part = float(np.trace(self.gain @ error @ self.gain.T))
        self.degrees = min(degrees * (float(np.trace(C)) / max(part, 1e-12)) ** 2, 1e6)
        marginal = np.linalg.inv(C + spread)
        centre = -np.linalg.pinv(self.information - marginal, hermitian=True) @ marginal @ expected
        # Five standard deviations off, the far side is out of sight: the test is one-sided.
        self.centre = centre * min(1.0, 5 / max(float(np.sqrt(centre @ self.information @ centre)), 1e-9))
        self.log = -0.5 * (np.linalg.slogdet(self.total)[1] + np.linalg.slogdet(self.information)[1])

    def judge(self, y: Array) -> tuple[Array, Array]:
        """For lowest points `(draws, scales)`: `(draws,)` each."""
        from scipy.special import ncfdtr

        k, p = self.design.shape[1], y @ self.gain.T
        away, rest = p - self.centre, y - p @ self.design.T
        q = np.einsum("ni,ij,nj->n", away, self.information, away) / k
        shift = float(self.centre @ self.information @ self.centre)
        # Far beyond any threshold the series for the tail fails, and the tail is none.
        tail = np.where(q * k > 400, 0.0, 1.0 - ncfdtr(k, self.degrees, shift, np.minimum(q, 400 / k)))
        return np.clip(tail, 0.0, 1.0), self.log - 0.5 * np.einsum("ni,ij,nj->n", rest, self.inverse, rest)


def rounding_of(step: float, seen: float) -> float:
    """Variance of what a setting picked off a grid of a step is off at all scales alike: of an even spread over the step, less
    what the settings are seen to scatter about their law, which is rounding that each scale has for itself."""
    return max(step**2 / _EVEN - seen, 0.0)


def _directions(x: Array) -> Array:
    """The scales in the directions in which they differ, `(scales, directions)`."""
    _, size, rows = np.linalg.svd(x, full_matrices=False)
    return x @ rows[size > _APART].T
