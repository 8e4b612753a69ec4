"""`Fit`, the result of a fit, with its certificate."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._inference import student
from ._objective import Objective
from ._problem import Problem
from .laws import Law
from .laws._jet import Jet, exp, log

__all__ = ["Certificate", "Combined", "Fit", "FitStatus", "Runner"]

Array: TypeAlias = NDArray[np.float64]


class FitStatus(enum.Enum):
    """What the search ended at. The value is the sentence a user needs; a fit's message may name the parameters."""

    CONVERGED = "The fit is at a minimum: the gradient vanishes and the Hessian is positive definite."
    AT_BOUND = "The minimum lies on a bound of a parameter; its error there is one-sided and not given."
    NOT_IDENTIFIED = "The data leave a combination of parameters open; add sizes, or choose a law with fewer parameters."
    TOO_FEW_POINTS = "As many parameters as points: the curve passes through all of them and no error can be given; add runs."
    NOT_CONVERGED = (
        "No minimum was reached, so these values are not a fit; choose a simpler law or check the data for wrong rows."
    )


@dataclass(frozen=True)
class Runner:
    """Another minimum whose objective lies within 1 % of the best."""

    theta: Mapping[str, float]
    value: float


@dataclass(frozen=True)
class Combined:
    """What runs on one ladder do identify, where both variables move together.

    Args:
        ladder: how they move together, in words.
        apart: the parameters that cannot be told from each other.
        law, over, formula: the law of one variable that holds along the ladder.
        theta, stderr: its parameters and their standard errors.
    """

    ladder: str
    apart: tuple[str, ...]
    law: str
    over: str
    formula: str
    theta: Mapping[str, float]
    stderr: Mapping[str, float]

    @property
    def message(self) -> str:
        """In a sentence."""
        values = ", ".join(f"{name} = {value:.4g}" for name, value in self.theta.items())
        return f"Along the ladder {self.formula} holds, with {values} and x = {self.over}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "ladder": self.ladder,
            "apart": list(self.apart),
            "law": self.law,
            "over": self.over,
            "formula": self.formula,
            "theta": dict(self.theta),
            "stderr": {name: _plain(value) for name, value in self.stderr.items()},
        }


@dataclass(frozen=True)
class Certificate:
    """Why a fit may be believed.

    Args:
        gradient: largest component, as a share of the absolute pulls that cancel in it.
        decrement: how far the objective can still fall (half the Newton decrement squared).
        condition: condition number of the Hessian in the law's own coordinates (logarithms of positive parameters).
        condition_projected: the same after the linear parameters are projected out.
        condition_scaled: of the information matrix with every coordinate scaled to one; above 1e12
            the data leave a combination open.
        basins: local minima of the profile on the grid of exponents.
        starts: how many starts Newton's method had.
        agree: share of them that ended at the reported objective.
        active: parameters on a bound.
        runners: other minima within 1 %.
        iterations: Newton steps.
        combined: what runs on one ladder do identify; None where the inputs move separately.
    """

    gradient: float
    decrement: float
    condition: float
    condition_projected: float
    condition_scaled: float
    basins: int
    starts: int
    agree: float
    active: tuple[str, ...]
    runners: tuple[Runner, ...]
    iterations: int
    combined: Combined | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; None where a number is infinite."""
        return {
            "gradient": _plain(self.gradient),
            "decrement": _plain(self.decrement),
            "condition": _plain(self.condition),
            "condition_projected": _plain(self.condition_projected),
            "condition_scaled": _plain(self.condition_scaled),
            "basins": self.basins,
            "starts": self.starts,
            "agree": self.agree,
            "active": list(self.active),
            "runners": [{"theta": dict(each.theta), "value": each.value} for each in self.runners],
            "iterations": self.iterations,
            "combined": None if self.combined is None else self.combined.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted law.

    Args:
        law: bound to the columns it was fitted over.
        theta: parameter -> value.
        covariance_inner: `(p, p)`, of the fit's coordinates (logarithms of positive parameters).
        objective, value: what was minimised, and its sum at the minimum.
        status, message: what the search ended at; the message names the parameters concerned.
        n: rows used. freedom: n less the parameters that moved. dropped: rows left out.
        residual_sd: scatter of a row about the law on the objective's scale (so 0.01 is 1 % where `objective.log`).
        certificate: why it may be believed.
        outcome: the column fitted.
        digest: hash of law, data and answer.
        problem, u: the search itself, for resampling.
    """

    law: Law
    theta: Mapping[str, float]
    covariance_inner: Array = field(repr=False)
    objective: Objective
    value: float
    status: FitStatus
    message: str
    n: int
    freedom: int
    dropped: int
    residual_sd: float
    certificate: Certificate = field(repr=False)
    outcome: str
    digest: str
    problem: Problem = field(repr=False)
    u: Array = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", MappingProxyType(dict(self.theta)))

    @property
    def over(self) -> tuple[str, ...]:
        """The columns the law runs over."""
        return self.law.columns

    @property
    def covariance(self) -> Array:
        """`(p, p)`, of the parameters themselves, in the order of `theta`."""
        scale = np.array([self.theta[item.name] if item.log else 1.0 for item in self.law.parameters])
        with np.errstate(over="ignore", invalid="ignore"):
            return self.covariance_inner * scale[:, None] * scale

    @property
    def stderr(self) -> dict[str, float]:
        """Standard error of each parameter, the sizes as they are; NaN where the data give none, 0 where it is fixed.

        An error that also counts which sizes were run, as most published ones do, is `resample.bootstrap(fit).stderr`, which
        draws cells. It is the one to quote for a coefficient such as A, whose distribution is skew.
        """
        with np.errstate(invalid="ignore"):
            root = np.sqrt(np.diag(self.covariance))
        return dict(zip(self.law.names, (float(each) for each in root), strict=True))

    def interval(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Student-t interval of each parameter: on the logarithm of a coefficient, on the value of the others and of constants.

        (NaN, NaN) where the data give no error. A profile-likelihood interval is `resample.profile`.
        """
        if self.freedom < 1:
            return dict.fromkeys(self.law.names, (math.nan, math.nan))
        reach = student(level, self.freedom)
        inner = np.sqrt(np.diag(self.covariance_inner))
        result: dict[str, tuple[float, float]] = {}
        for place, item in enumerate(self.law.parameters):
            value, error = self.theta[item.name], float(inner[place])
            if item.name in self.certificate.active:
                result[item.name] = (math.nan, math.nan)
            elif item.log and not item.zero:
                with np.errstate(over="ignore"):
                    result[item.name] = (float(value * np.exp(-reach * error)), float(value * np.exp(reach * error)))
            else:
                half = reach * error * (value if item.log else 1.0)
                result[item.name] = (max(value - half, item.lower), min(value + half, item.upper))
        return result

    def predict(self, at: Mapping[str, Any]) -> Array:
        """The law at points: scale column -> value or array."""
        return self.law.predict(self.theta, at)

    def predict_se(self, at: Mapping[str, Any], *, log: bool = False) -> Array:
        """Standard error of `predict` from the parameters alone (delta method), of the value or of its logarithm.

        It leaves out the scatter of a single run (`residual_sd`) and that the law itself may be wrong (`forecast`).
        """
        value, first = self._slopes(at, log)
        variance = np.einsum("pn,pq,qn->n", first, self.covariance_inner, first)
        return np.sqrt(np.where(variance > 0, variance, np.where(np.isnan(variance), np.nan, 0.0))).reshape(value.shape)

    def predict_covariance(self, at: Mapping[str, Any], *, log: bool = False) -> Array:
        """Covariance `(n, n)` of the predictions at n points, from the parameters alone."""
        _, first = self._slopes(at, log)
        return first.T @ self.covariance_inner @ first

    def _slopes(self, at: Mapping[str, Any], logarithm: bool) -> tuple[Array, Array]:
        """Prediction, or its logarithm, and derivatives `(p, n)` in the fit's coordinates."""
        logs = {name: np.atleast_1d(value) for name, value in self.law.logs(at).items()}
        logs = dict(zip(logs, np.broadcast_arrays(*logs.values()), strict=True))
        count = len(self.law.parameters)
        p: dict[str, Any] = {}
        for place, item in enumerate(self.law.parameters):
            value = float(self.theta[item.name])
            inner = max(math.log(value), -700.0) if item.log and value > 0 else -700.0 if item.log else value
            seed = np.zeros((count, 1))
            seed[place] = 1.0
            p[item.name] = Jet(np.array([inner]), seed)
        with np.errstate(all="ignore"):
            z = self.law.evaluate(p, logs)
            if self.law.logarithmic != logarithm:
                z = log(z) if logarithm else exp(z)
        shape = next(iter(logs.values())).shape
        value = np.broadcast_to(z.value, shape)
        first = np.broadcast_to(z.first, (count, *shape)).reshape(count, -1)
        return value, first

    def to_dict(self, level: float = 0.95) -> dict[str, Any]:
        """The JSON object of `scalelaw fit`; None where the data give no number."""
        return {
            "law": self.law.name,
            "formula": self.law.formula,
            "over": list(self.over),
            "theta": dict(self.theta),
            "stderr": {name: _plain(value) for name, value in self.stderr.items()},
            "interval": {name: [_plain(low), _plain(high)] for name, (low, high) in self.interval(level).items()},
            "level": level,
            "objective": {"name": self.objective.name, "value": self.value},
            "status": self.status.name,
            "message": self.message,
            "n": self.n,
            "dropped": self.dropped,
            "residual_sd": _plain(self.residual_sd),
            "certificate": self.certificate.to_dict(),
            "digest": self.digest,
        }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
