"""The discrepancy: by how much laws miss beyond their own error, growing with the distance beyond the data.

Where the data end r nats of parameters and q nats of tokens per parameter short of a target, ln loss misses the law there by

    N(0, kappa^2 r^2 + lambda^2 q^2)

One family's own backtests say little of kappa before they fail, and next to nothing of lambda: sizes grow along a ladder, and
the range of tokens per parameter stays. So both have priors from public families, `python -m benchmarks.forecasting prior`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["KAPPAS", "LAMBDAS", "Discrepancy", "Held", "Hull", "evidence", "hull", "posterior"]

Array: TypeAlias = NDArray[np.float64]

KAPPAS = np.geomspace(1e-4, 0.2, 39)
LAMBDAS = np.geomspace(0.002, 0.25, 11)
# A nat too few tokens per parameter counts as two too many: public families miss by that much more there.
_BELOW = 2.0
# ln parameters per ln of each scale: parameters grow as the square of the width, compute as the square of the parameters.
_NATS = {"width": 2.0, "compute": 0.5}


@dataclass(frozen=True)
class Discrepancy:
    """Priors on kappa and lambda, in ln loss per nat of parameters, and per nat of tokens per parameter, beyond the data.

    Args:
        median, sd: ln kappa ~ N(ln median, sd^2).
        inflation: what both are multiplied by in a prediction, so that 90 % intervals hold 90 % of held-out scales on average
            over public families: a backtest that went well says less of the next scale than its likelihood does.
        above: the same for the one-sided test, so that 5 % of held-out scales come out above its threshold. It is smaller: where
            laws miss, the truth is mostly lower than they say, which costs an interval its cover and the test nothing.
        ratio, ratio_sd: ln lambda ~ N(ln ratio, ratio_sd^2).
    """

    median: float = 0.006
    sd: float = 1.5
    inflation: float = 1.5
    above: float = 1.0
    ratio: float = 0.018
    ratio_sd: float = 0.8

    def log_density(self) -> Array:
        """On the grid `KAPPAS` x `LAMBDAS`, up to a constant."""
        kappa, ratio = np.log(KAPPAS / self.median) / self.sd, np.log(LAMBDAS / self.ratio) / self.ratio_sd
        return -0.5 * (kappa[:, None] ** 2 + ratio**2)


@dataclass(frozen=True)
class Held:
    """One prediction of a held-out scale in a rolling origin: `distance` and `outside` are those of `Hull`."""

    origin: int
    row: int
    ratio: float
    error: float
    variance: float
    degrees: float
    distance: float
    outside: float = 0.0


@dataclass(frozen=True, eq=False)
class Hull:
    """How far the data reach.

    Args:
        nats: ln parameters per ln of each scale. low, high: ends of each scale, in ln.
        top: the largest sum of nats times ln scale, which is ln compute but for a constant.
        signs: of each scale in ln tokens per parameter: -1 for parameters, 1 for tokens, 0 for others, or where one is missing.
        least, most: ends of that ratio.
    """

    nats: Array
    low: Array
    high: Array
    top: float
    signs: Array
    least: float
    most: float

    def distance(self, x: Array) -> Array:
        """Nats of parameters beyond the data, `(P,)`, for ln scales `(P, columns)`.

        Beyond the range of a column, and beyond the largest compute at half a nat of parameters for one of compute: a large model
        on much data is an extrapolation even where small ones saw more data, and others were larger.
        """
        beyond = np.maximum(np.maximum(x - self.high, self.low - x), 0.0) * self.nats
        return np.maximum(np.sqrt(np.sum(beyond**2, axis=1)), 0.5 * np.maximum(x @ self.nats - self.top, 0.0))

    def outside(self, x: Array) -> Array:
        """Nats of tokens per parameter above those of the data, or twice those below, `(P,)`; 0 where the law has not both."""
        ratio = x @ self.signs
        beyond = np.maximum(np.maximum(ratio - self.most, _BELOW * (self.least - ratio)), 0.0)
        # What is left of a difference of equal ratios is rounding.
        return np.where(beyond > 1e-3, beyond, 0.0)


def hull(over: tuple[str, ...], x: Array) -> Hull:
    """The reach of measured rows, `x` their ln scales `(rows, columns)`."""
    nats = np.array([_NATS.get(name, 1.0) for name in over])
    both = {"parameters", "tokens"} <= set(over)
    signs = np.array([both * ((name == "tokens") - (name == "parameters")) for name in over], dtype=np.float64)
    ratio = x @ signs
    return Hull(nats, x.min(axis=0), x.max(axis=0), float((x @ nats).max()), signs, float(ratio.min()), float(ratio.max()))


def evidence(held: Sequence[Held]) -> Array:
    """Log likelihood given held-out errors on the grid `KAPPAS` x `LAMBDAS`, up to a constant.

    The errors of an origin count as one, for they share the shift of one law. Student's t: the first origins have few rows, and
    their large errors are their small samples' and not the form's.
    """
    if not held:
        return np.zeros((len(KAPPAS), len(LAMBDAS)))
    names = ("origin", "error", "variance", "degrees", "distance", "outside")
    columns = (np.array([float(getattr(each, name)) for each in held]) for name in names)
    origin, error, variance, degrees, distance, outside = columns
    share = 1.0 / np.array([np.sum(origin == each) for each in origin])
    result = np.zeros((len(KAPPAS), len(LAMBDAS)))
    # Most held-out scales lie within the tokens per parameter of the others, and say nothing of lambda.
    for rows, lambdas in ((outside == 0, np.zeros(1)), (outside > 0, LAMBDAS)):
        total = variance[rows] + np.outer(KAPPAS, distance[rows])[:, None, :] ** 2 + np.outer(lambdas, outside[rows]) ** 2
        loss = np.log(total) + (degrees[rows] + 1) * np.log1p(error[rows] ** 2 / (degrees[rows] * total))
        result -= 0.5 * np.sum(share[rows] * loss, axis=-1)
    return result


def posterior(log_prior: Array, log_likelihood: Array) -> Array:
    """Chances on the grid."""
    log = log_prior + log_likelihood
    chance = np.exp(log - log.max())
    return chance / chance.sum()
