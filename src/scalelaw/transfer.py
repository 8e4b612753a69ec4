"""Transfer: how well a setting tuned at small sizes serves at large ones.

Per hyperparameter, with the law of its best setting z*(s) fitted to the sizes up to a cut:

    fit error E         standard deviation of the sizes' own bests about the straight law, beyond their own errors, in nats
    robustness kappa    d ln H / d ln size: how the loss that one and the same error of the setting costs, 1/2 H error^2, grows
    penalty R(size)     ln loss lost at a size by keeping the best setting of the largest size up to the cut; R(inf) is its limit

Kalra and Barkeshli 2026 (arXiv:2605.21486) name the three: quality of the law's fit, robustness to extrapolation errors,
asymptotic loss penalty. The formulas here are ours, and theirs of R(inf) compares parameterisations.

Transfer is fast where the loss that it costs vanishes faster than what size still gains (Ghosh et al. 2025, arXiv:2512.22768). In
a bowl, with |z*_n - z*_inf| ~ n^-b and L_n - L_inf ~ n^-a, it costs ~ n^-2b, so it is fast where 2b - a > 0: then tuning a small
model and keeping its setting beats tuning the large one, per unit of compute. b is profiled by `settling.py`, a by the saturating
law of the frontier; their confidence distributions are independent draws. The statistic is theirs, the interval ours.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .estimate import Estimate, quantile_t
from .fit import FitStatus, fit
from .frontier import Frontier, frontier
from .lookahead import keep
from .rate_sensitivity import RateSensitivity, learning_rate_sensitivity
from .resample import profile
from .response import Bowl, Edge, Response
from .settling import LEAST, Settling, order, settling
from .trials import Trials, place

__all__ = ["Asymptote", "Metrics", "Speed", "Transfer", "transfer"]

Array: TypeAlias = NDArray[np.float64]

_DRAWS = 4000


class Asymptote(enum.Enum):
    """What becomes of the penalty as size grows."""

    FINITE = "The best setting settles, so the penalty has a limit."
    GROWS = (
        "No sign that the best setting settles: a power law fits it, and on that law the penalty grows without bound; "
        "its value is that of the size asked for."
    )
    STILL = "The best setting does not move by more than its errors: no penalty that size adds can be told from none."
    UNTOLD = "Too few tuned sizes in one scale column to tell whether the best setting settles."


class Speed(enum.Enum):
    """Whether transfer is fast."""

    FAST = "Transfer is fast: what a kept setting costs vanishes faster than what size still gains, so tune small and keep."
    SLOW = (
        "Transfer is not fast: the best setting settles, but what a kept one costs vanishes no faster than what size gains; "
        "follow its law."
    )
    DRIFTS = (
        "Transfer is not fast: the best setting moves on like a power law of size, with no limit to transfer to; follow its law."
    )
    OPEN = "The data leave open whether transfer is fast: the interval of 2b - a contains 0; tune at more sizes."
    STILL = "The best setting does not move by more than its errors: keeping it costs nothing that can be told, and b is open."
    FEW = f"Fewer than {LEAST} sizes tell their own best setting: an exponent and a limit take more; tune at more sizes."
    SEVERAL = "The sizes differ in several scale columns: ask over one, with the others held or tied to it."


@dataclass(frozen=True, eq=False)
class Metrics:
    """How one hyperparameter transfers.

    Args:
        hyper: its name. kept: its best setting at the largest size up to the cut, by their law.
        fit_error: E, in nats.
        miss: at the furthest size beyond the cut, its own best less the law's, in nats; None where no such size was tuned.
        robustness: kappa; NaN with two sizes.
        penalty: R at the size asked for, in ln loss.
        limit: R(inf), in ln loss; None unless FINITE.
        asymptote: what becomes of the penalty.
        settling: b, from all sizes; None where UNTOLD.
        speed: 2b - a; None where UNTOLD.
        verdict: whether transfer is fast.
    """

    hyper: str
    kept: float
    fit_error: Estimate
    miss: Estimate | None
    robustness: Estimate
    penalty: Estimate
    limit: Estimate | None
    asymptote: Asymptote
    settling: Estimate | None
    speed: Estimate | None
    verdict: Speed

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; None where infinite."""
        names = ("fit_error", "miss", "robustness", "penalty", "limit", "settling", "speed")
        found: dict[str, Estimate | None] = {name: getattr(self, name) for name in names}
        words = {"asymptote": self.asymptote, "verdict": self.verdict}
        return {
            "kept": self.kept,
            **{name: None if each is None else each.to_dict() for name, each in found.items()},
            **{name: {"name": each.name, "message": each.value} for name, each in words.items()},
        }


@dataclass(frozen=True, eq=False)
class Transfer:
    """How the tuned hyperparameters transfer across sizes.

    Args:
        over: scale columns. cut: largest value of the first one that the laws were fitted to.
        start: the scale whose best settings are kept. at: the scale where the penalty is told.
        decay: a, from all sizes; None where there are too few, or several scale columns.
        metrics: hyperparameter -> its metrics.
        sensitivity: of the learning rate at each scale, ascending; empty where it was not tuned.
    """

    over: tuple[str, ...]
    cut: float
    start: Mapping[str, float]
    at: Mapping[str, float]
    level: float
    decay: Estimate | None
    metrics: Mapping[str, Metrics]
    sensitivity: tuple[RateSensitivity, ...] = field(repr=False)

    def __getitem__(self, hyper: str) -> Metrics:
        return self.metrics[hyper]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object `transfer` of `scalelaw optimum`."""
        return {
            "over": list(self.over),
            "cut": self.cut,
            "start": dict(self.start),
            "at": dict(self.at),
            "level": self.level,
            "decay": None if self.decay is None else self.decay.to_dict(),
            "metrics": {name: each.to_dict() for name, each in self.metrics.items()},
            "sensitivity": [each.to_dict() for each in self.sensitivity],
        }


def transfer(
    data: Trials | Frontier,
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    cut: float | None = None,
    at: Mapping[str, float] | None = None,
    initial_loss: float | None = None,
    level: float = 0.9,
) -> Transfer:
    """Measure how tuned settings transfer.

    Args:
        data: runs, or their frontier; over, hyper: see `frontier`.
        cut: largest value of the first scale column that the laws are fitted to; default all but the largest.
        at: the scale where the penalty is told; default the largest of the data.
        initial_loss: before training, for `learning_rate_sensitivity`.

    Raises:
        DataError: nothing was tuned, or too few sizes up to the cut for a law.
    """
    edge = data if isinstance(data, Frontier) else frontier(data, over=over, hyper=hyper)
    if edge.response is None:
        raise DataError(
            "no hyperparameter takes three values within a scale, so no transfer can be told",
            edge.source.source,
            "Run at least three settings at three sizes or more",
        )
    full = edge.response
    first = full.over[0]
    sizes = sorted({bowl.point[first] for bowl in full.bowls})
    cut = sizes[-2 if len(sizes) > 1 else -1] if cut is None else cut
    below = _below(edge, cut)
    largest = max((bowl.point for bowl in full.bowls), key=_size)
    at = place(full.over, at or largest)
    start = max((bowl.point for bowl in below.bowls), key=_size)
    decay = _decay(edge, level) if len(full.over) == 1 else None
    metrics = {name: _metrics(full, below, name, (start, at), decay, level) for name in full.hyper}
    rate: tuple[RateSensitivity, ...] = ()
    if "learning_rate" in full.hyper:
        points = [dict(each) for each in dict.fromkeys(tuple(bowl.point.items()) for bowl in full.bowls)]
        rate = tuple(learning_rate_sensitivity(full, each, initial_loss=initial_loss, level=level) for each in points)
    told = None if decay is None else decay[0]
    return Transfer(full.over, float(cut), start, at, level, told, MappingProxyType(metrics), rate)


def _size(point: Mapping[str, float]) -> float:
    return sum(math.log(value) for value in point.values())


def _below(edge: Frontier, cut: float) -> Response:
    """The response of the sizes up to the cut."""
    assert edge.response is not None
    rows = edge.source.where(edge.source.numbers(edge.over[0]) <= cut * (1 + 1e-9))
    below = frontier(rows, over=edge.over, hyper=edge.response.hyper).response if len(rows.finished) else None
    if below is None or len(below.bowls) < 2 + len(edge.over):
        count = 0 if below is None else len(below.bowls)
        raise DataError(
            f"{count} tuned size(s) up to {edge.over[0]} = {cut:g}, too few for a law and its fit error",
            edge.source.source,
            "Raise the cut, or tune at more sizes",
        )
    return below


def _told(response: Response, j: int) -> list[Bowl]:
    """The bowls whose own runs tell a hyperparameter's best setting."""
    return [bowl for bowl in response.bowls if bowl.edge[j] is not Edge.ALONE and bowl.levels == response.level]


def _bests(response: Response, j: int) -> tuple[Array, Array, Array]:
    """ln scale less the middle `(n, scales)`, own best, its standard error `(n,)`."""
    told = _told(response, j)
    s = np.array([response.trend.place(bowl.point) for bowl in told]).reshape(len(told), len(response.over))
    return s, np.array([bowl.best[j] for bowl in told]), np.sqrt([bowl.best_cov[j, j] for bowl in told])


def _metrics(
    full: Response,
    below: Response,
    hyper: str,
    points: tuple[Mapping[str, float], Mapping[str, float]],
    decay: tuple[Estimate, Array] | None,
    level: float,
) -> Metrics:
    start, at = points
    j = full.hyper.index(hyper)
    s, best, se = _bests(full, j)
    curve: Settling | None = None
    if len(full.over) == 1 and len(np.unique(np.round(s[:, 0], 6))) >= LEAST:
        curve = settling(s[:, 0], best, se)
    asymptote = _asymptote(curve, level)
    limit = None
    b = speed = None
    if curve is not None:
        b = curve.estimate(level)
        if asymptote is Asymptote.FINITE:
            limit = _limit(full, j, curve, float(below.trend.best(start)[j]), level)
        if decay is not None:
            draws = np.sort(2 * curve.draw(_DRAWS, np.random.default_rng(0)) - decay[1])
            ends = (order(draws, 0.5 - level / 2), order(draws, 0.5 + level / 2))
            speed = Estimate(2 * curve.value - decay[0].value, *ends, level)
    verdict = Speed.SEVERAL if len(full.over) > 1 else _verdict(asymptote, b, speed)
    kept = keep(below, (hyper,), start, level=level)
    return Metrics(
        hyper,
        kept.settings[hyper],
        _fit_error(below, j, level),
        _miss(full, below, j, level),
        _robustness(below, j, level),
        kept.excess(at),
        limit,
        asymptote,
        b,
        speed,
        verdict,
    )


def _asymptote(curve: Settling | None, level: float) -> Asymptote:
    if curve is None:
        return Asymptote.UNTOLD
    if curve.constant > 1 - level:
        return Asymptote.STILL
    return Asymptote.FINITE if curve.estimate(level).low > 0 else Asymptote.GROWS


def _verdict(asymptote: Asymptote, b: Estimate | None, speed: Estimate | None) -> Speed:
    if b is None or speed is None:
        return Speed.FEW
    if asymptote is Asymptote.STILL:
        return Speed.STILL
    if speed.low > 0:
        return Speed.FAST
    if speed.high < 0:
        return Speed.SLOW if b.low > 0 else Speed.DRIFTS
    return Speed.OPEN


def _fit_error(response: Response, j: int, level: float) -> Estimate:
    """E by moments, and its interval by the generalised Q statistic (Viechtbauer 2007).

    With M the residual maker of the straight law under weights 1 / (tau^2 + se^2), Q = sum of weighted squared residuals has mean
    tr(P (E^2 + se^2)); the interval holds the E at which Q, weighted by that E, is an ordinary chi-square of (n - p) degrees.
    """
    s, best, se = _bests(response, j)
    X = np.column_stack([np.ones(len(best)), s])
    degrees = len(best) - X.shape[1]
    if degrees < 1:
        return Estimate(math.nan, math.nan, math.nan, level)
    P = _projection(X, response.trend.paths[j].tau ** 2 + se**2)
    square = (float(best @ P @ best) - float(np.diag(P) @ se**2)) / float(np.trace(P))
    grid = np.concatenate([[0.0], np.geomspace(1e-4, 10.0, 160)])
    Q = np.array([best @ _projection(X, tau**2 + se**2) @ best for tau in grid])
    chi = np.sort(np.random.default_rng(0).chisquare(degrees, 20_000))
    ends = [float(np.interp(-order(chi, each), -Q, grid)) for each in (0.5 + level / 2, 0.5 - level / 2)]
    value = math.sqrt(max(square, 0.0))
    return Estimate(value, min(ends[0], value), max(ends[1], value), level)


def _projection(X: Array, variance: Array) -> Array:
    """P = W - W X (X'WX)^-1 X'W: z'Pz is the weighted sum of squared residuals."""
    W = np.diag(1 / variance)
    return W - W @ X @ np.linalg.solve(X.T @ W @ X, X.T @ W)


def _miss(full: Response, below: Response, j: int, level: float) -> Estimate | None:
    """Own best less the law's at the furthest size beyond the cut."""
    known = {tuple(bowl.point.items()) for bowl in below.bowls}
    beyond = [bowl for bowl in _told(full, j) if tuple(bowl.point.items()) not in known]
    if not beyond:
        return None
    bowl = max(beyond, key=lambda each: _size(each.point))
    value = float(bowl.best[j] - below.trend.best(bowl.point)[j])
    sd = math.sqrt(bowl.best_cov[j, j] + below.trend.covariance(bowl.point)[j, j])
    half = quantile_t(0.5 + level / 2, below.trend.paths[j].degrees) * sd
    return Estimate(value, value - half, value + half, level, sd)


def _robustness(response: Response, j: int, level: float) -> Estimate:
    """kappa in the first scale column, from the surface's trend of H: dH/ds over H at the middle of the sizes.

    The trend carries the surface's prior, N(0, (0.3 H)^2) per nat.
    """
    surface = response.solver
    P, q = len(surface.pairs), surface.X.shape[2]
    if not surface.steep.shape[2]:
        return Estimate(math.nan, math.nan, math.nan, level)
    flat = surface.m * q + surface.pairs.index((j, j))
    H = max(float(surface.theta[0, flat]), surface.p.floor)
    rise = float(surface.theta[0, flat + P])
    row = np.array([-rise / H**2, 1 / H])
    se = math.sqrt(float(row @ surface.cov[0][np.ix_([flat, flat + P], [flat, flat + P])] @ row))
    half = quantile_t(0.5 + level / 2, response.trend.paths[j].degrees) * se
    return Estimate(rise / H, rise / H - half, rise / H + half, level, se)


def _limit(full: Response, j: int, curve: Settling, kept: float, level: float) -> Estimate:
    """Cost of the kept setting against the value the best settles at, with the curvature of the largest size."""
    random = np.random.default_rng(0)
    b = curve.draw(_DRAWS, random)
    z = curve.limits(b, random)
    largest = max((bowl.point for bowl in full.bowls), key=_size)
    away = np.zeros((_DRAWS, len(full.hyper)))
    away[:, j] = np.where(np.isfinite(z), kept - z, 0.0)
    cost = full.cost(largest, away, full.sharpness([largest], _DRAWS, random)[:, 0])
    cost = np.sort(np.where(np.isfinite(z), cost, np.inf))
    return Estimate(order(cost, 0.5), order(cost, 0.5 - level / 2), order(cost, 0.5 + level / 2), level)


def _decay(edge: Frontier, level: float) -> tuple[Estimate, Array] | None:
    """a with its interval, and draws: from the profile of the saturating law's exponent.

    Where that law ends on a bound, as where no floor shows, the exponent is profiled in the free family of `settling` instead.
    """
    random = np.random.default_rng(1)
    x, loss, se = (edge.trials.numbers(name) for name in (edge.over[0], "loss", "loss_se"))
    if len(np.unique(x)) < LEAST:
        return None
    found = fit("saturating", edge.trials, over=edge.over, outcome="loss")
    if found.status is FitStatus.CONVERGED and found.freedom >= 1:
        value = found.theta["alpha"]
        shape = profile(found, "alpha", level=0.98)
        reach = quantile_t(0.99, found.freedom)
        roots = np.copysign(np.sqrt(shape.rise), shape.values - value) * reach
        keep_ = np.concatenate([[True], np.diff(roots) > 1e-9])
        root = random.standard_t(found.freedom, _DRAWS)
        draws = np.exp(_beyond(root, roots[keep_], np.log(shape.values[keep_])))
    else:
        curve = settling(np.log(x), loss, se, scatter=float(np.median(se)))
        value, draws = curve.value, curve.draw(_DRAWS, random)
    ordered = np.sort(draws)
    return Estimate(value, order(ordered, 0.5 - level / 2), order(ordered, 0.5 + level / 2), level), draws


def _beyond(at: Array, x: Array, y: Array) -> Array:
    """Interpolation, carried on in a straight line beyond the ends."""
    low = y[0] + (at - x[0]) * (y[1] - y[0]) / (x[1] - x[0])
    high = y[-1] + (at - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])
    return np.where(at < x[0], low, np.where(at > x[-1], high, np.interp(at, x, y)))
