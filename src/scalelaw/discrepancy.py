"""The discrepancy: by how much laws miss beyond their own error, growing with the distance beyond the data.

ln loss at a distance of r nats of parameters beyond the data misses the law by N(0, kappa^2 r^2). One family's own backtests
say little of kappa before they fail, so it has a prior from public families, `python -m benchmarks.forecasting prior`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["KAPPAS", "Discrepancy", "Held", "Hull", "evidence", "hull", "posterior"]

Array: TypeAlias = NDArray[np.float64]

KAPPAS = np.geomspace(1e-4, 0.2, 39)
# ln parameters per ln of each scale: parameters grow as the square of the width, compute as the square of the parameters.
_NATS = {"width": 2.0, "compute": 0.5}


@dataclass(frozen=True)
class Discrepancy:
    """Prior on kappa, in ln loss per nat of parameters beyond the data.

    Args:
        median, sd: ln kappa ~ N(ln median, sd^2).
        inflation: what kappas are multiplied by in a prediction, so that 90 % intervals hold 90 % of held-out scales on average
            over public families: a backtest that went well says less of the next scale than its likelihood does.
    """

    median: float = 0.0068
    sd: float = 1.5
    inflation: float = 1.3

    def log_density(self) -> Array:
        """On the grid `KAPPAS`, up to a constant."""
        return -0.5 * (np.log(KAPPAS / self.median) / self.sd) ** 2


@dataclass(frozen=True)
class Held:
    """One prediction of a held-out scale in a rolling origin."""

    origin: int
    row: int
    ratio: float
    error: float
    variance: float
    degrees: float
    distance: float


@dataclass(frozen=True, eq=False)
class Hull:
    """How far the data reach.

    Args:
        nats: ln parameters per ln of each scale. low, high: ends of each scale, in ln.
        top: the largest sum of nats times ln scale, which is ln compute but for a constant.
    """

    nats: Array
    low: Array
    high: Array
    top: float

    def distance(self, x: Array) -> Array:
        """Nats of parameters beyond the data, `(P,)`, for ln scales `(P, columns)`.

        Beyond the range of a column, and beyond the largest compute at half a nat of parameters for one of compute: a large model
        on much data is an extrapolation even where small ones saw more data, and others were larger.
        """
        beyond = np.maximum(np.maximum(x - self.high, self.low - x), 0.0) * self.nats
        return np.maximum(np.sqrt(np.sum(beyond**2, axis=1)), 0.5 * np.maximum(x @ self.nats - self.top, 0.0))


def hull(over: tuple[str, ...], x: Array) -> Hull:
    """The reach of measured rows, `x` their ln scales `(rows, columns)`."""
    nats = np.array([_NATS.get(name, 1.0) for name in over])
    return Hull(nats, x.min(axis=0), x.max(axis=0), float((x @ nats).max()))


def evidence(held: Sequence[Held], kappas: Array) -> Array:
    """Log likelihood of each discrepancy given held-out errors, up to a constant.

    The errors of an origin count as one, for they share the shift of one law. Student's t: the first origins have few rows, and
    their large errors are their small samples' and not the form's.
    """
    if not held:
        return np.zeros(len(kappas))
    names = ("origin", "error", "variance", "degrees", "distance")
    origin, error, variance, degrees, distance = (np.array([float(getattr(each, name)) for each in held]) for name in names)
    share = 1.0 / np.array([np.sum(origin == each) for each in origin])
    total = variance + np.outer(kappas, distance) ** 2
    return -0.5 * np.sum(share * (np.log(total) + (degrees + 1) * np.log1p(error**2 / (degrees * total))), axis=1)


def posterior(log_prior: Array, log_likelihood: Array) -> Array:
    """Chances on the grid."""
    log = log_prior + log_likelihood
    chance = np.exp(log - log.max())
    return chance / chance.sum()
