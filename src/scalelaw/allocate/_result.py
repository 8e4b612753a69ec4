"""The nouns of an allocation."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..estimate import Estimate, number, quantile_t
from ._runs import Array, Count

if TYPE_CHECKING:
    from ._ladder import Ladder
    from ._rounding import Rounded

__all__ = [
    "Allocation",
    "Applies",
    "Approach",
    "Basin",
    "Budget",
    "Disagreement",
    "Line",
    "Path",
    "Special",
    "bounded",
    "estimate",
    "missing",
]

FACTORS = (0.25, 0.5, 2.0, 4.0)


class Applies(enum.Enum):
    """Whether an approach applies to the data. The value is the sentence a report prints; the reason names the numbers."""

    YES = "The approach applies."
    TOO_FEW_SIZES = "Too few sizes trained over overlapping compute: give training curves, or train each size at several lengths."
    NO_HANDOVER = "No handover between neighbouring sizes lies inside the data: train the sizes longer or shorter."
    NO_BUDGET = "No compute budget holds enough sizes: train at least four sizes at equal compute."
    NO_MINIMUM = "No budget's minimum is bracketed by its sizes: add sizes beyond the edge that is named."
    ONE_BUDGET = "Only one budget has a bracketed minimum, and an exponent needs two: add a budget."
    COLLINEAR = "The runs lie on one line in (ln N, ln D), so size and data cannot be told apart: vary the tokens per parameter."
    NOT_FITTED = "The parametric law could not be fitted."
    NO_NETWORK = "Its optimum lies a factor of 1e30 or more from every run, where no network is."
    NO_DATA = "There are no runs."


class Path(Protocol):
    """N* against compute."""

    @property
    def degrees(self) -> float:
        """Of freedom of Student's t."""
        ...

    def at(self, c: Array) -> tuple[Array, Array]:
        """ln N* and its standard error at ln compute `(n,)`."""
        ...


@dataclass(frozen=True, eq=False)
class Line:
    """ln N* = level + slope (ln C - centre).

    Args:
        beta: (level, slope). covariance: theirs, `(2, 2)`. centre: ln compute. degrees: of freedom.
    """

    beta: Array
    covariance: Array
    centre: float
    degrees: float

    def at(self, c: Array) -> tuple[Array, Array]:
        """See `Path.at`."""
        X = np.stack([np.ones_like(c), c - self.centre], axis=1)
        return X @ self.beta, np.sqrt(np.einsum("ni,ij,nj->n", X, self.covariance, X))


@dataclass(frozen=True)
class Basin:
    """What deviating from N* costs at the same compute.

    Args:
        penalties: factor on N* -> relative excess loss (0.01 is 1 %).
        tolerance: relative excess loss. low, high: N within the tolerance; infinite where the loss stays inside it.
    """

    penalties: Mapping[float, float]
    tolerance: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        penalties = {f"{factor:g}": number(value) for factor, value in self.penalties.items()}
        return {"penalties": penalties, "tolerance": self.tolerance, "low": number(self.low), "high": number(self.high)}


@dataclass(frozen=True, eq=False)
class Budget:
    """One isoFLOP profile.

    Args:
        compute: FLOPs. parameters, loss: its points, the loss moved to that compute.
        best, best_se: ln N of the minimum and its standard error; NaN where there is none.
        lowest: loss at the minimum.
        curve: (curvature, skew) of ln loss about the minimum: h/2 u^2 + k u^3 with u = ln N - best.
        used: whether N* ~ C^a was fitted to it. reason: why not.
    """

    compute: float
    parameters: Array
    loss: Array
    best: float
    best_se: float
    lowest: float
    curve: tuple[float, float]
    used: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "compute": self.compute,
            "sizes": len(np.unique(self.parameters)),
            "parameters": number(math.exp(self.best)) if self.used else None,
            "loss": number(self.lowest) if self.used else None,
            "se": number(self.best_se) if self.used else None,
            "used": self.used,
            "reason": self.reason,
        }


@dataclass(frozen=True, eq=False)
class Approach:
    """One way to the compute-optimal N and D.

    Args:
        name: approach_1 (envelope), approach_2 (isoFLOP), approach_3 (parametric law).
        applies: whether it does; where not, every estimate is None.
        reason: how it was made, or why not, with the numbers.
        parameters, tokens: N* and D* at the compute; `stderr` is that of their logarithms.
        exponent: a of N* ~ C^a. tokens_per_parameter: D* / N*. loss: at N*, D*.
        basin: cost of deviating.
        path: N* against compute. budgets: its isoFLOP profiles, where it has some.
        excess: ln N - ln N* -> relative excess loss at the compute, where the approach knows the loss around N*.
    """

    name: str
    applies: Applies
    reason: str
    parameters: Estimate | None = None
    tokens: Estimate | None = None
    exponent: Estimate | None = None
    tokens_per_parameter: Estimate | None = None
    loss: Estimate | None = None
    basin: Basin | None = None
    path: Path | None = field(default=None, repr=False)
    budgets: tuple[Budget, ...] = field(default=(), repr=False)
    excess: Any = field(default=None, repr=False)
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; null where the approach does not apply."""
        names = ("parameters", "tokens", "exponent", "tokens_per_parameter", "loss")
        found: dict[str, Estimate | None] = {name: getattr(self, name) for name in names}
        values = {name: None if each is None else number(each.value) for name, each in found.items()}
        interval = {name: [number(each.low), number(each.high)] for name, each in found.items() if each is not None}
        return {
            "name": self.name,
            **values,
            "interval": interval or None,
            "basin": None if self.basin is None else self.basin.to_dict(),
            "status": self.applies.name,
            "reason": self.reason,
            **({"budgets": [each.to_dict() for each in self.budgets]} if self.budgets else {}),
            **self.detail,
        }


@dataclass(frozen=True)
class Special:
    """An allocation under another objective: serving costs, or too few unique tokens. From approach 3's law.

    Args:
        name: inference_aware or data_limited.
        parameters, tokens: of the answer, None where approach 3 does not apply.
        numbers: what else to say, plain values.
        reason: how it was made, or why not.
    """

    name: str
    parameters: Estimate | None
    tokens: Estimate | None
    numbers: Mapping[str, float]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        pair = {"parameters": self.parameters, "tokens": self.tokens}
        return {
            **{name: None if each is None else number(each.value) for name, each in pair.items()},
            "interval": {name: [number(each.low), number(each.high)] for name, each in pair.items() if each is not None} or None,
            **{name: number(value) for name, value in self.numbers.items()},
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Disagreement:
    """How far the approaches are apart.

    Args:
        value: range of ln N* over the approaches, in pooled standard errors; None with fewer than two approaches.
        factor: largest N* over the smallest.
        cost: largest relative excess loss of taking one approach's N* where another is right.
        pairs: (taken, right, relative excess loss).
        message: a sentence.
    """

    value: float | None
    factor: float | None
    cost: float | None
    pairs: tuple[tuple[str, str, float], ...]
    message: str

    def to_dict(self) -> dict[str, Any]:
        """What stands beside the one number in JSON."""
        pairs = [{"taken": taken, "right": right, "excess": number(excess)} for taken, right, excess in self.pairs]
        return {"factor": number(self.factor), "cost": number(self.cost), "pairs": pairs, "message": self.message}


@dataclass(frozen=True, eq=False)
class Allocation:
    """Compute-optimal N and D at a budget, by three approaches.

    Args:
        compute: FLOPs. level: of the intervals.
        count: what N counts. per_token: k in C = k N D.
        approaches: approach_1, approach_2, approach_3, in this order.
        disagreement: between those that apply.
        special: inference-aware and data-limited answers that were asked for, by name.
        other: the same approaches with N counted the other way, where the data allow both.
        reach: compute over the largest compute in the data.
        runs: points used. notes: what was derived or averaged.
        rounded: shapes near the optimum, where shapes were given.
        ladder: the runs that would pin the optimum best, where something may be spent on them.
    """

    compute: float
    level: float
    count: Count
    per_token: float
    approaches: tuple[Approach, ...]
    disagreement: Disagreement
    special: Mapping[str, Special]
    other: tuple[Count, tuple[Approach, ...]] | None
    reach: float
    runs: int
    notes: tuple[str, ...]
    rounded: Rounded | None = None
    ladder: Ladder | None = None

    def approach(self, name: str) -> Approach:
        """The approach of that name."""
        return next(each for each in self.approaches if each.name == name)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw allocate`."""
        result: dict[str, Any] = {
            "compute": self.compute,
            "level": self.level,
            "count": self.count.name,
            "message": self.count.value,
            "per_token": self.per_token,
            "approaches": [each.to_dict() for each in self.approaches],
            "disagreement": number(self.disagreement.value),
            "disagreement_detail": self.disagreement.to_dict(),
            "reach": number(self.reach),
            "n": self.runs,
            "notes": list(self.notes),
        }
        if self.other is not None:
            kind, approaches = self.other
            keys = ("name", "parameters", "exponent", "reason")
            rows = [{key: each.to_dict()[key] for key in keys} for each in approaches]
            result["other_count"] = {"count": kind.name, "message": kind.value, "approaches": rows}
        asked = {"rounded": self.rounded, "ladder": self.ladder, **self.special}
        return result | {name: each.to_dict() for name, each in asked.items() if each is not None}


def estimate(log_value: float, se: float, degrees: float, level: float) -> Estimate:
    """exp(log_value) with a Student-t interval on its logarithm; no ends where the error is unknown."""
    value = bounded(log_value)
    if not math.isfinite(se):
        return Estimate(value, math.nan, math.nan, level)
    half = quantile_t(0.5 + 0.5 * level, degrees) * se
    return Estimate(value, bounded(log_value - half), bounded(log_value + half), level, se)


def missing(name: str, applies: Applies, detail: str = "", budgets: tuple[Budget, ...] = ()) -> Approach:
    """An approach that does not apply, and why."""
    return Approach(name, applies, f"{applies.value} {detail}".strip(), budgets=budgets)


def bounded(value: float) -> float:
    """exp(value), infinite where it overflows."""
    return math.exp(value) if value < 700 else math.inf
