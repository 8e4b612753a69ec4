"""Approach 3: the minimum of a fitted law L(N, D) along C = k N D, in closed form.

For L = E + A N^-alpha + B D^-beta (and any increasing function of A N^-alpha + B D^-beta, such as `skaling`)

    N* = G (C / k)^(beta / (alpha + beta)),   G = (alpha A / (beta B))^(1 / (alpha + beta)),   D* = C / (k N*)

(Hoffmann et al. 2022, arXiv:2203.15556, equation 4). ln N* is differentiable in the law's parameters, so its error follows from
their covariance; the loss at N* is to first order indifferent to N*, so its error is that of the law at (N*, D*).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, InputError
from ..estimate import Estimate
from ..fit import Fit, FitStatus, LeastSquares, Objective, fit
from ._result import Applies, Approach, estimate, missing
from ._runs import Array, Runs

__all__ = ["CLOSED", "LawPath", "closed", "collinear", "fitted", "loss_of", "parametric", "usable"]

CLOSED = ("chinchilla", "chinchilla_shared", "skaling")


@dataclass(frozen=True, eq=False)
class LawPath:
    """N* of a fitted law against compute; `per_token` is k in C = k N D."""

    fit: Fit
    per_token: float

    @property
    def degrees(self) -> float:
        """See `Path.degrees`."""
        return max(self.fit.freedom, 1)

    def at(self, c: Array) -> tuple[Array, Array]:
        """See `Path.at`."""
        nd = c - math.log(self.per_token)
        value, slopes = closed(self.fit.theta, nd)
        J = np.stack([self._column(name, slopes, len(c)) for name in self.fit.law.names])
        variance = np.einsum("pn,pq,qn->n", J, self.fit.covariance_inner, J)
        return value, np.sqrt(np.maximum(variance, 0.0))

    def exponent(self) -> tuple[float, float]:
        """a = beta / (alpha + beta) and its standard error."""
        _, slopes = closed(self.fit.theta, np.array([0.0, 1.0]))
        J = np.array([np.diff(self._column(name, slopes, 2))[0] for name in self.fit.law.names])
        alpha, beta = _exponents(self.fit.theta)
        return beta / (alpha + beta), math.sqrt(max(float(J @ self.fit.covariance_inner @ J), 0.0))

    def _column(self, name: str, slopes: Mapping[str, Array], count: int) -> Array:
        if name == "alpha" and "beta" not in self.fit.theta:
            return slopes["alpha"] + slopes["beta"]
        return slopes.get(name, np.zeros(count))


def closed(theta: Mapping[str, float], nd: Array) -> tuple[Array, dict[str, Array]]:
    """ln N* at ln(C / k), and its derivatives by ln A, ln B, alpha and beta."""
    alpha, beta = _exponents(theta)
    A, B = theta["A"], theta["B"]
    both = alpha + beta
    value = (math.log(alpha * A) - math.log(beta * B) + beta * nd) / both
    one = np.ones_like(nd)
    return value, {
        "A": one / both,
        "B": -one / both,
        "alpha": (1 / alpha - value) / both,
        "beta": (nd - 1 / beta - value) / both,
    }


def _exponents(theta: Mapping[str, float]) -> tuple[float, float]:
    return theta["alpha"], theta.get("beta", theta["alpha"])


def parametric(runs: Runs, law: str = "chinchilla", objective: Objective | None = None) -> Approach:
    """Approach 3, up to what depends on the compute that is asked for."""
    name = "approach_3"
    if law not in CLOSED:
        raise InputError(f"law {law} has no closed form of the optimum", "law", f"Use one of {', '.join(CLOSED)}")
    line = collinear(runs)
    if line:
        return missing(name, Applies.COLLINEAR, line)
    found = fitted(runs, law, objective)
    if isinstance(found, str):
        return missing(name, Applies.NOT_FITTED, found)
    if not usable(found):
        return missing(name, Applies.NOT_FITTED, found.message)
    theta = {key: float(value) for key, value in found.theta.items()}
    told = f"{found.law.formula}: {', '.join(f'{key} {value:.4g}' for key, value in theta.items())} from {found.n} points."
    if found.certificate.active:
        told += f" {', '.join(found.certificate.active)} is on its bound."
    return Approach(name, Applies.YES, told, path=LawPath(found, runs.per_token), detail={"law": law, "theta": theta})


def fitted(runs: Runs, law: str, objective: Objective | None = None) -> Fit | str:
    """The law fitted to the points, or why it cannot be."""
    try:
        return fit(law, runs.table(), weights="repeats", objective=objective)
    except DataError as error:
        return str(error)


def usable(found: Fit) -> bool:
    """Whether the fit has an optimum to trust: a checked minimum with A, B and the exponents inside their bounds; E may be 0."""
    if found.status is FitStatus.AT_BOUND:
        return set(found.certificate.active) <= {"E"}
    return found.status is FitStatus.CONVERGED


def collinear(runs: Runs) -> str:
    """What the data do identify where ln D is a line in ln N; empty where it is not.

    On D = r N^s the law is E + A N^-alpha + B r^-beta N^(-s beta): one power in all but name, so E and one exponent are known.
    """
    n, d = runs.n - runs.n.mean(), runs.d - runs.d.mean()
    if len(runs) < 2 or np.ptp(n) < 1e-9 or np.ptp(d) < 1e-9:
        only = "one size" if np.ptp(n) < 1e-9 else "one number of tokens"
        return f"All runs have {only}."
    slope = float(n @ d / (n @ n))
    # Along one budget D falls as N rises: there the two powers part, and the fit may try.
    if slope <= 0 or float(np.sqrt(np.mean((d - slope * n) ** 2))) > 0.05:
        return ""
    fixed = abs(slope - 1) < 0.02
    where = f"{math.exp(float(np.mean(runs.d - runs.n))):.3g} tokens per parameter" if fixed else f"D ~ N^{slope:.3g}"
    try:
        ladder = fit("saturating", runs.table(), over="compute", objective=LeastSquares())
    except DataError:
        return f"They keep {where}."
    E, A, power = (ladder.theta[key] for key in ("E", "A", "alpha"))
    return f"They keep {where}; what they identify is the loss on that line, E + F C^-g with E {E:.4g}, F {A:.4g}, g {power:.4g}."


def loss_of(path: LawPath, log_n: float, log_d: float, level: float) -> Estimate:
    """The law's loss at a point, with its interval from the parameters."""
    point = {"parameters": math.exp(log_n), "tokens": math.exp(log_d)}
    value = math.log(float(path.fit.predict(point)))
    return estimate(value, float(path.fit.predict_se(point, log=True)[0]), path.degrees, level)
