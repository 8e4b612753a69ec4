"""The solver behind the response: one surface for all scales and hyperparameters, by iteratively re-centred least squares.

At the present centres c the model is linear. With d = z - c_scale, X = [1, s, s^2 / 2, levels], slope = H (c - X B - eta),

    ln loss = mu_scale + slope' d + 1/2 d' H d + sum_ij k_ij d_i^2 d_j + noise

in which mu, eta, and small departures of H and k belong to a scale, and B, H, its trend in s, and k to all. Every row is a linear
map of the features [1, d, products, cubes], so one weighted Gram matrix of features per scale holds all that the data say; each
scale's own unknowns are then eliminated (a Schur complement), and what is left is a small system for the shared ones. Arrays
carry a leading axis of replicates: a bootstrap solves many tables at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._pieces import diagonal, mode, positive, spans

__all__ = ["Priors", "State", "Surface", "Table"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Priors:
    """Constants of the estimator, chosen on simulated worlds (benchmarks/calibration), not on published data.

    Args:
        window, widest: see `weights`, in ln loss; window is for each of the 1 + m unknowns of a scale.
        cubic: allow the bowl to be skewed. trend: let H change with scale.
        skew, skew_between: standard deviations, in units of H: the skew of Step Law's bowls is about 0.1 H.
        curvature_between: scale of the prior x exp(-x / scale) on the scatter of H between scales, in units of H.
        learn: learn that scatter; else it is the scale.
        growth: standard deviation of the trend of H, in units of H per nat of scale.
        intercept, exponent, bend: standard deviations of B, in nats, per nat of parameters and per nat squared; bend 0 is a
            straight law. `_exponents.py` says of which exponents more is known.
        straight: probability of the straight law before the runs: see `trend`.
        level: standard deviation of what a factor's level moves the best setting, in nats.
        tau: scale of the prior tau exp(-tau / scale) on the scatter between scales.
        huber: residuals beyond so many standard deviations weigh less. floor: least curvature. rounds: most iterations.
    """

    window: float = 0.02
    widest: float = 0.15
    cubic: bool = True
    trend: bool = True
    skew: float = 0.15
    curvature_between: float = 0.4
    learn: bool = True
    skew_between: float = 0.05
    growth: float = 0.3
    intercept: float = 3.0
    exponent: float = 0.5
    bend: float = 0.05
    straight: float = 0.25
    level: float = 1.0
    tau: float = 0.1
    huber: float = 2.5
    floor: float = 0.003
    rounds: int = 30


@dataclass(frozen=True, eq=False)
class Table:
    """Settings by scale, padded to one length: R replicates, C scales, n settings, m hyperparameters, S scale columns.

    Args:
        z `(R, C, n, m)`, y `(R, C, n)`: settings and mean ln loss.
        count `(R, C, n)`: runs behind each mean, 0 where padded.
        own `(R, C)`: variance of one run's own seed noise.
        s `(R, C, S)`: ln scale, centred.
        known, doubt `(m, S)`: mean and standard deviation of the prior on the exponents: see `_exponents.py`.
        level `(R, C, K)`: 1 where the scale's runs are at a factor's level, which may move the best setting; K is often 0.
    """

    z: Array
    y: Array
    count: Array
    own: Array
    s: Array
    level: Array
    known: Array
    doubt: Array


@dataclass(eq=False)
class State:
    """Where the iteration stands.

    Args:
        centre `(R, C, m)`, mu `(R, C)`, H `(R, C, m, m)`: lowest point, its ln loss and curvature, by scale.
        shared `(R, m, m)`: curvature at the middle of the scales. tau `(R, m)`. noise `(R,)`. robust `(R, C, n)`.
        between `(R,)`: scatter of curvature between scales, in units of H.
    """

    centre: Array
    mu: Array
    H: Array
    shared: Array
    tau: Array
    noise: Array
    robust: Array
    between: Array


class Surface:
    """Made, run once and read: the solution stands in the attributes below.

    `state`; `theta` `(R, t)` and `cov` `(R, t, t)`: shared unknowns, B first; `local` `(R, C, l)`: mu, eta, departures;
    `blocks`: what `own_best` needs.
    """

    def __init__(self, table: Table, priors: Priors, state: State | None = None) -> None:
        self.t, self.p = table, priors
        self.m, self.S = table.z.shape[-1], table.s.shape[-1]
        self.pairs = [(i, j) for i in range(self.m) for j in range(i, self.m)]
        self.cubes = [(i, j) for i in range(self.m) for j in range(self.m)] if priors.cubic else []
        bends = [0.5 * table.s**2] if priors.bend else []
        self.X = np.concatenate([np.ones((*table.s.shape[:2], 1)), table.s, *bends, table.level], axis=2)
        # The trend of curvature is only told by three scales or more, and by columns that vary.
        self.steep = table.s if priors.trend and table.s.shape[1] > 2 else table.s[:, :, :0]
        self.valid = table.count > 0
        self.span = np.maximum(spans(table.z, self.valid), 1.0)
        self.state = state or self._start()
        self.origin = self.state.centre.mean(axis=1)
        self.theta = self.cov = self.local = np.zeros(0)

    def _start(self) -> State:
        """Centres at the mean of each scale's three lowest settings; curvature from excess against squared distance, robustly."""
        t, R, C = self.t, *self.t.y.shape[:2]
        y = np.where(self.valid, t.y, np.inf)
        order = np.argsort(y, axis=2)[:, :, :3]
        used = np.take_along_axis(self.valid, order, axis=2)[..., None]
        lowest = np.take_along_axis(t.z, order[..., None], axis=2)
        centre = np.sum(lowest * used, axis=2) / np.maximum(used.sum(axis=2), 1)
        mu = y.min(axis=2)
        d = np.where(self.valid[..., None], t.z - centre[:, :, None], 0.0)
        far = np.sum(d**2, axis=3)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where((far > 0) & self.valid, 2 * (t.y - mu[..., None]) / far, np.nan)
        shared = np.zeros((R, self.m, self.m))
        for r in range(R):
            for j in range(self.m):
                mine = ratio[r][np.abs(d[r, :, :, j]) > 0]
                mine = mine[np.isfinite(mine)]
                shared[r, j, j] = max(float(np.median(mine)) if len(mine) else 0.0, self.p.floor)
        H = np.broadcast_to(shared[:, None], (R, C, self.m, self.m)).copy()
        tau, noise = np.full((R, self.m), self.p.tau), np.full(R, 1e-6)
        return State(centre, mu, H, shared, tau, noise, np.ones_like(t.y), np.full(R, self.p.curvature_between))

    def run(self) -> None:
        """Solve and re-centre until the centres stay."""
        for _ in range(self.p.rounds):
            self.solve()
            if self._move() < 1e-4:
                break
        self.solve()

    def weights(self) -> Array:
        """Soft weight of each setting by its excess over its scale's minimum, 1 / (1 + (excess / window)^2)^2.

        A scale has 1 + m unknowns of its own, so the window grows with m: 2 % of the loss for each, or where the grid is coarser
        the excess of the 2 (1 + m)th best setting; at most `widest`, beyond which runs have failed and have no place in a bowl.
        """
        excess = np.maximum(self.t.y - self.state.mu[..., None], 0.0)
        ordered = np.sort(np.where(self.valid, excess, np.inf), axis=2)
        place = np.minimum(2 * (1 + self.m), np.maximum(self.valid.sum(axis=2), 1)) - 1
        least = self.p.window * (1 + self.m)
        width = np.clip(np.take_along_axis(ordered, place[..., None], axis=2), least, max(self.p.widest, least))
        return np.where(self.valid, 1.0 / (1.0 + (excess / width) ** 2) ** 2, 0.0)

    def features(self) -> Array:
        """[1, d, products, cubes] of every setting, `(R, C, n, k)`."""
        return self.columns(self.t.z - self.state.centre[:, :, None])

    def columns(self, d: Array) -> Array:
        """[1, d, products, cubes] of settings `d` from their scale's centre, `(.., m)` -> `(.., k)`."""
        columns = [np.ones_like(d[..., 0]), *np.moveaxis(d, -1, 0)]
        columns += [d[..., i] * d[..., j] * (0.5 if i == j else 1.0) for i, j in self.pairs]
        columns += [d[..., i] ** 2 * d[..., j] for i, j in self.cubes]
        return np.stack(columns, axis=-1)

    def _maps(self) -> tuple[Array, Array, Array]:
        """A scale's coefficients of the features: offset `(R, C, k)`, map of its own `(.., k, l)` and of shared `(.., k, t)`."""
        L, M = self.maps(self.state.H, self.X, self.steep)
        offset = np.zeros(L.shape[:3])
        offset[..., 1 : 1 + self.m] = np.einsum("rcij,rcj->rci", self.state.H, self.state.centre - self.origin[:, None])
        return offset, L, M

    def maps(self, H: Array, X: Array, steep: Array) -> tuple[Array, Array]:
        """Maps of a scale's own unknowns `(R, C, k, l)` and of the shared ones `(R, C, k, t)` to the features' coefficients.

        Args:
            H `(R, C, m, m)`: curvature. X `(R, C, q)`: rows of the law. steep `(R, C, T)`: rows of the trend of curvature.
        """
        R, C, m, P, Q = *H.shape[:2], self.m, len(self.pairs), len(self.cubes)
        q, T = X.shape[2], steep.shape[2]
        k, at = 1 + m + P + Q, 1 + m
        own_cubes = [n for n, (i, j) in enumerate(self.cubes) if i == j]
        L = np.zeros((R, C, k, 1 + m + P + len(own_cubes)))
        L[..., 0, 0] = 1.0
        L[..., 1:at, 1:at] = -H
        L[..., range(at, at + P), range(at, at + P)] = 1.0
        L[..., [at + P + n for n in own_cubes], range(at + P, L.shape[3])] = 1.0
        M = np.zeros((R, C, k, m * q + P * (1 + T) + Q))
        for j in range(m):
            M[..., 1:at, j * q : (j + 1) * q] = -H[..., :, j, None] * X[:, :, None, :]
        M[..., range(at, at + P), range(m * q, m * q + P)] = 1.0
        for t in range(T):
            first = m * q + P * (1 + t)
            M[..., range(at, at + P), range(first, first + P)] = steep[..., t, None]
        M[..., range(at + P, k), range(m * q + P * (1 + T), M.shape[3])] = 1.0
        return L, M

    def _precisions(self) -> tuple[Array, Array]:
        """Prior precision of a scale's own unknowns but eta `(R, l)`, as if `between` were 1, and of the shared ones `(R, t)`."""
        R, m, p = self.t.y.shape[0], self.m, self.p
        unit = np.sqrt(np.diagonal(self.state.shared, axis1=1, axis2=2))
        quad = np.stack([unit[:, i] * unit[:, j] for i, j in self.pairs], axis=1)
        cube = np.stack([unit[:, i] * unit[:, j] for i, j in self.cubes], axis=1) if self.cubes else np.zeros((R, 0))
        own = [n for n, (i, j) in enumerate(self.cubes) if i == j]
        local = [np.zeros((R, 1 + m)), quad**-2.0, (p.skew_between * cube[:, own]) ** -2.0]
        rest = [*([p.bend**-2.0] * self.S if p.bend else []), *[p.level**-2.0] * self.t.level.shape[2]]
        law = np.concatenate([[p.intercept**-2.0, *doubt, *rest] for doubt in self.t.doubt**-2.0])
        trend = [(p.growth * quad) ** -2.0] * self.steep.shape[2]
        shared = [np.tile(law, (R, 1)), (10.0 * quad) ** -2.0, *trend, (p.skew * cube) ** -2.0]
        return np.concatenate(local, axis=1), np.concatenate(shared, axis=1)

    def _expected(self) -> Array:
        """Prior mean of the shared unknowns, `(t,)`: zero but for exponents that are known beforehand."""
        q = self.X.shape[2]
        T, P = self.steep.shape[2], len(self.pairs)
        mean = np.zeros(self.m * q + P * (1 + T) + len(self.cubes))
        for j in range(self.m):
            mean[j * q + 1 : j * q + 1 + self.S] = self.t.known[j]
        return mean

    def solve(self) -> None:
        """One weighted solve at the present centres; updates the noise, the robust weights and tau."""
        s, t = self.state, self.t
        F = self.features()
        soft = self.weights() * s.robust
        own = np.where(self.valid, t.own[..., None] / np.maximum(t.count, 1.0), 0.0)
        w = soft / (own + s.noise[:, None, None])
        WF = F * w[..., None]
        G = np.swapaxes(WF, 2, 3) @ F
        b = np.einsum("rcnk,rcn->rck", WF, t.y)
        offset, L, M = self._maps()
        b = b - np.einsum("rckl,rcl->rck", G, offset)
        local, shared = self._precisions()
        LG = np.swapaxes(L, 2, 3) @ G
        self.blocks = (LG @ L, LG @ M, np.einsum("rckl,rck->rcl", L, b), local)
        self.whole = (
            np.sum(np.swapaxes(M, 2, 3) @ G @ M, axis=1) + diagonal(shared),
            np.einsum("rckl,rck->rl", M, b) + shared * self._expected(),
        )
        for _ in range(3):
            self._eliminate()
            self._scatter()
        coefficients = offset + np.einsum("rckl,rcl->rck", L, self.local) + np.einsum("rckl,rl->rck", M, self.theta)
        residual = np.where(self.valid, t.y - np.einsum("rcnk,rck->rcn", F, coefficients), 0.0)
        # Covariance of a scale's coefficients: its own part given the shared unknowns, and theirs.
        through = M - L @ self.gain
        spread = L @ self.inner @ np.swapaxes(L, 2, 3) + through @ self.cov[:, None] @ np.swapaxes(through, 2, 3)
        lever = w * np.sum((F @ spread) * F, axis=3)
        free = np.maximum(np.sum(soft * (1 - lever), axis=(1, 2)), 1.0)
        total = np.sum(soft * residual**2, axis=(1, 2)) / free
        expected = np.sum(soft * (1 - lever) * own, axis=(1, 2)) / free
        # Noise beyond the seeds: lack of fit, or all of the noise where there are no replicates.
        s.noise = np.maximum(np.maximum(total - expected, 1e-8), 0.01 * t.own.mean(axis=1))
        scaled = np.abs(residual) * np.sqrt(soft / (own + s.noise[:, None, None]))
        s.robust = np.minimum(1.0, self.p.huber / np.maximum(scaled, 1e-12))
        self._unpack()

    def _own(self) -> Array:
        """Prior precision of a scale's own unknowns but eta, `(R, C, l)`."""
        precision = self.blocks[3].copy()
        precision[:, 1 + self.m : 1 + self.m + len(self.pairs)] *= self.state.between[:, None] ** -2.0
        return np.repeat(precision[:, None], self.t.y.shape[1], axis=1)

    def precision(self) -> Array:
        """Prior precision of a scale's own unknowns, `(R, C, l)`; that of mu is zero."""
        precision = self._own()
        precision[..., 1 : 1 + self.m] += self.state.tau[:, None] ** -2.0
        return precision

    def _eliminate(self) -> None:
        """Solve for the shared unknowns and each scale's own, with the present tau."""
        A, cross, right, _ = self.blocks
        precision = self.precision()
        self.inner = np.linalg.inv(A + diagonal(precision))
        self.gain = self.inner @ cross
        normal = self.whole[0] - np.sum(np.swapaxes(cross, 2, 3) @ self.gain, axis=1)
        self.cov = np.linalg.inv(normal)
        # An arrow's corner is symmetric; rounding is not.
        self.cov = 0.5 * (self.cov + np.swapaxes(self.cov, 1, 2))
        reduced = self.whole[1] - np.einsum("rcla,rcl->ra", self.gain, right)
        self.theta = np.einsum("rab,rb->ra", self.cov, reduced)
        self.local = np.einsum("rclj,rcj->rcl", self.inner, right) - np.einsum("rcla,ra->rcl", self.gain, self.theta)

    def _scatter(self) -> None:
        """One EM step of the scatter between scales: tau, and that of curvature in units of H, common to all its entries.

        The skew's stays the prior's: it also takes up what a cubic leaves of a bowl, from which it would be learned wrong.
        """
        at = slice(1, 1 + self.m + len(self.pairs))
        own, gain = self.local[..., at], self.gain[:, :, at]
        variance = np.diagonal(self.inner[..., at, at], axis1=2, axis2=3) + np.sum((gain @ self.cov[:, None]) * gain, axis=3)
        moment, C = np.sum(own**2 + variance, axis=1), own.shape[1]
        curvature = np.sum(moment[:, self.m :] * self.blocks[3][:, 1 + self.m : at.stop], axis=1)
        found = mode(
            np.column_stack([moment[:, : self.m], curvature]),
            C * np.array([*[1] * self.m, len(self.pairs)]),
            np.array([*[self.p.tau] * self.m, self.p.curvature_between]),
        )
        self.state.tau = found[:, : self.m]
        if self.p.learn:
            self.state.between = found[:, self.m]

    def _unpack(self) -> None:
        m, P, q, T, s = self.m, len(self.pairs), self.X.shape[2], self.steep.shape[2], self.state
        self.B = self.theta[:, : m * q].reshape(-1, m, q).copy()
        self.B[..., 0] += self.origin
        flat = self.theta[:, m * q : m * q + P]
        trend = self.theta[:, m * q + P : m * q + P * (1 + T)].reshape(len(self.theta), T, P)
        self.skew = self.theta[:, m * q + P * (1 + T) :]
        s.mu = self.local[..., 0]
        own = self.local[..., 1 + m : 1 + m + P]
        s.shared = positive(self._matrix(flat), np.full(len(flat), self.p.floor))
        least = np.maximum(0.2 * np.linalg.eigvalsh(s.shared)[:, 0], self.p.floor)
        each = flat[:, None] + self.steep @ trend + own
        s.H = positive(self._matrix(each), np.repeat(least[:, None], each.shape[1], axis=1))

    def _matrix(self, values: Array) -> Array:
        result = np.zeros((*values.shape[:-1], self.m, self.m))
        for n, (i, j) in enumerate(self.pairs):
            result[..., i, j] = result[..., j, i] = values[..., n]
        return result

    def law(self) -> Array:
        """The law's best setting at each scale, `(R, C, m)`."""
        return np.einsum("rcq,rmq->rcm", self.X, self.B)

    def _move(self) -> float:
        """Centres go to law + eta, at most half a nat at once."""
        step = self.law() + self.local[..., 1 : 1 + self.m] - self.state.centre
        self.state.centre = self.state.centre + np.clip(step, -0.5, 0.5)
        return float(np.max(np.abs(step)))

    def pooled(self) -> Array:
        """Covariance of a scale's own best, leaning on the law, `(R, C, m, m)`."""
        at = slice(1, 1 + self.m)
        q = self.X.shape[2]
        through = -self.gain[:, :, at].copy()
        for j in range(self.m):
            through[..., j, j * q : (j + 1) * q] += self.X
        return self.inner[..., at, at] + through @ self.cov[:, None] @ np.swapaxes(through, 2, 3)

    def mu_variance(self) -> Array:
        """Variance of each scale's lowest ln loss, `(R, C)`."""
        gain = self.gain[:, :, :1]
        return self.inner[..., 0, 0] + (gain @ self.cov[:, None] @ np.swapaxes(gain, 2, 3))[..., 0, 0]

    def own_best(self) -> tuple[Array, Array]:
        """A scale's best setting by its own runs, `(R, C, m)`, and its covariance.

        The law is taken away; the curvature that scales share stays, with its error. What a scale's runs leave open is held to
        within the range of the study.
        """
        A, cross, right, _ = self.blocks
        m, at = self.m, slice(1, 1 + self.m)
        width = m * self.X.shape[2]
        loose = self.span[:, None] ** -2.0
        precision = self._own()
        precision[..., at] += loose
        inner = np.linalg.inv(A + diagonal(precision))
        eta = self.local[..., at]
        rest = right - np.einsum("rcla,ra->rcl", cross, self.theta)
        rest[..., at] += loose * eta
        found = np.einsum("rclj,rcj->rcl", inner, rest)[..., at]
        gain = (inner @ cross[..., width:])[:, :, at]
        covariance = inner[..., at, at] + gain @ self.cov[:, None, width:, width:] @ np.swapaxes(gain, 2, 3)
        return self.law() + found, covariance
