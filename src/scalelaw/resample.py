"""How far a fit would move with other data: bootstrap, profile likelihood, and leaving out one scale at a time.

Rows at one point of the scales form a cell: they share whatever that size's recipe got wrong, so they are drawn together. Drawing
single rows would count that shared error as if it averaged out. A resample is a vector of weights or of outcomes, and all of them
are refitted at once by Newton's method from the full fit.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._fitted import Fit
from ._inference import spread, student
from ._newton import Minima, minimise
from ._problem import Problem
from ._search import refit
from .errors import InputError

__all__ = ["Influence", "Profile", "Resample", "Scheme", "bootstrap", "influence", "profile"]

Array: TypeAlias = NDArray[np.float64]

# Draws times rows that are refitted at once: 8 MB of weights. The evaluation cuts its own blocks, so more gains nothing.
_CHUNK_CELLS = 1_000_000


class Scheme(enum.Enum):
    """What is drawn. The value says when it is right."""

    CELL = "Whole cells (points of the scales) are drawn: the default, right when cells are a sample of sizes."
    SEED = "Seeds are drawn within each cell: the sizes are as they are, only the luck of a run varies."
    RESIDUAL = "Residuals are drawn, of cells and within cells, onto the fitted law: sizes as they are, one scatter for all."
    WILD = "Residuals keep their place and change sign and size by cell (Webb): sizes as they are, scatter may differ."


@dataclass(frozen=True, eq=False)
class Resample:
    """The fits of many resamples.

    Args:
        fit: the fit of the data themselves.
        scheme, seed: how they were drawn; the same seed gives the same draws.
        theta: `(draws, p)`, parameters in the order of `fit.law.names`; only the draws that reached a minimum.
        failed: draws that reached none, which happens where a draw leaves too few distinct sizes.
    """

    fit: Fit
    scheme: Scheme
    seed: int
    theta: Array = field(repr=False)
    failed: int

    @property
    def stderr(self) -> dict[str, float]:
        """Standard deviation over the draws."""
        spread_ = self.theta.std(axis=0, ddof=1) if len(self.theta) > 1 else np.full(self.theta.shape[1], math.nan)
        return dict(zip(self.fit.law.names, (float(each) for each in spread_), strict=True))

    def interval(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Percentiles of the draws."""
        if len(self.theta) < 2:
            return dict.fromkeys(self.fit.law.names, (math.nan, math.nan))
        low, high = np.quantile(self.theta, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return {name: (float(low[k]), float(high[k])) for k, name in enumerate(self.fit.law.names)}

    def predict(self, at: Mapping[str, Any]) -> Array:
        """Predictions of every draw, `(draws, n)`."""
        points = {name: np.atleast_1d(np.asarray(value, dtype=np.float64)) for name, value in at.items()}
        theta = {name: self.theta[:, k, None] for k, name in enumerate(self.fit.law.names)}
        return self.fit.law.predict(theta, points)

    def to_dict(self, level: float = 0.95) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "scheme": self.scheme.name,
            "message": self.scheme.value,
            "seed": self.seed,
            "draws": len(self.theta),
            "failed": self.failed,
            "stderr": self.stderr,
            "interval": {name: list(ends) for name, ends in self.interval(level).items()},
            "level": level,
        }


def bootstrap(fit: Fit, *, scheme: Scheme = Scheme.CELL, draws: int = 1000, seed: int = 0) -> Resample:
    """Refit resampled data.

    Args:
        fit: the fit to question.
        scheme: what is drawn.
        draws: how many resamples.
        seed: of the draws.

    Raises:
        InputError: fewer than one draw, or seeds are to be drawn where no cell has two.
    """
    if draws < 1:
        raise InputError(f"{draws} draws", "draws", "Ask for at least 1")
    rng = np.random.default_rng(seed)
    problem, cell = fit.problem, _cells(fit.problem)
    if scheme is Scheme.SEED and np.bincount(cell).max() < 2:
        raise InputError("no cell has two seeds", "scheme", "Run more seeds, or draw cells")
    found: list[Array] = []
    failed = 0
    chunk = max(1, _CHUNK_CELLS // len(problem.y))
    for begin in range(0, draws, chunk):
        count = min(chunk, draws - begin)
        weight, y = _draw(fit, cell, scheme, count, rng)
        minima = refit(problem, np.tile(fit.u, (count, 1)), weight=weight, y=y)
        found.append(_theta(problem, minima)[minima.converged])
        failed += int(np.sum(np.logical_not(minima.converged)))
    return Resample(fit, scheme, seed, np.concatenate(found), failed)


def _cells(problem: Problem) -> NDArray[np.intp]:
    """Which cell each row is in."""
    _, cell = np.unique(np.stack(list(problem.x.values())), axis=1, return_inverse=True)
    return cell.reshape(-1)


def _draw(
    fit: Fit, cell: NDArray[np.intp], scheme: Scheme, count: int, rng: np.random.Generator
) -> tuple[Array | None, Array | None]:
    """Weights or outcomes `(count, n)` of resamples; the other is None."""
    problem, cells, rows = fit.problem, int(cell.max()) + 1, len(cell)
    if scheme is Scheme.CELL:
        times = rng.multinomial(cells, np.full(cells, 1 / cells), size=count)
        return times[:, cell] * problem.weight, None
    if scheme is Scheme.SEED:
        times = np.zeros((count, rows))
        for each in range(cells):
            inside = np.flatnonzero(cell == each)
            times[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=count)
        return times * problem.weight, None
    residual = problem.residual(fit.u[None, :])[0]
    fitted = problem.y - residual
    size = np.bincount(cell)
    used = max(rows - fit.freedom, 0)
    if scheme is Scheme.WILD:
        # Webb's six points: mean 0, variance 1, and enough distinct draws for few cells.
        steps = np.sqrt(np.array([0.5, 1.0, 1.5]))
        signs = rng.choice(np.concatenate([-steps, steps]), size=(count, cells))
        widened = residual * math.sqrt(cells / max(cells - used, 1))
        return None, fitted + signs[:, cell] * widened
    middle = np.bincount(cell, residual) / size
    within = residual - middle[cell]
    lone = rows - cells
    shared = middle * math.sqrt(cells / max(cells - used, 1))
    shared -= shared.mean()
    drawn = shared[rng.integers(cells, size=(count, cells))][:, cell]
    if lone:
        drawn = drawn + within[rng.integers(rows, size=(count, rows))] * math.sqrt(rows / lone)
    return None, fitted + drawn


def _theta(problem: Problem, minima: Minima) -> Array:
    """Parameters `(B, p)` of a batch."""
    phi = problem.phi(minima.u)
    zero = minima.u <= problem.floor + 1e-9
    theta = np.empty_like(phi)
    for place, item in enumerate(problem.law.parameters):
        theta[:, place] = item.outer(phi[:, place])
        own = np.flatnonzero(problem.basis[place] == 1.0)
        if item.log and len(own):
            theta[zero[:, own[0]], place] = 0.0
    return theta


@dataclass(frozen=True, eq=False)
class Profile:
    """The objective as a function of one parameter, the others refitted.

    Args:
        name: the parameter.
        values, rise: where it was computed, and by how much the objective rises there; 1 is the limit at `level`.
        low, high: the interval; infinite, or the parameter's bound, on a side that the data leave open.
        level: its confidence.
    """

    name: str
    values: Array
    rise: Array
    low: float
    high: float
    level: float


def profile(fit: Fit, name: str, *, level: float = 0.95) -> Profile:
    """Profile-likelihood interval of a parameter.

    The parameter is moved from its best value, all others are refitted, and the ends are where the objective has risen by
    (t^2 / 2) se^2 / (H^-1)_kk, with t Student's quantile and se the standard error of `fit`: half t^2 sigma^2 for least squares,
    and its equivalent for a robust loss. Unlike `Fit.interval` it need not be symmetric.

    Raises:
        InputError: the law has no such parameter, it was fixed or lies on a bound, or the fit has no errors.
    """
    if name not in fit.law.names:
        raise InputError(f"law {fit.law.name} has no parameter {name!r}", "profile", f"Known: {', '.join(fit.law.names)}")
    place, problem = fit.law.names.index(name), fit.problem
    own = np.flatnonzero(problem.basis[place] == 1.0)
    variance = float(fit.covariance_inner[place, place])
    if len(own) == 0 or name in fit.certificate.active or not variance > 0:
        raise InputError(f"{name} has no error to profile", "profile", "It is fixed, on a bound, or the data do not identify it")
    moved = np.abs(fit.u - np.clip(fit.u, problem.floor + 1e-9, np.inf)) == 0
    information = spread(problem, fit.u, moved).information
    row = problem.basis[place, moved]
    inverse = float(row @ np.linalg.inv(information[np.ix_(moved, moved)]) @ row)
    limit = 0.5 * student(level, fit.freedom) ** 2 * variance / inverse
    centre, step = float(problem.phi(fit.u)[place]), math.sqrt(variance)
    item = fit.law.parameters[place]
    bounds = (float(item.inner(item.lower)), float(item.inner(item.upper)))
    found: dict[float, float] = {centre: 0.0}
    side = _Side(fit, place, int(own[0]), limit, found)
    ends = [_end(side, centre, sign * step, bounds[sign > 0]) for sign in (-1, 1)]
    at = np.array(sorted(found))
    values = np.asarray(item.outer(at), dtype=np.float64)
    low, high = (float(item.outer(end)) for end in ends)
    return Profile(name, values, np.array([found[each] for each in sorted(found)]), low, high, level)


@dataclass(frozen=True, eq=False)
class _Side:
    """What a profile needs at each point: the fit, the parameter's row and column of the basis, the limit, and what was found."""

    fit: Fit
    place: int
    column: int
    limit: float
    found: dict[float, float]


def _end(side: _Side, centre: float, step: float, bound: float) -> float:
    """The coordinate at which the profile reaches the limit, on the side that `step` points to; the bound where it does not."""
    start, found = side.fit.u, side.found
    inside, outside = centre, math.nan
    for _ in range(24):
        trial = inside + step
        if (step > 0 and trial >= bound) or (step < 0 and trial <= bound):
            return bound
        rise, start = _risen(side, trial, start)
        if rise >= 1:
            outside = trial
            break
        inside, step = trial, step * 1.5
    if math.isnan(outside):
        return bound
    for _ in range(40):
        if abs(outside - inside) <= 1e-7 * (1 + abs(outside)):
            break
        low, high = found[inside], found[outside]
        # The square root of the rise is nearly straight.
        share = (1 - math.sqrt(low)) / (math.sqrt(high) - math.sqrt(low)) if high > low else 0.5
        trial = inside + min(max(share, 0.1), 0.9) * (outside - inside)
        rise, start = _risen(side, trial, start)
        inside, outside = (inside, trial) if rise >= 1 else (trial, outside)
    return 0.5 * (inside + outside)


def _risen(side: _Side, at: float, start: Array) -> tuple[float, Array]:
    """Rise of the objective with one coordinate of phi held, and where the others went."""
    place, column, problem = side.place, side.column, side.fit.problem
    own = problem.basis[:, column]
    basis = problem.basis - np.outer(own, problem.basis[place])
    basis[:, column] = 0.0
    held = replace(problem, offset=problem.offset + own * (at - problem.offset[place]), basis=basis)
    free = (start > problem.floor + 1e-9)[None, :].copy()
    free[:, column] = False
    ended = minimise(held, start[None, :], free)
    rise = max(float(ended.value[0]) - side.fit.value, 0.0) / side.limit
    side.found[at] = rise
    return rise, ended.u[0]


@dataclass(frozen=True)
class Influence:
    """The fit without one scale.

    Args:
        column, value: the rows left out have this value there.
        rows: how many.
        theta: the parameters without them, or None where the rest has no minimum.
        shift: change of each parameter in its own standard errors.
    """

    column: str
    value: float
    rows: int
    theta: Mapping[str, float] | None
    shift: Mapping[str, float] | None


def influence(fit: Fit) -> tuple[Influence, ...]:
    """Leave out every distinct value of every scale in turn and refit, the strongest first."""
    problem = fit.problem
    left: list[tuple[str, float, NDArray[np.bool_]]] = []
    for column, logs in zip(fit.over, problem.x.values(), strict=True):
        for level in np.unique(logs):
            left.append((column, float(np.exp(level)), logs == level))
    weight = np.stack([np.where(out, 0.0, problem.weight) for _, _, out in left])
    minima = refit(problem, np.tile(fit.u, (len(left), 1)), weight=weight)
    theta, errors = _theta(problem, minima), fit.stderr
    distinct = [len(np.unique(np.stack([logs[~out] for logs in problem.x.values()]), axis=1).T) for _, _, out in left]
    result: list[Influence] = []
    for k, (column, value, out) in enumerate(left):
        sound = bool(minima.converged[k]) and distinct[k] >= problem.basis.shape[1]
        now = dict(zip(fit.law.names, (float(each) for each in theta[k]), strict=True))
        shift = {name: (now[name] - fit.theta[name]) / errors[name] if errors[name] > 0 else math.nan for name in now}
        result.append(Influence(column, value, int(out.sum()), now if sound else None, shift if sound else None))
    return tuple(
        sorted(result, key=lambda each: -max((abs(x) for x in (each.shift or {}).values() if math.isfinite(x)), default=0.0))
    )
