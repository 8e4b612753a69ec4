"""Fit a law to trials: `fit(law, trials) -> Fit`, with a certificate of what was found.

The search is variable projection on a grid of the exponents (`_starts`), then exact Newton on the true objective (`_newton`), so
a fit needs no random start. It says CONVERGED only where the gradient vanishes, the Hessian is positive definite and every active
bound pushes the right way.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._certify import apart, certify, judge, ladder_of, zeros
from ._fitted import Certificate, Combined, Fit, FitStatus, Runner
from ._inference import spread
from ._objective import Absolute, Huber, LeastSquares, Objective
from ._problem import Problem
from ._search import Found, lowest, pushes, search
from ._starts import floors_of
from .errors import DataError, InputError, UnknownNameError
from .laws import Law, resolve

__all__ = [
    "Absolute",
    "Certificate",
    "Combined",
    "Fit",
    "FitStatus",
    "Huber",
    "LeastSquares",
    "Objective",
    "Runner",
    "Table",
    "fit",
]

Array: TypeAlias = NDArray[np.float64]

# Squares and products of such values stay far from overflow; nothing that is measured comes near it.
_LARGEST = 1e40

_Constraints: TypeAlias = tuple[Mapping[str, float], Mapping[str, tuple[float, float]], Mapping[str, str]]


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
    with np.errstate(all="ignore"):
        # What overflows on the way is not finite, and every step looks for that.
        return _fit(
            _bind(resolve(law), trials, over), trials, outcome, weights, objective, (fixed or {}, bounds or {}, tied or {})
        )


def _fit(
    bound: Law,
    trials: Table,
    outcome: str | None,
    weights: str | Sequence[float] | Array | None,
    objective: Objective | None,
    how: _Constraints,
) -> Fit:
    chosen = bound.objective if objective is None else objective
    column = bound.output if outcome is None else outcome
    x, values, weight, dropped = _rows(bound, trials, column, weights, chosen)
    problem = _problem(bound, x, values, weight, chosen, how)
    _enough(problem, bound)
    minima, free, basins = search(problem, values)
    found = Found(minima, free, basins, lowest(minima, free, problem))
    result = _fitted(problem, found, _Source(bound, column, dropped))
    ladder = ladder_of(problem) if result.status is FitStatus.NOT_IDENTIFIED else None
    return result if ladder is None else _on_ladder(result, ladder, values)


@dataclass(frozen=True)
class _Source:
    """Where a problem comes from, for the result."""

    law: Law
    column: str
    dropped: int


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
        raise DataError(
            f"law {law.name} runs over one scale and the columns that vary are: {found}", "over", "Name one, e.g. over='width'"
        )
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
        raise InputError(f"{weight.size} weights for {len(values)} rows", "weights", "Give one weight for each row")
    _refuse(np.isinf(weight) | (weight < 0), "a negative or infinite weight", "weights", "Weights are finite and at least 0")
    for place, data in ((column, values), *zip(law.columns, inputs.values(), strict=True)):
        _refuse(np.isinf(data), "an infinite value", place, "Leave that row out or mend it")
        size = np.abs(data)
        huge = (size > _LARGEST) | ((size < 1 / _LARGEST) & (size > 0))
        _refuse(huge, f"a value beyond {1 / _LARGEST:g} to {_LARGEST:g}", place, "Use another unit, or mend it")
    for place, data in zip(law.columns, inputs.values(), strict=True):
        _refuse(data <= 0, "not positive", place, "A scale is a positive number")
    whole = np.isfinite(values) & np.isfinite(weight) & (weight > 0)
    for data in inputs.values():
        whole &= np.isfinite(data)
    if not whole.any():
        raise DataError(f"no row has {', '.join(law.columns)} and {column}", "", "Check the column names and the filter")
    if objective.log or law.logarithmic:
        what = f"not positive, and law {law.name} takes its logarithm"
        _refuse(whole & (values <= 0), what, column, "Leave that row out, or use log_linear")
    return {name: np.log(data[whole]) for name, data in inputs.items()}, values[whole], weight[whole], int(np.sum(~whole))


def _refuse(bad: NDArray[np.bool_], what: str, column: str, mend: str) -> None:
    """Name the first bad row."""
    if bad.any():
        raise DataError(what, f"{column}, row {int(np.flatnonzero(bad)[0]) + 1}", mend)


def _problem(law: Law, x: dict[str, Array], values: Array, weight: Array, objective: Objective, how: _Constraints) -> Problem:
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
            offset[place] = item.inner(np.float64(fixed[item.name]))
            continue
        lead = tied.get(item.name, item.name)
        if lead in tied or lead in fixed:
            raise InputError(f"{item.name} is tied to {lead}, which is not free", "tied", "Tie to a free parameter, or fix both")
        columns.setdefault(lead, len(columns))
        basis_rows.append((place, lead))
    basis = np.zeros((len(offset), len(columns)))
    lower, upper = np.full(len(columns), -np.inf), np.full(len(columns), np.inf)
    floors, floor = floors_of(law, x, values), np.full(len(columns), -np.inf)
    for place, lead in basis_rows:
        item, column = law.parameters[place], columns[lead]
        basis[place, column] = 1.0
        low, high = bounds.get(item.name, (item.lower, item.upper))
        if not low < high:
            raise InputError(f"the bounds {low:g} and {high:g} are out of order", f"bounds of {item.name}", "Give (lower, upper)")
        low, high = max(low, item.lower), min(high, item.upper)
        floor[column] = max(floor[column], floors[place])
        at_zero = item.log and low <= 0 and (item.zero or bool(law.terms))
        lower[column] = max(lower[column], floors[place] if at_zero else item.inner(low))
        upper[column] = min(upper[column], item.inner(high))
    _centre(law, x, basis, upper)
    target = np.log(values) if objective.log else values
    return Problem(law, x, target, weight, objective, offset, basis, lower, upper, floor)


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
    needed = problem.basis.shape[1]
    # A thousand rows tell whether there are enough; sorting a million for it would cost more than the fit.
    inputs = np.stack(list(problem.x.values()))
    distinct = max(len(np.unique(column[:1000])) for column in inputs)
    if distinct < needed:
        distinct = len(np.unique(inputs, axis=1).T)
    if distinct < 2 and needed > 1:
        raise DataError(f"only one size in {', '.join(law.columns)}", "", "A law needs runs at several sizes")
    if distinct < needed:
        mend = "Add sizes, or choose a law with fewer parameters"
        raise DataError(
            f"law {law.name} has {needed} free parameters and the data {distinct} distinct sizes", ", ".join(law.columns), mend
        )


def _finite(value: float) -> float:
    """0 for NaN, and the largest double for what is larger."""
    return 0.0 if math.isnan(value) else min(max(value, -sys.float_info.max), sys.float_info.max)


def _fitted(problem: Problem, found: Found, source: _Source) -> Fit:
    minima, best, free = found.minima, found.best, found.free
    law, u = source.law, minima.u[best]
    at_bound = ~free[best] | (u <= problem.lower) | (u >= problem.upper)
    errors = spread(problem, u, ~at_bound)
    phi = problem.phi(u)
    zero = zeros(problem, u)
    theta = {item.name: 0.0 if zero[k] else _finite(float(item.outer(phi[k]))) for k, item in enumerate(law.parameters)}
    certificate = certify(problem, found, errors, at_bound, zero)
    # A parameter too large for a double is no answer, whatever the slope says.
    sound = bool(minima.converged[best] and pushes(minima, free)[best] and np.all(np.abs(list(theta.values())) < 1e300))
    status, message = judge(problem, certificate, errors, theta, sound)
    inner = problem.basis @ errors.covariance @ problem.basis.T
    inner[zero] = 0.0
    inner[:, zero] = 0.0
    count = len(problem.y)
    text = repr((law.name, law.columns, source.column, problem.objective, sorted(theta.items()))).encode()
    digest = hashlib.sha256(
        text + problem.y.tobytes() + problem.weight.tobytes() + b"".join(v.tobytes() for v in problem.x.values())
    )
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


@dataclass(frozen=True)
class _Ladder:
    """The rows of a fit as a table of one input."""

    columns: Mapping[str, Array]

    def numbers(self, name: str) -> Array:
        return self.columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def _on_ladder(result: Fit, ladder: str, values: Array) -> Fit:
    """The same result with the law of one variable that its rows do identify."""
    law, problem = result.law, result.problem
    table = _Ladder({"x": np.exp(next(iter(problem.x.values()))), "y": values, "weight": problem.weight})
    # A power law has no floor where the law of both has none.
    simple = "saturating" if "E" in law.names else "power"
    try:
        along = fit(simple, table, over="x", outcome="y", weights="weight", objective=problem.objective)
    except DataError:
        return result
    if along.status not in (FitStatus.CONVERGED, FitStatus.AT_BOUND):
        return result
    combined = Combined(
        ladder=ladder,
        apart=apart(problem),
        law=simple,
        over=law.columns[0],
        formula=along.law.formula,
        theta=along.theta,
        stderr=along.stderr,
    )
    return replace(
        result,
        certificate=replace(result.certificate, combined=combined),
        message=f"{result.message} {combined.message}",
    )
