"""Fit a law to trials: `fit(law, trials) -> Fit`, with a certificate of what was found.

The search is variable projection on a grid of the exponents (`_starts`), then exact Newton on the true objective (`_newton`), so one
fit needs no random start. A fit says CONVERGED only where the gradient vanishes, the Hessian is positive definite and every active
bound pushes the right way.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._fitted import Certificate, Fit, FitStatus, Runner
from ._inference import Spread, spread
from ._newton import Minima, minimise
from ._objective import Absolute, Huber, LeastSquares, Objective
from ._problem import Problem
from ._starts import VANISHED, Starts, floor_of, scan
from .errors import DataError, InputError, UnknownNameError
from .laws import Law, resolve

__all__ = ["Absolute", "Certificate", "Fit", "FitStatus", "Huber", "LeastSquares", "Objective", "Runner", "Table", "fit"]

Array: TypeAlias = NDArray[np.float64]

# Two minima are the same basin where their objectives agree to this share.
_SAME = 1e-7


class Table(Protocol):
    """What a fit needs of trials: numeric columns, NaN where missing."""

    def numbers(self, name: str) -> Array:
        """A column."""
        ...

    def __len__(self) -> int: ...


def fit(
    law: Law | str,
    trials: Table,
    *,
    over: str | Sequence[str] | None = None,
    outcome: str | None = None,
    weights: str | Sequence[float] | Array | None = None,
    objective: Objective | None = None,
    fixed: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    tied: Mapping[str, str] | None = None,
) -> Fit:
    """Fit a law.

    Args:
        law: a law or its name.
        trials: the table; rows with a missing input or outcome are left out and counted.
        over: the column of each input; default the law's own, or the one scale that varies.
        outcome: the column that is fitted; default the law's output.
        weights: of each row, proportional to 1 / variance, or the column that holds them.
        objective: what is minimised; default the law's, which is Huber (1e-3) of log residuals unless it says otherwise.
        fixed: parameters held at a value.
        bounds: parameter -> (lower, upper), inside the law's own bounds.
        tied: parameter -> the parameter it must equal.

    Raises:
        DataError: the table cannot be fitted by any method (no rows, one size, fewer sizes than parameters, not positive).
        InputError: the call is wrong. What the data leave open is a status of the result instead.
    """
    bound = _bind(resolve(law), trials, over)
    chosen = bound.objective if objective is None else objective
    column = bound.output if outcome is None else outcome
    x, values, weight, dropped = _rows(bound, trials, column, weights, chosen)
    floor = floor_of(values)
    problem = _problem(bound, x, values, weight, chosen, floor, (fixed or {}, bounds or {}, tied or {}))
    _enough(problem, bound)
    minima, free, basins = _search(problem, values, floor)
    best = _best(minima, free, problem)
    return _fitted(problem, minima, best, free, basins, _Source(bound, column, dropped, floor))


class _Source:
    """Where a problem comes from, for the result."""

    def __init__(self, law: Law, column: str, dropped: int, floor: float) -> None:
        self.law, self.column, self.dropped, self.floor = law, column, dropped, floor


def _bind(law: Law, trials: Any, over: str | Sequence[str] | None) -> Law:
    if over is not None:
        return law.over(over)
    if law.columns:
        return law
    if law.inputs != ("x",):
        return law.over(law.inputs)
    scales = list(trials.varying(trials.scales)) if hasattr(trials, "varying") else []
    if len(scales) != 1:
        found = ", ".join(scales) or "none"
        raise DataError(f"law {law.name} runs over one scale and the columns that vary are: {found}", "over", "Name one, e.g. over='width'")
    return law.over(scales[0])


def _rows(
    law: Law, trials: Table, column: str, weights: str | Sequence[float] | Array | None, objective: Objective
) -> tuple[dict[str, Array], Array, Array, int]:
    """Inputs, outcomes and weights of the complete rows, and how many rows were left out."""
    values = trials.numbers(column)
    inputs = {name: trials.numbers(place) for name, place in zip(law.inputs, law.columns, strict=True)}
    if weights is None:
        weight = np.ones(len(values))
    else:
        weight = np.asarray(trials.numbers(weights) if isinstance(weights, str) else weights, dtype=np.float64)
    if weight.shape != values.shape:
        raise InputError(f"{len(weight)} weights for {len(values)} rows", "weights", "Give one weight for each row")
    for name, place in (*zip(inputs, law.columns, strict=True), ("", column)):
        data = inputs[name] if name else values
        if np.any(np.isinf(data)):
            raise DataError("an infinite value", f"{place}, row {int(np.flatnonzero(np.isinf(data))[0]) + 1}", "Leave that row out or mend it")
        if name and np.any(data <= 0):
            raise DataError("not positive", f"{place}, row {int(np.flatnonzero(data <= 0)[0]) + 1}", "A scale is a positive number")
    if np.any(np.isinf(weight)) or np.any(weight < 0):
        raise DataError("a negative or infinite weight", "weights", "Weights are finite and at least 0")
    whole = np.isfinite(values) & np.isfinite(weight) & (weight > 0)
    for data in inputs.values():
        whole &= np.isfinite(data)
    if not whole.any():
        raise DataError(f"no row has {', '.join(law.columns)} and {column}", "", "Check the column names and the filter")
    values, weight = values[whole], weight[whole]
    if (objective.log or law.logarithmic) and np.any(values <= 0):
        row = int(np.flatnonzero(whole & (trials.numbers(column) <= 0))[0]) + 1
        raise DataError(f"{column} is not positive, and law {law.name} takes its logarithm", f"row {row}", "Leave that row out, or use log_linear")
    return {name: np.log(data[whole]) for name, data in inputs.items()}, values, weight, int(np.sum(~whole))


_Constraints: TypeAlias = tuple[Mapping[str, float], Mapping[str, tuple[float, float]], Mapping[str, str]]


def _problem(law: Law, x: dict[str, Array], values: Array, weight: Array, objective: Objective, floor: float, how: _Constraints) -> Problem:
    """Free coordinates from fixed, bounded and tied parameters."""
    fixed, bounds, tied = how
    for name in (*fixed, *bounds, *tied, *tied.values()):
        if name not in law.names:
            raise UnknownNameError(f"parameter of {law.name}", name, law.names)
    offset = np.zeros(len(law.names))
    columns: dict[str, int] = {}
    basis_rows: list[tuple[int, str]] = []
    for place, item in enumerate(law.parameters):
        if item.name in fixed:
            offset[place] = max(float(item.inner(np.float64(fixed[item.name]))), floor) if item.log else fixed[item.name]
            continue
        lead = tied.get(item.name, item.name)
        if lead in tied or lead in fixed:
            raise InputError(f"{item.name} is tied to {lead}, which is not free", "tied", "Tie to a free parameter, or fix both")
        columns.setdefault(lead, len(columns))
        basis_rows.append((place, lead))
    basis = np.zeros((len(offset), len(columns)))
    lower, upper = np.full(len(columns), -np.inf), np.full(len(columns), np.inf)
    for place, lead in basis_rows:
        item, column = law.parameters[place], columns[lead]
        basis[place, column] = 1.0
        low, high = bounds.get(item.name, (item.lower, item.upper))
        if not low < high:
            raise InputError(f"the bounds {low:g} and {high:g} are out of order", f"bounds of {item.name}", "Give (lower, upper)")
        low, high = max(low, item.lower), min(high, item.upper)
        lower[column] = max(lower[column], floor if item.log and low <= 0 else item.inner(low))
        upper[column] = min(upper[column], item.inner(high))
    _centre(law, x, basis, upper)
    target = np.log(values) if objective.log else values
    return Problem(law, x, target, weight, objective, offset, basis, lower, upper)


def _centre(law: Law, x: dict[str, Array], basis: Array, upper: Array) -> None:
    """Let an exponent carry its coefficient along the mean of its input, which decorrelates the two."""
    for term in law.terms:
        place = law.names.index(term.coefficient)
        own = np.flatnonzero(basis[place])
        if len(own) != 1 or np.sum(basis[:, own[0]] != 0) != 1 or np.isfinite(upper[own[0]]):
            continue
        for name, power in term.powers.items():
            column = np.flatnonzero(basis[law.names.index(power)])
            if len(column) == 1:
                basis[place, column[0]] += float(np.mean(x[name]))


def _enough(problem: Problem, law: Law) -> None:
    distinct = len(np.unique(np.stack(list(problem.x.values())), axis=1).T)
    needed = problem.basis.shape[1]
    if distinct < 2 and needed > 1:
        raise DataError(f"only one size in {', '.join(law.columns)}", "", "A law needs runs at several sizes")
    if distinct < needed:
        mend = "Add sizes, or choose a law with fewer parameters"
        raise DataError(f"law {law.name} has {needed} free parameters and the data {distinct} distinct sizes", ", ".join(law.columns), mend)


def _search(problem: Problem, values: Array, floor: float) -> tuple[Minima, NDArray[np.bool_], int]:
    """Newton from every basin of the grid; for a robust objective also from the basins that remain when outliers are weighed down."""
    if problem.basis.shape[1] == 0:
        nothing = np.zeros((1, 0))
        return minimise(problem, nothing), np.ones((1, 0), dtype=bool), 1
    first = scan(problem, values, problem.weight, floor)
    minima, free = _descend(problem, first, floor)
    if not np.isfinite(problem.objective.delta):
        return minima, free, first.basins
    lead = minima.u[np.argmin(minima.value)]
    size = np.abs(problem.residual(lead[None, :])[0])
    middle = max(float(np.median(size)), 1e-12)
    again = scan(problem, values, problem.weight * np.minimum(1.0, middle / np.maximum(size, 1e-300)) ** 2, floor)
    second, free_again = _descend(problem, again, floor)
    return _joined(minima, second), np.concatenate([free, free_again]), max(first.basins, again.basins)


def _descend(problem: Problem, starts: Starts, floor: float) -> tuple[Minima, NDArray[np.bool_]]:
    """Newton from the starts. A Huber width far below the scatter is reached in stages, each a warm start of the next."""
    u, free = starts.u, starts.free
    size = float(np.median(np.abs(problem.residual(u[:1])[0])))
    while size > 4 * problem.objective.delta:
        u = minimise(replace(problem, objective=Huber(problem.objective.log, size)), u, free, limit=20).u
        size /= 5
    minima = minimise(problem, u, free)
    stuck = ~minima.converged & np.isfinite(minima.value)
    if stuck.any():
        aside, move = _aside(minima, free, stuck)
        minima, free = _joined(minima, minimise(problem, aside, move)), np.concatenate([free, move])
        keep = ~np.concatenate([stuck, np.zeros(len(move), dtype=bool)]) | _lowest(minima)
        minima, free = _taken(minima, keep), free[keep]
    # A coefficient that ran off towards 0 is put there.
    vanishing = np.zeros(free.shape, dtype=bool)
    for place, item in enumerate(problem.law.parameters):
        own = np.flatnonzero(problem.basis[place])
        if item.zero and len(own) == 1 and problem.lower[own[0]] <= floor:
            vanishing[:, own[0]] = free[:, own[0]] & (minima.u[:, own[0]] < floor + VANISHED)
    gone = np.any(vanishing, axis=1)
    if gone.any():
        free = free & ~vanishing
        fresh = minimise(problem, np.where(vanishing, floor, minima.u)[gone], free[gone])
        minima = _joined(_taken(minima, ~gone), fresh)
        free = np.concatenate([free[~gone], free[gone]])
    return minima, free


def _aside(minima: Minima, free: NDArray[np.bool_], stuck: NDArray[np.bool_]) -> tuple[Array, NDArray[np.bool_]]:
    """Two starts for each saddle point: a little to both sides along the direction that bends down."""
    starts: list[Array] = []
    moves: list[NDArray[np.bool_]] = []
    for k in np.flatnonzero(stuck):
        move = np.flatnonzero(free[k])
        if len(move) == 0 or not np.all(np.isfinite(minima.hessian[k])):
            continue
        _, vectors = np.linalg.eigh(minima.hessian[k][np.ix_(move, move)])
        for sign in (1e-3, -1e-3):
            start = minima.u[k].copy()
            start[move] += sign * vectors[:, 0]
            starts.append(start)
            moves.append(free[k])
    shape = (len(starts), minima.u.shape[1])
    return np.array(starts).reshape(shape), np.array(moves, dtype=bool).reshape(shape)


def _lowest(minima: Minima) -> NDArray[np.bool_]:
    """The single lowest row: never dropped, converged or not."""
    value = np.where(np.isfinite(minima.value), minima.value, np.inf)
    return np.arange(len(value)) == int(np.argmin(value))


_ROWS = ("u", "value", "gradient", "hessian", "decrement", "converged")


def _joined(left: Minima, right: Minima) -> Minima:
    rows = (np.concatenate([getattr(left, key), getattr(right, key)]) for key in _ROWS)
    return Minima(*rows, iterations=left.iterations + right.iterations)


def _taken(minima: Minima, rows: NDArray[np.bool_]) -> Minima:
    return Minima(*(getattr(minima, key)[rows] for key in _ROWS), iterations=minima.iterations)


def _best(minima: Minima, free: NDArray[np.bool_], problem: Problem) -> int:
    """The lowest minimum; among equals one that is certified."""
    value = np.where(np.isfinite(minima.value), minima.value, np.inf)
    near = value <= value.min() * (1 + 1e-9) + 1e-25 * float(np.sum(problem.weight))
    good = near & minima.converged & _pushes(minima, free)
    return int(np.flatnonzero(good)[0]) if good.any() else int(np.argmin(value))


def _pushes(minima: Minima, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a coefficient held at 0 would raise the objective if it grew: the condition for a minimum at that bound."""
    return np.all(free | (minima.gradient >= 0), axis=1)


def _fitted(problem: Problem, minima: Minima, best: int, free: NDArray[np.bool_], basins: int, source: _Source) -> Fit:
    law, u = source.law, minima.u[best]
    at_bound = ~free[best] | (u <= problem.lower) | (u >= problem.upper)
    errors = spread(problem, u, ~at_bound)
    phi = problem.phi(u)
    zero = _zeros(problem, u, source.floor)
    theta = {item.name: 0.0 if zero[k] else float(item.outer(phi[k])) for k, item in enumerate(law.parameters)}
    certificate = _certificate(problem, minima, best, free, basins, errors, at_bound, zero)
    status, message = _status(problem, certificate, errors, theta, bool(minima.converged[best] and _pushes(minima, free)[best]))
    inner = problem.basis @ errors.covariance @ problem.basis.T
    inner[zero] = 0.0
    inner[:, zero] = 0.0
    count = len(problem.y)
    text = repr((law.name, law.columns, source.column, problem.objective, sorted(theta.items()))).encode()
    digest = hashlib.sha256(text + problem.y.tobytes() + problem.weight.tobytes() + b"".join(v.tobytes() for v in problem.x.values()))
    return Fit(
        law=law,
        theta=theta,
        covariance_inner=inner,
        objective=problem.objective,
        value=float(minima.value[best]),
        status=status,
        message=message,
        n=count,
        freedom=count - int((~at_bound).sum()),
        dropped=source.dropped,
        residual_sd=errors.residual_sd,
        certificate=certificate,
        outcome=source.column,
        digest=digest.hexdigest()[:16],
        problem=problem,
        u=u,
    )


def _zeros(problem: Problem, u: Array, floor: float) -> NDArray[np.bool_]:
    """Parameters reported as exactly 0."""
    zero = np.zeros(len(problem.offset), dtype=bool)
    for place, item in enumerate(problem.law.parameters):
        own = np.flatnonzero(problem.basis[place] == 1.0)
        held = len(own) == 0 and not np.any(problem.basis[place]) and problem.offset[place] <= floor
        zero[place] = item.log and (held or any(u[k] <= floor + 1e-9 and problem.lower[k] <= floor for k in own))
    return zero


def _certificate(
    problem: Problem,
    minima: Minima,
    best: int,
    free: NDArray[np.bool_],
    basins: int,
    errors: Spread,
    at_bound: NDArray[np.bool_],
    zero: NDArray[np.bool_],
) -> Certificate:
    value = minima.value[best]
    _, first, _ = problem.prediction(minima.u[best][None, :])
    residual = problem.residual(minima.u[best][None, :])[0]
    _, psi, _ = problem.objective.rho(residual)
    pull = np.sum(np.abs(first[:, 0, :]) * (problem.weight * np.abs(psi)), axis=1)
    slope = np.abs(minima.gradient[best])
    moved = ~at_bound
    gradient = float(np.max(slope[moved] / np.maximum(pull[moved], 1e-12 * np.sum(problem.weight)))) if moved.any() else 0.0
    slack = _SAME * value + 1e-24 * float(np.sum(problem.weight))
    fair = minima.converged & _pushes(minima, free)
    agree = float(np.mean(minima.value <= value + slack))
    runners: list[Runner] = []
    for k in np.argsort(minima.value):
        apart = all(abs(minima.value[k] - other.value) > slack for other in runners)
        if fair[k] and value + slack < minima.value[k] <= 1.01 * value and apart:
            phi = problem.phi(minima.u[k])
            theta = {item.name: float(item.outer(phi[place])) for place, item in enumerate(problem.law.parameters)}
            runners.append(Runner(theta, float(minima.value[k])))
    hessian = minima.hessian[best]
    active = [item.name for place, item in enumerate(problem.law.parameters) if zero[place] or np.any(problem.basis[place][at_bound] == 1.0)]
    return Certificate(
        gradient=gradient,
        decrement=float(minima.decrement[best]),
        condition=_condition(_raw(problem, hessian, moved)),
        condition_projected=_condition(_projected(problem, hessian, moved)),
        condition_scaled=errors.condition,
        basins=basins,
        starts=len(minima.value),
        agree=agree,
        active=tuple(active),
        runners=tuple(runners),
        iterations=minima.iterations,
    )


def _raw(problem: Problem, hessian: Array, moved: NDArray[np.bool_]) -> Array:
    """The Hessian in the law's own coordinates, without centring."""
    plain = (problem.basis == 1.0).astype(np.float64)
    change = np.linalg.pinv(problem.basis) @ plain
    return (change.T @ hessian @ change)[np.ix_(moved, moved)]


def _projected(problem: Problem, hessian: Array, moved: NDArray[np.bool_]) -> Array:
    """The Hessian of the profile: the linear coordinates projected out (Schur complement)."""
    linear = np.zeros(len(hessian), dtype=bool)
    for place, item in enumerate(problem.law.parameters):
        if item.linear:
            linear |= problem.basis[place] == 1.0
    for place, item in enumerate(problem.law.parameters):
        if not item.linear:
            linear &= problem.basis[place] == 0.0
    rest, gone = np.flatnonzero(moved & ~linear), np.flatnonzero(moved & linear)
    if len(rest) == 0 or len(gone) == 0:
        return hessian[np.ix_(moved, moved)]
    cross = hessian[np.ix_(rest, gone)]
    return hessian[np.ix_(rest, rest)] - cross @ np.linalg.pinv(hessian[np.ix_(gone, gone)]) @ cross.T


def _condition(matrix: Array) -> float:
    if len(matrix) == 0:
        return 1.0
    if not np.all(np.isfinite(matrix)):
        return math.inf
    values = np.linalg.eigvalsh(matrix)
    return float(values[-1] / values[0]) if values[0] > 0 else math.inf


def _status(problem: Problem, certificate: Certificate, errors: Spread, theta: Mapping[str, float], sound: bool) -> tuple[FitStatus, str]:
    """The status, and its sentence with the names filled in."""
    law = problem.law
    if not sound and certificate.condition_scaled < 1e12:
        return FitStatus.NOT_CONVERGED, FitStatus.NOT_CONVERGED.value
    lost = [name for term in law.terms if theta[term.coefficient] == 0 for name in term.powers.values()]
    if lost:
        return FitStatus.NOT_IDENTIFIED, (
            f"The data show no term with {', '.join(dict.fromkeys(lost))}: its coefficient is 0. Use a law without it, or a wider range of sizes."
        )
    if len(problem.x) > 1:
        design = np.stack([np.ones(len(problem.y)), *problem.x.values()], axis=1)
        centred = design[:, 1:] - design[:, 1:].mean(axis=0)
        singular = np.linalg.svd(centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-300), compute_uv=False)
        if singular[-1] < 1e-6:
            return FitStatus.NOT_IDENTIFIED, (
                f"{' and '.join(law.columns)} move together on every row, so their terms cannot be told apart; only predictions along that "
                "ladder mean anything. Add runs off the ladder."
            )
    if not sound or certificate.condition_scaled > 1e12:
        names = [law.names[k] for k in np.argsort(-np.abs(problem.basis @ errors.weakest)) if abs((problem.basis @ errors.weakest)[k]) > 0.1]
        return FitStatus.NOT_IDENTIFIED, (
            f"The data leave a combination of {', '.join(names)} open; predictions near the data may still hold. Add sizes or fix one of them."
        )
    if len(problem.y) <= problem.basis.shape[1]:
        return FitStatus.TOO_FEW_POINTS, FitStatus.TOO_FEW_POINTS.value
    if certificate.active:
        return FitStatus.AT_BOUND, f"The minimum lies on a bound of {', '.join(certificate.active)}; its error there is one-sided and not given."
    return FitStatus.CONVERGED, FitStatus.CONVERGED.value
