"""The test that may look at any time: residuals of a growing run, whitened, against gaps that open on the way.

At look j the residual is e_j = ln loss_j - (ln loss the law expects at the end + expected course), and

    e = a 1 + b h + r,    a ~ N(0, s^2) the law's offset,    b >= 0 the excess at the end,    h(x) = x^p how it opens,
    r ~ N(0, K) the course's error and the noise of training.

With C = s^2 11' + K, U_t = h'C^-1 e and I_t = h'C^-1 h over the looks so far: U_t gathers the one-step-ahead innovations
w_i, each weighted by the drift that the gap would give it, and under H0 (b = 0) it is a martingale of variance I_t. Averaging the
likelihood ratio of b over a half-normal of scale 1 / sqrt(rho) gives

    E_t = 2 sqrt(rho / (I_t + rho)) exp(U_t^2 / (2 (I_t + rho))) Phi(U_t / sqrt(I_t + rho)),

a nonnegative martingale that starts at 1: P(sup_t E_t >= 1 / alpha) <= alpha (Ville). With equal drifts I_t = t. The mean over
several p is again one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["OPENINGS", "Noise", "Posterior", "evidence", "fit_noise", "information", "posterior", "threshold"]

Array: TypeAlias = NDArray[np.float64]

# How a gap opens: at once, early, evenly, late. In a mistuned run it may be any.
OPENINGS = (0.0, 0.5, 1.0, 2.0)
# Excess of ln loss that is worth an alarm: the scale of the half-normal that the e-process averages over.
_WORTH = 0.03
# Nats of progress over which a course's error wanders.
_WANDER = 0.6
# Prior of the excess: none with this probability, else half-normal of this scale.
_NONE, _EXCESS = 0.5, 0.05


@dataclass(frozen=True)
class Noise:
    """Covariance of the course's error: offset, tilt, bend and wandering that last, and noise that fades over looks.

        K_jk = c^2 + t^2 z_j z_k + q^2 z_j^2 z_k^2 + w^2 v_j v_k exp(-(ln x_j - ln x_k)^2 / 2 l^2) + n_j n_k phi^|j - k|,

    z = ln(1 / x) / ln(1 / x_1), v = (z + 0.1) / 1.1, n_j = n x_j^-f, l = 0.6 nat.

    Args:
        offset, tilt, bend, wander: c, t, q, w. noise, fade, memory: n, f, phi.
    """

    offset: float
    tilt: float
    bend: float
    wander: float
    noise: float
    fade: float
    memory: float

    def covariance(self, x: Array, extra: Array | None = None, stretch: float = 1.0) -> Array:
        """K at progress `x`; `extra` is variance to add to the noise of each look, `stretch` multiplies what lasts."""
        z = np.log(1.0 / x) / max(math.log(1.0 / float(x[0])), 1e-9)
        n = self.sd(x)
        lag = np.abs(np.subtract.outer(np.arange(len(x)), np.arange(len(x))))
        smooth = self.offset**2 + self.tilt**2 * np.outer(z, z) + self.bend**2 * np.outer(z**2, z**2)
        near = np.exp(-0.5 * (np.subtract.outer(np.log(x), np.log(x)) / _WANDER) ** 2)
        smooth = smooth + self.wander**2 * np.outer(z + 0.1, z + 0.1) / 1.21 * near
        return stretch * smooth + np.outer(n, n) * self.memory**lag + np.diag(np.zeros(len(x)) if extra is None else extra)

    def sd(self, x: Array) -> Array:
        """Standard deviation of the noise at progress `x`."""
        return np.asarray(self.noise * x**-self.fade, dtype=np.float64)


def fit_noise(errors: Array, places: NDArray[np.intp], x: Array) -> Noise:
    """The covariance most likely to have made `errors` (runs, J), sizes counted alike, kept off zero by a weak prior.

    Prior: each scale is drawn to 0.1 % of ln loss with the weight of one run, so that few quiet runs do not promise none.
    """
    from scipy.optimize import minimize

    weight = np.array([1.0 / np.sum(places == place) for place in places])
    # Runs of one size share most of their error: a size counts as two runs at most.
    weight *= np.array([min(float(np.sum(places == place)), 2.0) for place in places])
    rough = max(float(np.sqrt(np.mean(np.diff(errors, axis=1) ** 2) / 2)), 1e-5)

    def build(theta: Array) -> Noise:
        c, t, q, w, n = (float(each) for each in np.exp(theta[:5]))
        return Noise(c, t, q, w, n, float(theta[5]), 0.98 / (1 + math.exp(-float(theta[6]))))

    def cost(theta: Array) -> float:
        K = build(theta).covariance(x) + 1e-12 * np.eye(len(x))
        try:
            L = np.linalg.cholesky(K)
        except np.linalg.LinAlgError:
            return 1e12
        white = np.linalg.solve(L, errors.T)
        fit = float(weight @ (0.5 * np.sum(white**2, axis=0) + np.sum(np.log(np.diag(L)))))
        prior = 0.5 * float(np.sum((theta[:4] - math.log(1e-3)) ** 2)) + 0.5 * float((theta[4] - math.log(rough)) ** 2)
        return fit + prior + 2.0 * float(theta[5]) ** 2 + 0.5 * float(theta[6] + 1.0) ** 2

    spread = max(float(np.sqrt(np.mean(errors**2))), 1e-4)
    first = math.log(spread / 2)
    start = np.array([first, first, first, first, math.log(rough), 0.2, -1.0])
    bounds = [(-11.0, 0.0)] * 5 + [(-1.0, 1.5), (-4.0, 4.0)]
    found = minimize(cost, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    return build(np.asarray(found.x, dtype=np.float64))


def _paths(e: Array, C: Array, h: Array) -> tuple[Array, Array]:
    """U_t and I_t after each look, `(J,)`: sums over the innovations, whose Cholesky factor only looks back."""
    L = np.linalg.cholesky(C)
    both = np.linalg.solve(L, np.stack([e, h], axis=1))
    return np.cumsum(both[:, 0] * both[:, 1]), np.asarray(np.cumsum(both[:, 1] ** 2), dtype=np.float64)


def evidence(e: Array, C: Array, x: Array) -> Array:
    """ln E_t after each look, `(J,)`: the mean over `OPENINGS`."""
    rho = 1.0 / _WORTH**2
    logs: list[Array] = []
    for p in OPENINGS:
        U, info = _paths(e, C, x**p)
        total = info + rho
        z = U / np.sqrt(total)
        logs.append(math.log(2) + 0.5 * np.log(rho / total) + 0.5 * z**2 + _log_normal_cdf(z))
    return np.logaddexp.reduce(np.array(logs), axis=0) - math.log(len(logs))


def _log_normal_cdf(z: Array) -> Array:
    from scipy.special import log_ndtr

    return np.asarray(log_ndtr(z), dtype=np.float64)


def information(C: Array, x: Array, p: float) -> float:
    """I at the last look for a gap that opens as x^p."""
    return float(_paths(np.zeros(len(x)), C, x**p)[1][-1])


def threshold(peaks: Array, alpha: float) -> tuple[float, bool]:
    """The alarm's threshold on ln E: ln (1 / alpha), or higher where tuned runs themselves went higher.

    With n peaks of runs exchangeable with the watched one, it exceeds the k-th largest with probability k / (n + 1): k is the
    largest with k / (n + 1) <= alpha. With fewer than 1 / alpha - 1 runs the largest peak bounds it.

    Returns:
        the threshold, and whether the runs are enough to carry alpha by themselves.
    """
    least = math.log(1.0 / alpha)
    if not len(peaks):
        return least, False
    k = math.floor(alpha * (len(peaks) + 1))
    raised = float(np.sort(peaks)[-max(k, 1)])
    return max(least, raised), k >= 1


@dataclass(frozen=True, eq=False)
class Posterior:
    """ln final loss and excess as a mixture of normals over a grid of excesses.

    Args:
        weight, excess: of each point of the grid, `(m,)`; excess in ln loss.
        mean, sd: of ln final loss given it.
    """

    weight: Array
    excess: Array
    mean: Array
    sd: float

    def final(self, probability: float) -> float:
        """Quantile of ln final loss."""
        from scipy.special import ndtr

        low, high = float(self.mean.min()) - 9 * self.sd, float(self.mean.max()) + 9 * self.sd
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = float(self.weight @ ndtr((middle - self.mean) / self.sd)) < probability
            low, high = (middle, high) if below else (low, middle)
        return 0.5 * (low + high)

    def excess_quantile(self, probability: float) -> float:
        """Quantile of the excess."""
        order = np.argsort(self.excess, kind="stable")
        total = np.cumsum(self.weight[order])
        return float(self.excess[order][min(int(np.searchsorted(total, probability)), len(total) - 1)])

    @property
    def expected(self) -> float:
        """Mean excess."""
        return float(self.weight @ self.excess)

    def above(self, worth: float) -> float:
        """P(excess > worth)."""
        return float(self.weight[self.excess > worth].sum())


def posterior(e: Array, C: Array, x: Array, law: tuple[float, float], openings: Sequence[float] = OPENINGS) -> Posterior:
    """Posterior of the run's end after the looks in `e`, by the model of this module; none of them gives the prior.

    Args:
        law: mean and standard deviation s of ln final loss of a tuned run.
    """
    mu, s = law
    grid = np.concatenate([[0.0], np.geomspace(2e-4, 1.0, 160)])
    one = np.ones(len(e))
    L = np.linalg.cholesky(C) if len(e) else np.zeros((0, 0))
    solve = (lambda v: np.linalg.solve(L, v)) if len(e) else (lambda v: v)
    we, w1 = solve(e), solve(one)
    gain, variance = s**2 * w1, s**2 - s**4 * float(w1 @ w1)
    # The half-normal's mass of each cell of the grid.
    from scipy.special import ndtr

    ends = np.concatenate([[0.0], np.sqrt(grid[1:-1] * grid[2:]), [np.inf]])
    slab = 2 * np.diff(ndtr(ends / _EXCESS))
    logs, excess, mean = [np.array([math.log(_NONE)])], [np.zeros(1)], [np.array([mu + float(gain @ we)])]
    for p in openings:
        wh = solve(x**p)
        U, info = float(wh @ we), float(wh @ wh)
        b = grid[1:]
        logs.append(np.log((1 - _NONE) / len(openings) * slab + 1e-300) + b * U - 0.5 * b**2 * info)
        excess.append(b)
        mean.append(mu + b + float(gain @ we) - b * float(gain @ wh))
    log = np.concatenate(logs)
    weight = np.exp(log - log.max())
    return Posterior(weight / weight.sum(), np.concatenate(excess), np.concatenate(mean), math.sqrt(max(variance, 1e-12)))
