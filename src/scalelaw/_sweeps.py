"""The lowest points of swept scales, estimated together with the shape that they share, and the errors that they share with it.

With d = z - z*_c, all swept scales c at once,

    ln loss = mu_c + 1/2 d' H_c d + sum_j k_j d_j^3 + noise,    H_c = H + h_c

The response (`response.py`) leans every scale's lowest point on a law of its own exponents, which a test of drift must not. Here
they stand free, and one shape's error moves all of them alike: two lowest points are known better against each other than each
alone. Priors, in units of H: k_j ~ N(0, 0.15^2), for a rate N(0.06, 0.06^2), as bowls are steeper on the high-rate side (Step
Law: 0.11, and 0 to 0.12 covers what was measured); h_c ~ N(0, 0.3^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .cells import Cell
from .response import Response

__all__ = ["CUBIC", "Sweeps", "swept"]

Array: TypeAlias = NDArray[np.float64]

# Standard deviation between scales of the curvature, and mean and standard deviation of the cubic, all in units of H.
_BETWEEN = 0.3
CUBIC = {"learning_rate": (0.06, 0.06)}
_ANY = (0.0, 0.15)
# What a scale's runs leave open of its lowest point is held to so many nats of the response's.
_LOOSE = 1.5
_ROUNDS = 20
# So many scales at most, evenly from small to large: more tell no more of a line.
_MOST = 16
# Settings that cost more than this in ln loss, or twice the response's window where that is wider, have left the bowl.
_WINDOW = 0.06


@dataclass(frozen=True, eq=False)
class Sweeps:
    """The swept scales' lowest points.

    Args:
        cells: the scales. hyper: hyperparameters.
        best: coordinates of the lowest points, `(cells, hyper)`.
        covariance: of all of them for a noise of variance 1, and what the priors add, `(2, cells * hyper, cells * hyper)`.
        squares, degrees: weighted sum of squared residuals and its degrees of freedom.
        hessian, cubic: the shared shape, `(hyper, hyper)` and `(hyper,)`.
    """

    cells: tuple[Cell, ...]
    hyper: tuple[str, ...]
    best: Array
    covariance: Array
    squares: float
    degrees: float
    hessian: Array
    cubic: Array

    def noise(self, variance: float, degrees: float) -> tuple[float, float]:
        """Variance of ln loss of one run and its degrees of freedom: the sweeps' residuals and an estimate."""
        total = degrees + self.degrees
        return (degrees * variance + self.squares) / max(total, 1e-9), total

    def error(self, j: int, variance: float) -> Array:
        """Covariance of the scales' lowest points in one hyperparameter at a noise variance, `(cells, cells)`."""
        at = np.arange(len(self.cells)) * len(self.hyper) + j
        return self.covariance[0][np.ix_(at, at)] * variance + self.covariance[1][np.ix_(at, at)]


def swept(response: Response, noise: float, *, cubic: bool = True) -> Sweeps | None:
    """Fit the scales of a response in which some hyperparameter took three values.

    Args:
        noise: standard deviation of ln loss of one run, for the weight of the priors.
        cubic: False for the parabola, whose false alarms on skewed bowls the benchmark prints.

    Returns:
        None where no scale was swept.
    """
    chosen = [c for c, cell in enumerate(response.cells) if any(len(np.unique(column)) >= 3 for column in cell.z.T)]
    if not chosen:
        return None
    if len(chosen) > _MOST:
        chosen.sort(key=lambda c: float(np.sum(np.log(list(response.cells[c].point.values())))))
        chosen = [chosen[k] for k in np.linspace(0, len(chosen) - 1, _MOST).astype(int)]
    return _Fit(response, chosen, noise, cubic).run()


class _Fit:
    """Gauss-Newton steps with the priors as rows; made, run once and read."""

    def __init__(self, response: Response, chosen: Sequence[int], noise: float, cubic: bool) -> None:
        self.cells = [response.cells[c] for c in chosen]
        self.hyper, self.noise = response.hyper, max(noise, 1e-6)
        self.m, self.C = len(self.hyper), len(self.cells)
        self.pairs = [(i, j) for i in range(self.m) for j in range(i, self.m)]
        H = response.hessian
        self.unit = np.array([np.sqrt(H[i, i] * H[j, j]) for i, j in self.pairs])
        own = [n for n, (i, j) in enumerate(self.pairs) if i == j]
        prior = [CUBIC.get(name, _ANY) for name in self.hyper]
        self.k_mean = np.array([mean for mean, _ in prior]) * self.unit[own]
        self.k_sd = np.array([sd for _, sd in prior]) * self.unit[own]
        if not cubic:
            self.k_mean, self.k_sd = np.zeros(self.m), np.full(self.m, 1e-9)
        self.mu = np.array([response.bowls[c].log_loss for c in chosen])
        self.z = np.stack([response.bowls[c].pooled for c in chosen])
        self.start = self.z.copy()
        self.shared = np.array([H[i, j] for i, j in self.pairs])
        self.own = np.zeros((self.C, len(self.pairs)))
        self.k = np.clip(response.skew, self.k_mean - self.k_sd, self.k_mean + self.k_sd) if cubic else np.zeros(self.m)

    def run(self) -> Sweeps:
        """Step until the lowest points stay."""
        for _ in range(_ROUNDS):
            J, r, w = self._rows()
            P, q = self._priors()
            information = (J * w[:, None]).T @ J / self.noise**2 + np.diag(P)
            right = (J * w[:, None]).T @ r / self.noise**2 + P * q
            step = np.asarray(np.linalg.solve(information, right), dtype=np.float64)
            self._move(step)
            if np.max(np.abs(step[self.C : self.C * (1 + self.m)])) < 1e-4:
                break
        rows, residual, w = self._rows()
        precision, _ = self._priors()
        inverse = np.linalg.inv((rows * w[:, None]).T @ rows / self.noise**2 + np.diag(precision))
        at = slice(self.C, self.C * (1 + self.m))
        # The estimate errs by its data and by its priors; the data's part grows with their noise.
        data = (inverse @ ((rows * w[:, None] ** 2).T @ rows) @ inverse)[at, at] / self.noise**4
        priors = (inverse * precision @ inverse)[at, at]
        lever = w * np.einsum("ip,pq,iq->i", rows, inverse, rows) / self.noise**2
        count = np.concatenate([cell.count for cell in self.cells])
        free = float(np.sum(w / count * (1 - lever)))
        return Sweeps(
            tuple(self.cells),
            self.hyper,
            self.z,
            np.stack([data, priors]),
            float(np.sum(w * residual**2)),
            max(free, 0.0),
            self._matrix(self.shared),
            self.k,
        )

    def _matrix(self, values: Array) -> Array:
        H = np.zeros((self.m, self.m))
        for value, (i, j) in zip(values, self.pairs, strict=True):
            H[i, j] = H[j, i] = value
        return H

    def _rows(self) -> tuple[Array, Array, Array]:
        """Slopes in [mu, z, H, h, k], residuals and weights of all settings."""
        m, C, P = self.m, self.C, len(self.pairs)
        width = C * (1 + m) + P * (1 + C) + m
        slopes, residuals, weights = [], [], []
        for c, cell in enumerate(self.cells):
            d = cell.z - self.z[c]
            H = self._matrix(self.shared + self.own[c])
            J = np.zeros((len(d), width))
            J[:, c] = 1.0
            J[:, C + c * m : C + (c + 1) * m] = -(d @ H + 3 * self.k * d**2)
            products = np.stack([d[:, i] * d[:, j] * (0.5 if i == j else 1.0) for i, j in self.pairs], axis=1)
            first = C * (1 + m)
            J[:, first : first + P] = products
            J[:, first + P * (1 + c) : first + P * (2 + c)] = products
            J[:, width - m :] = d**3
            value = self.mu[c] + products @ (self.shared + self.own[c]) + d**3 @ self.k
            excess = np.maximum(cell.y - self.mu[c], 0.0)
            window = max(_WINDOW, float(np.sort(excess)[min(2 * (1 + m), len(excess)) - 1]))
            window = min(window, 2.5 * _WINDOW)
            slopes.append(J)
            residuals.append(cell.y - value)
            weights.append(cell.count / (1 + (excess / window) ** 2) ** 2)
        return np.concatenate(slopes), np.concatenate(residuals), np.concatenate(weights)

    def _priors(self) -> tuple[Array, Array]:
        """Precision of every unknown's prior, and how far its mean lies ahead."""
        parts = [
            (np.zeros(self.C), np.zeros(self.C)),
            (np.full(self.C * self.m, _LOOSE**-2.0), (self.start - self.z).ravel()),
            (np.tile((2.0 * self.unit) ** -2.0, 1), np.zeros(len(self.pairs))),
            (np.tile((_BETWEEN * self.unit) ** -2.0, self.C), -self.own.ravel()),
            (self.k_sd**-2.0, self.k_mean - self.k),
        ]
        return np.concatenate([p for p, _ in parts]), np.concatenate([q for _, q in parts])

    def _move(self, step: Array) -> None:
        C, m, P = self.C, self.m, len(self.pairs)
        at = C * (1 + m)
        self.mu = self.mu + np.clip(step[:C], -0.05, 0.05)
        self.z = self.z + np.clip(step[C:at].reshape(C, m), -0.4, 0.4)
        self.shared = self.shared + step[at : at + P]
        self.own = self.own + step[at + P : at + P * (1 + C)].reshape(C, P)
        self.k = self.k + step[-m:]
        # A bowl opens upwards.
        for n, (i, j) in enumerate(self.pairs):
            if i == j:
                self.shared[n] = max(self.shared[n], 0.1 * self.unit[n])
                self.own[:, n] = np.maximum(self.own[:, n], -0.8 * self.shared[n])
