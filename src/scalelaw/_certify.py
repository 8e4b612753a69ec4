"""What a search found, put into words: the certificate and the status of a fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._fitted import Certificate, FitStatus, Runner
from ._inference import Spread
from ._problem import Problem
from ._search import Found, pushes

__all__ = ["apart", "certify", "judge", "ladder_of", "zeros"]

Array: TypeAlias = NDArray[np.float64]

# Two minima are the same where their objectives agree to this share.
_SAME = 1e-7
# ln of a share of the outcome that no double can show next to it.
_NOTHING = math.log(1e-12)


def zeros(problem: Problem, u: Array) -> NDArray[np.bool_]:
    """Parameters reported as exactly 0, `(p,)`."""
    zero = np.zeros(len(problem.offset), dtype=bool)
    for place, item in enumerate(problem.law.parameters):
        own = np.flatnonzero(problem.basis[place] == 1.0)
        held = not np.any(problem.basis[place]) and np.isneginf(problem.offset[place])
        zero[place] = item.log and (held or any(u[k] <= problem.floor[k] + 1e-9 for k in own))
    return zero


def certify(problem: Problem, found: Found, errors: Spread, at_bound: NDArray[np.bool_], zero: NDArray[np.bool_]) -> Certificate:
    """The certificate of the minimum that was chosen."""
    minima, best, free, basins = found.minima, found.best, found.free, found.basins
    value = minima.value[best]
    z, first = problem.slopes(minima.u[best])
    _, psi, _ = problem.objective.rho(problem.y - z)
    pull = np.abs(first) @ (problem.weight * np.abs(psi))
    slope = np.abs(minima.gradient[best])
    moved = ~at_bound
    gradient = float(np.max(slope[moved] / np.maximum(pull[moved], 1e-12 * np.sum(problem.weight)))) if moved.any() else 0.0
    slack = _SAME * value + 1e-24 * float(np.sum(problem.weight))
    fair = minima.converged & pushes(minima, free)
    agree = float(np.mean(minima.value <= value + slack))
    runners: list[Runner] = []
    for k in np.argsort(minima.value):
        apart = all(abs(minima.value[k] - other.value) > slack for other in runners)
        if fair[k] and value + slack < minima.value[k] <= 1.01 * value and apart:
            phi = problem.phi(minima.u[k])
            theta = {item.name: float(item.outer(phi[place])) for place, item in enumerate(problem.law.parameters)}
            runners.append(Runner(theta, float(minima.value[k])))
    hessian = minima.hessian[best]
    active = [
        item.name
        for place, item in enumerate(problem.law.parameters)
        if zero[place] or np.any(problem.basis[place][at_bound] == 1.0)
    ]
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
    change = problem.inverse @ plain
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


def judge(
    problem: Problem, certificate: Certificate, errors: Spread, theta: Mapping[str, float], sound: bool
) -> tuple[FitStatus, str]:
    """The status, and its sentence with the names filled in."""
    law = problem.law
    if (ladder := ladder_of(problem)) is not None:
        return FitStatus.NOT_IDENTIFIED, (
            f"{ladder} on every row, so {_listed(apart(problem))} cannot be told apart; "
            "only predictions along that ladder mean anything. Add runs off the ladder."
        )
    if not sound and (certificate.condition_scaled < 1e12 or max(abs(value) for value in theta.values()) >= 1e300):
        return FitStatus.NOT_CONVERGED, FitStatus.NOT_CONVERGED.value
    lost = _lost(problem, theta)
    if lost:
        return FitStatus.NOT_IDENTIFIED, (
            f"The data show no term with {', '.join(dict.fromkeys(lost))}: what it adds is 0 or rounding. "
            "Use a law without it, or a wider range of sizes."
        )
    if not sound or certificate.condition_scaled > 1e12:
        names = [
            law.names[k]
            for k in np.argsort(-np.abs(problem.basis @ errors.weakest))
            if abs((problem.basis @ errors.weakest)[k]) > 0.1
        ]
        return FitStatus.NOT_IDENTIFIED, (
            f"The data leave a combination of {', '.join(names)} open; predictions near the data may still hold. "
            "Add sizes or fix one of them."
        )
    if len(problem.y) <= problem.basis.shape[1]:
        return FitStatus.TOO_FEW_POINTS, FitStatus.TOO_FEW_POINTS.value
    if certificate.active:
        return (
            FitStatus.AT_BOUND,
            f"The minimum lies on a bound of {', '.join(certificate.active)}; its error there is one-sided and not given.",
        )
    return FitStatus.CONVERGED, FitStatus.CONVERGED.value


def _lost(problem: Problem, theta: Mapping[str, float]) -> list[str]:
    """Exponents of terms that are 0, or on every row below the rounding of the outcome: nothing is known of them."""
    size = problem.y if problem.objective.log else np.log(np.maximum(np.abs(problem.y), 1e-300))
    lost: list[str] = []
    for term in problem.law.terms:
        if not term.powers:
            continue
        if theta[term.coefficient] > 0:
            part = math.log(theta[term.coefficient]) - sum(theta[power] * problem.x[name] for name, power in term.powers.items())
            if np.any(part - size > _NOTHING):
                continue
        lost.extend(term.powers.values())
    return lost or _idle(problem, theta)


def _idle(problem: Problem, theta: Mapping[str, float]) -> list[str]:
    """Coefficients of a law that is no sum of powers which change no prediction when left out, and leave an exponent empty."""
    law = problem.law
    if law.terms or all(item.linear for item in law.parameters):
        return []
    points = {name: np.exp(values) for name, values in problem.x.items()}
    with np.errstate(all="ignore"):
        whole = law.predict(theta, points)
        added = {
            item.name: np.abs(whole - law.predict({**theta, item.name: 0.0}, points)) / np.abs(whole)
            for item in law.parameters
            if item.linear and not item.zero
        }
    return [name for name, share in added.items() if np.all(np.isfinite(share)) and np.all(share <= math.exp(_NOTHING))]


def ladder_of(problem: Problem) -> str | None:
    """How the inputs move together, in words, where they do so on every row: `tokens = 20 parameters`; else None."""
    if len(problem.x) < 2 or len(apart(problem)) < 2:
        return None
    centred = np.stack(list(problem.x.values()), axis=1)
    middle = centred.mean(axis=0)
    centred = centred - middle
    singular = np.linalg.svd(centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-300), compute_uv=False)
    if singular[-1] >= 1e-6:
        return None
    first, second = problem.law.columns[:2]
    total = float(centred[:, 0] @ centred[:, 0])
    slope = float(centred[:, 0] @ centred[:, 1]) / total if total > 0 else math.nan
    if len(problem.x) > 2 or not np.isfinite(slope) or not np.allclose(centred[:, 1], slope * centred[:, 0], atol=1e-5):
        return f"{_listed(problem.law.columns)} move together"
    if slope == 0:
        return f"{second} are the same"
    power = "" if abs(slope - 1) < 1e-5 else f"^{slope:.3g}"
    return f"{second} = {math.exp(middle[1] - slope * middle[0]):.4g} {first}{power}"


def apart(problem: Problem) -> tuple[str, ...]:
    """The free parameters that one ladder cannot separate: all but a constant term, and but an exponent that both terms share."""
    law = problem.law
    constant = {term.coefficient for term in law.terms if not term.powers} or {"E"}
    free = [k for k, name in enumerate(law.names) if name not in constant and np.any(problem.basis[k])]
    bent = [k for k in free if not law.parameters[k].linear]
    shared = len(np.unique(problem.basis[bent] == 1.0, axis=0)) == 1 and len(free) > len(bent)
    return tuple(law.names[k] for k in free if not (shared and k in bent))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
