"""The stability cliff: where runs begin to diverge, how far the best setting stays below it, and whether that margin closes.

Runs that diverged shape no bowl, but they say where the cliff stands. With z a setting's coordinates (`axis.py`) and s its ln
scale less that of the middle of the data, a run fails with probability

    P = Phi(eta),   eta = a + b'(z - middle) + c's

A run fails where it diverged, stayed at chance, or ended more than 30 % above its scale's best loss, less what the other
hyperparameters' distance from their best costs by the bowl; one that fails on the near side of its scale's best (a rate too low
to leave chance) says nothing of a cliff and is left out. Along one hyperparameter u, with the others at their best z*(s),

    u_max(s)  = where eta = 0: half the runs fail         width = 1 / |b_u|, the normal's standard deviation across the cliff
    margin(s) = u_max(s) - u*(s), in nats, positive while the best setting is safe; its slope in ln s is m - p, where m is the
                cliff's exponent and p that of the best

Priors: a ~ N(0, 20^2), each b and c ~ N(0, 4^2), per nat. They matter where few runs lie on the cliff: the likelihood alone makes
it too sharp, and where one plane parts all failures from all others (separable data) it has no maximum at all. In simulated
studies 4 gives 90 % intervals of the margin and its slope that cover 89 to 99 %, and 10 one slope that 75 % cover. In separable
data the posterior of u_max fills the gap between the last run that finished and the first that failed. The mode is by Newton's
method, exact since the log posterior is concave; intervals are from draws of a Student's t about it, weighted by the posterior
(importance resampling), because in a gap the posterior is no normal. Draws of the best settings' law are taken as independent of
them: bowls and cliff are told by different runs. The cliff is that of the law: no scatter between scales is added to either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .axis import axis_of
from .errors import InputError
from .estimate import Estimate, number
from .lookahead import Kept, keep
from .response import Response, skewed
from .trials import Trials, place

__all__ = ["FAILED", "Cliff", "Meeting", "cliff"]

Array: TypeAlias = NDArray[np.float64]

# ln loss above the scale's best beyond which a run has failed.
FAILED = math.log(1.3)
_INTERCEPT_SD, _SLOPE_SD = 20.0, 4.0
_PROPOSED, _DRAWS, _TAIL = 12000, 2000, 5.0
# How far ahead a meeting is looked for.
_FURTHEST = 1e6


@dataclass(frozen=True, eq=False)
class Meeting:
    """Where a setting meets the cliff, as the first scale column grows.

    Args:
        scale: the first scale column there, an end being infinite where it is not met within a factor of a million; None where
            even the low end is.
        ratio: the same as a multiple of the start.
        probability: share of the draws in which it is met within that factor.
        message: the answer as a sentence.
    """

    scale: Estimate | None
    ratio: Estimate | None
    probability: float
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; what is infinite is None."""
        return {
            "scale": None if self.scale is None else self.scale.to_dict(),
            "ratio": None if self.ratio is None else self.ratio.to_dict(),
            "probability": number(self.probability),
            "message": self.message,
        }


@dataclass(frozen=True, eq=False)
class Cliff:
    """The cliff along one hyperparameter, the others at their best.

    Args:
        response: the bowls and the law of the best.
        hyper: the hyperparameter.
        level: of the intervals.
        runs, failed: how many runs it was told by, and how many of them failed.
        theta, covariance: mode and curvature of a, b, c, `(1 + hyper + scales,)`.
        side: 1 where large coordinates fail, -1 where small ones do.
        separable: one plane parts all failures from all others, so that the width is the priors' word.
        bad: scales and coordinates of what failed, `(.., scales)` and `(.., hyper)`, for drawing.
        middle: coordinates from which z is counted, `(hyper,)`.
    """

    response: Response = field(repr=False)
    hyper: str
    level: float
    runs: int
    failed: int
    theta: Array
    covariance: Array
    side: int
    separable: bool
    bad: tuple[Array, Array] = field(repr=False)
    middle: Array = field(repr=False)
    _draws: Array = field(repr=False)

    @property
    def width(self) -> Estimate:
        """Standard deviation across the cliff, in nats: from 16 % failures to one half."""
        slope = self.side * self._draws[:, 1 + self._place]
        with np.errstate(divide="ignore"):
            return _estimate(np.where(slope > 0, 1 / slope, np.inf), self.level)

    def edge(self, point: Mapping[str, float]) -> Estimate:
        """The setting at which half the runs of a scale fail, the others at their best; `stderr` in nats of its coordinate.

        An end is infinite (or 0, or whatever ends the axis) where the draws do not tell failure from this hyperparameter.
        """
        return self._setting(self._edges(self._at(point))[:, 0])

    def margin(self, point: Mapping[str, float]) -> Estimate:
        """Nats between the law's best setting and the cliff at a scale; below 0 the best lies beyond it."""
        return _estimate(self._margins(self._at(point))[:, 0], self.level)

    def slope(self, column: str | None = None) -> Estimate:
        """Change of the margin per nat of a scale column (default the first), at the middle of the data."""
        step = np.zeros((2, len(self.response.over)))
        step[:, self.response.over.index(column or self.response.over[0])] = (-0.5, 0.5)
        with np.errstate(invalid="ignore"):
            margins = self._margins(step)
            found = margins[:, 1] - margins[:, 0]
        return _estimate(found[np.isfinite(found)], self.level)

    def risk(self, point: Mapping[str, float], settings: Mapping[str, float] | None = None) -> float:
        """Probability that a run fails at a scale; hyperparameters that are not named are at their best.

        Raises:
            InputError: a hyperparameter that was not tuned.
        """
        from scipy.special import ndtr

        s = self._at(point)
        z = self._best(s)[:, 0]
        for name, value in (settings or {}).items():
            if name not in self.response.hyper:
                raise InputError(f"{name} was not tuned in these runs", "settings", f"Tuned are {', '.join(self.response.hyper)}")
            z[:, self.response.hyper.index(name)] = float(axis_of(name).coordinate(np.array(value)))
        return float(np.mean(ndtr(np.einsum("dk,dk->d", self._draws, self._features(z, np.repeat(s, len(z), axis=0))))))

    def meets(
        self,
        kept: Kept | Mapping[str, float] | Sequence[str] | None = None,
        start: Mapping[str, float] | None = None,
    ) -> Meeting:
        """Where a kept setting meets the cliff as the first scale column grows; without one, where even the best meets it.

        Args:
            kept: the settings kept, or names of those whose best at the start is kept (as in `lookahead.keep`).
            start: the scale from which it grows; default the largest of the data in the first scale column.

        Raises:
            InputError: a kept setting that does not name the cliff's hyperparameter, or was not tuned.
        """
        if kept is not None and not isinstance(kept, Kept):
            kept = keep(self.response, kept, start, level=self.level)
        if kept is not None and self.hyper not in kept.settings:
            raise InputError(f"no {self.hyper} is kept", "settings", f"Name it, for example {self.hyper}=..")
        column = self.response.over[0]
        from_ = kept.start if kept is not None else self._start(start)
        far = np.log(np.geomspace(1.0, _FURTHEST, 200))
        s = np.repeat(self._at(from_), len(far), axis=0)
        s[:, 0] += far
        settings = {} if kept is None else kept.settings
        over = self._margins(s, settings) <= 0
        met = over.any(axis=1)
        ratio = np.where(met, np.exp(far[np.argmax(over, axis=1)]), np.inf)
        what = "The best setting" if kept is None else ", ".join(f"{name} {value:.3g}" for name, value in settings.items())
        return _meeting(ratio, from_[column], column, what, self.level)

    def band(self, points: Sequence[Mapping[str, float]]) -> tuple[Array, Array, Array]:
        """Value, low and high of `edge` at each point, for drawing."""
        edges = self._edges(np.concatenate([self._at(point) for point in points]))
        found = [self._setting(edges[:, k]) for k in range(len(points))]
        return tuple(np.array([getattr(each, name) for each in found]) for name in ("value", "low", "high"))  # pyright: ignore[reportReturnType]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: edge and margin at the smallest and the largest scale, the slopes and the meetings."""
        ends = [self._start(None)] if len(self.response.bowls) == 1 else [dict(self.response.bowls[0].point), self._start(None)]
        return {
            "hyperparameter": self.hyper,
            "runs": self.runs,
            "failed": self.failed,
            "separable": self.separable,
            "width": self.width.to_dict(),
            "at": [{**at, "edge": self.edge(at).to_dict(), "margin": self.margin(at).to_dict()} for at in ends],
            "slope": {column: self.slope(column).to_dict() for column in self.response.over},
            "best_meets": self.meets().to_dict(),
            "kept_meets": self.meets((self.hyper,)).to_dict(),
            "level": self.level,
        }

    @property
    def _place(self) -> int:
        return self.response.hyper.index(self.hyper)

    def _start(self, start: Mapping[str, float] | None) -> dict[str, float]:
        over = self.response.over
        return place(over, start or max((bowl.point for bowl in self.response.bowls), key=lambda each: each[over[0]]))

    def _at(self, point: Mapping[str, float]) -> Array:
        """s of one point, `(1, scales)`."""
        return self.response.trend.place(place(self.response.over, point))[None]

    def _best(self, s: Array) -> Array:
        """Draws of the law's best settings, `(draws, points, hyper)`: the same draws at every call."""
        return self.response.trend.draw(_DRAWS, np.random.default_rng(0), tau=False)(s)

    def _features(self, z: Array, s: Array) -> Array:
        return np.concatenate([np.ones((*z.shape[:-1], 1)), z - self.middle, s], axis=-1)

    def _edges(self, s: Array, z: Array | None = None) -> Array:
        """Draws of u_max, `(draws, points)`; infinite on the cliff's side where a draw has no cliff along this hyperparameter."""
        j = self._place
        z = (self._best(s) if z is None else z).copy()
        z[..., j] = self.middle[j]
        rest = np.einsum("dk,dpk->dp", self._draws, self._features(z, np.broadcast_to(s, (*z.shape[:2], s.shape[1]))))
        slope = self._draws[:, 1 + j][:, None]
        with np.errstate(divide="ignore"):
            found = self.middle[j] - rest / np.where(slope == 0, np.nan, slope)
        return np.where(self.side * slope > 0, found, self.side * np.inf)

    def _margins(self, s: Array, kept: Mapping[str, float] | None = None) -> Array:
        """Draws of the margin of the best, or of kept settings, `(draws, points)`."""
        z = self._best(s)
        for name, value in (kept or {}).items():
            z[..., self.response.hyper.index(name)] = float(axis_of(name).coordinate(np.array(value)))
        return self.side * (self._edges(s, z) - z[..., self._place])

    def _setting(self, draws: Array) -> Estimate:
        found = _estimate(draws, self.level)
        axis = axis_of(self.hyper)
        return Estimate(axis.setting(found.value), *axis.between(found.low, found.high), self.level, found.stderr)


def cliff(response: Response, hyper: str | None = None, level: float = 0.9, *, trials: Trials | None = None) -> Cliff | None:
    """Estimate the cliff from the runs that failed.

    Args:
        response: the surface, whose cells keep the settings that diverged.
        hyper: along which hyperparameter; default the learning rate, or the first where none was tuned.
        level: of the intervals.
        trials: the table behind the response; with it, scales at which no run finished take part too.

    Returns:
        None where no run failed on the far side of its scale's best: the cliff lies beyond every setting tried.

    Raises:
        InputError: a hyperparameter that was not tuned.
    """
    names = response.hyper
    hyper = hyper or ("learning_rate" if "learning_rate" in names else names[0])
    if hyper not in names:
        raise InputError(f"{hyper} was not tuned in these runs", "hyper", f"Tuned are {', '.join(names)}")
    j = names.index(hyper)
    s, z, fail, count, best = _runs(response, trials, j)
    away = z[:, j] - best[:, j]
    side = -1 if hyper != "learning_rate" and np.sum(np.sign(away[fail]) * count[fail]) < 0 else 1
    used = ~fail | (side * away > 0)
    s, z, fail, count = s[used], z[used], fail[used], count[used]
    if not fail.any():
        return None
    middle = np.average(z, axis=0, weights=count)
    X = np.concatenate([np.ones((len(z), 1)), z - middle, s], axis=1)
    sign = np.where(fail, 1.0, -1.0)
    precision = np.array([_INTERCEPT_SD**-2.0, *[_SLOPE_SD**-2.0] * (X.shape[1] - 1)])
    theta, covariance = _mode(X * sign[:, None], count, precision)
    draws = _draw(X * sign[:, None], count, precision, theta, covariance)
    separable = bool(np.all((X @ theta) * sign > 0))
    bad = (np.exp(s[fail] + response.trend.middle), z[fail])
    return Cliff(
        response, hyper, level, int(count.sum()), int(count[fail].sum()), theta, covariance, side, separable, bad, middle, draws
    )


def _runs(response: Response, trials: Trials | None, j: int) -> tuple[Array, Array, NDArray[np.bool_], Array, Array]:
    """Every setting: s, coordinates, whether it failed, how many runs, and its scale's best coordinates."""
    parts: list[tuple[Array, Array, NDArray[np.bool_], Array, Array]] = []
    for cell, bowl in zip(response.cells, response.bowls, strict=True):
        s = response.trend.place(cell.point)
        z = np.concatenate([cell.z, cell.bad])
        others = np.where(np.arange(len(response.hyper)) == j, 0.0, cell.z - bowl.pooled)
        excess = cell.y - bowl.log_loss - skewed(bowl.hessian, response.skew, others)
        fail = np.concatenate([excess > FAILED, np.ones(len(cell.bad), bool)])
        count = np.concatenate([cell.count, np.ones(len(cell.bad))])
        parts.append((np.repeat(s[None], len(z), axis=0), z, fail, count, np.repeat(bowl.pooled[None], len(z), axis=0)))
    if trials is not None:
        parts += _lost(response, trials)
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))  # pyright: ignore[reportReturnType]


def _lost(response: Response, trials: Trials) -> list[tuple[Array, Array, NDArray[np.bool_], Array, Array]]:
    """The scales of which every run diverged: no bowl, and no cell of the response, tells of them."""
    lost = trials.diverged
    if not len(lost):
        return []
    known = {tuple(np.round(response.trend.place(cell.point), 9)) for cell in response.cells}
    parts: list[tuple[Array, Array, NDArray[np.bool_], Array, Array]] = []
    for point, rows in lost.groups(response.over):
        sizes = dict(zip(response.over, point, strict=True))
        if not all(math.isfinite(each) and each > 0 for each in sizes.values()):
            continue
        s = response.trend.place(sizes)
        z = np.stack([axis_of(name).coordinate(rows.numbers(name)) for name in response.hyper], axis=1)
        z = z[np.all(np.isfinite(z), axis=1)]
        if tuple(np.round(s, 9)) not in known and len(z):
            best = np.repeat(response.trend.best(sizes)[None], len(z), axis=0)
            parts.append((np.repeat(s[None], len(z), axis=0), z, np.ones(len(z), bool), np.ones(len(z)), best))
    return parts


def _log_posterior(signed: Array, count: Array, precision: Array, theta: Array) -> Array:
    """Log posterior, up to a constant, of each row of theta, `(.., unknowns)` -> `(..)`."""
    from scipy.special import log_ndtr

    return log_ndtr(theta @ signed.T) @ count - 0.5 * (theta**2 @ precision)


def _mode(signed: Array, count: Array, precision: Array) -> tuple[Array, Array]:
    """Newton's method on the concave log posterior: mode, and inverse of the negative Hessian there."""
    from scipy.special import log_ndtr

    theta, covariance = np.zeros(signed.shape[1]), np.diag(1 / precision)
    value = float(_log_posterior(signed, count, precision, theta))
    for _ in range(100):
        eta = signed @ theta
        # The inverse Mills ratio phi / Phi, from logarithms so that the tail holds.
        ratio = np.exp(-0.5 * eta**2 - 0.5 * math.log(2 * math.pi) - log_ndtr(eta))
        gradient = signed.T @ (count * ratio) - precision * theta
        covariance = np.linalg.inv((signed * (count * ratio * (ratio + eta))[:, None]).T @ signed + np.diag(precision))
        step = covariance @ gradient
        if float(gradient @ step) < 1e-12:
            break
        after = float(_log_posterior(signed, count, precision, theta + step))
        while after < value and float(np.abs(step).max()) > 1e-12:
            step = 0.5 * step
            after = float(_log_posterior(signed, count, precision, theta + step))
        theta, value = theta + step, max(value, after)
    return theta, 0.5 * (covariance + covariance.T)


def _draw(signed: Array, count: Array, precision: Array, theta: Array, covariance: Array) -> Array:
    """Draws of the posterior: a Student's t about the mode, resampled evenly by weight. Deterministic."""
    random = np.random.default_rng(1)
    k = len(theta)
    # Runs that no draw brings near the cliff add nothing; many runs make the posterior a normal, which few proposals cover.
    near = signed @ theta - 8 * np.sqrt(np.sum((signed @ covariance) * signed, axis=1)) < 7
    signed, count = signed[near], count[near]
    proposals = int(np.clip(2e6 / max(len(signed), 1), 2 * _DRAWS, _PROPOSED))
    normal = random.standard_normal((proposals, k))
    stretch = np.sqrt(_TAIL / random.chisquare(_TAIL, proposals))
    values, vectors = np.linalg.eigh(covariance)
    # Wider than the mode's curvature says, because a gap's posterior is flatter than a normal.
    scaled = 1.2 * stretch[:, None] * normal
    proposed = theta + scaled @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    square = np.sum(scaled**2, axis=1) / 1.44
    log_weight = _log_posterior(signed, count, precision, proposed) + 0.5 * (_TAIL + k) * np.log1p(square / _TAIL)
    weight = np.exp(log_weight - log_weight.max())
    places = np.searchsorted(np.cumsum(weight) / weight.sum(), (np.arange(_DRAWS) + 0.5) / _DRAWS)
    # Shuffled, because the law's draws that they are paired with are no order's.
    return random.permutation(proposed[np.minimum(places, proposals - 1)])


def _meeting(ratio: Array, start: float, column: str, what: str, level: float) -> Meeting:
    chance = float(np.mean(np.isfinite(ratio)))
    found = _estimate(ratio, level)
    if math.isinf(found.low):
        text = (
            f"{what} stays below the cliff from {column} {start:g} up to {_FURTHEST:g} times that, in {1 - chance:.0%} of draws."
        )
        return Meeting(None, None, chance, text)
    scale = Estimate(found.value * start, found.low * start, found.high * start, level)
    if found.value <= 1:
        text = f"{what} lies at or beyond the cliff already at {column} {start:g}."
    elif math.isinf(found.value):
        text = f"{what} may meet the cliff from {column} {scale.low:.3g} on; in {1 - chance:.0%} of draws it never does."
    else:
        high = f"to {scale.high:.3g}" if math.isfinite(scale.high) else "or beyond any size"
        text = f"{what} meets the cliff near {column} {scale.value:.3g} ({level:.0%}: {scale.low:.3g} {high})."
    return Meeting(scale, found, chance, text)


def _estimate(draws: Array, level: float) -> Estimate:
    """Median and interval by order statistics, so that infinities are values like others."""
    ordered, ends = np.sort(draws), (0.5 - level / 2, 0.5, 0.5 + level / 2)
    low, value, high = (float(ordered[min(int(p * len(ordered)), len(ordered) - 1)]) for p in ends)
    return Estimate(value, low, high, level, float(draws.std()) if np.all(np.isfinite(draws)) else math.inf)
