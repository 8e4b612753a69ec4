"""How far the answer moves with choices that a paper makes silently: `sensitivity(trials, compute) -> Sensitivity`.

Objective x law x what N counts x which points are dropped, every combination a certified fit. On the public Chinchilla points
such choices spread N* fourfold; a reader should see the spread beside the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .allocate._parametric import closed, collinear, fitted, usable
from .allocate._runs import Count, Runs, budgets_of, gather, sizes_of
from .errors import DataError, InputError, UnknownNameError
from .estimate import number
from .fit import Absolute, Fit, Huber, LeastSquares, Objective
from .trials import Trials

__all__ = ["DROPPED", "LAWS", "OBJECTIVES", "Row", "Sensitivity", "Spread", "sensitivity"]

Array: TypeAlias = NDArray[np.float64]

OBJECTIVES: Mapping[str, Objective] = {
    "huber": Huber(),
    "least_squares": LeastSquares(),
    "absolute": Absolute(),
}
LAWS = ("chinchilla", "chinchilla_shared", "skaling", "kaplan")
DROPPED: Mapping[str, str] = {
    "none": "every point",
    "highest_5": "without the 5 highest losses",
    "largest_budgets": "without the largest budgets, at least a twentieth of the points",
    "smallest_sizes": "without the smallest sizes, at least a twentieth of the points",
}


@dataclass(frozen=True)
class Row:
    """One combination of choices and what it says at the compute.

    Args:
        objective, law, count, dropped: the choices; `count` is the name of a `Count`, `dropped` a key of `DROPPED`.
        theta: of the fit. parameters, tokens, exponent, loss: N*, D*, the local a of N* ~ C^a, and the loss there; None where the
            combination has no answer.
        n: points. reason: why there is no answer; empty where there is.
    """

    objective: str
    law: str
    count: str
    dropped: str
    theta: Mapping[str, float] | None
    parameters: float | None
    tokens: float | None
    exponent: float | None
    loss: float | None
    n: int
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("objective", "law", "count", "dropped")
        numbers = ("parameters", "tokens", "exponent", "loss")
        return {
            **{name: getattr(self, name) for name in names},
            "theta": None if self.theta is None else dict(self.theta),
            **{name: number(getattr(self, name)) for name in numbers},
            "n": self.n,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Spread:
    """Range of one number over the rows that have an answer.

    Args:
        low, high: its ends. factor: high / low.
        by: choice -> the factor that this choice alone makes, the others as in the first row (huber, chinchilla, every point).
    """

    low: float
    high: float
    factor: float
    by: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"low": number(self.low), "high": number(self.high), "factor": number(self.factor), "by": dict(self.by)}


@dataclass(frozen=True)
class Sensitivity:
    """The panel.

    Args:
        compute: FLOPs. rows: every combination, the default first.
        spread: of parameters, exponent and loss; empty where no row has an answer.
        notes: of the data, a sentence each.
    """

    compute: float
    rows: tuple[Row, ...]
    spread: Mapping[str, Spread]
    notes: tuple[str, ...] = ()

    @property
    def answered(self) -> tuple[Row, ...]:
        """The rows with an answer."""
        return tuple(row for row in self.rows if row.parameters is not None)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw sensitivity`."""
        return {
            "compute": self.compute,
            "rows": [row.to_dict() for row in self.rows],
            "spread": {name: each.to_dict() for name, each in self.spread.items()},
            "notes": list(self.notes),
        }


def sensitivity(
    trials: Trials,
    compute: float,
    *,
    objectives: Sequence[str] | None = None,
    law: Sequence[str] | None = None,
    dropped: Sequence[str] | None = None,
    fixed: bool = False,
) -> Sensitivity:
    """N*, exponent and loss at `compute` FLOPs under every combination of choices.

    Args:
        trials: runs with parameters, loss, and tokens or compute.
        objectives: keys of `OBJECTIVES`; law: names from `LAWS`; dropped: keys of `DROPPED`; default all.
        fixed: rows as they stand where a hyperparameter varies within (N, D).

    Raises:
        DataError: the table cannot be read. InputError: a choice is unknown, or the compute is not positive.
    """
    if not (compute > 0 and math.isfinite(compute)):
        raise InputError(f"compute is {compute:g}", "compute", "Give a positive number of FLOPs, for example 1e24")
    chosen = (
        _chosen("objective", objectives, tuple(OBJECTIVES)),
        _chosen("law", law, LAWS),
        _chosen("dropped", dropped, tuple(DROPPED)),
    )
    tables = [gather(trials, "parameters", fixed=fixed)]
    if tables[0].count is not Count.AS_GIVEN:
        tables.append(gather(trials, "total", fixed=fixed))
    rows = [
        _row(runs, compute, objective, form, drop)
        for runs in tables
        for drop in chosen[2]
        for form in chosen[1]
        for objective in chosen[0]
    ]
    names = ("parameters", "exponent", "loss")
    answered = [row for row in rows if row.parameters is not None]
    spread = {name: _spread(rows, name) for name in names} if answered else {}
    return Sensitivity(compute, tuple(rows), spread, tables[0].notes)


def _chosen(kind: str, asked: Sequence[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    for name in asked or ():
        if name not in known:
            raise UnknownNameError(kind, name, known)
    return known if asked is None else tuple(asked)


def _row(runs: Runs, compute: float, objective: str, law: str, dropped: str) -> Row:
    count = runs.count.name
    try:
        kept = _dropped(runs, dropped)
        line = collinear(kept)
        if line:
            raise DataError(line, "", "Vary the tokens per parameter")
        found = fitted(kept, law, OBJECTIVES[objective])
        if isinstance(found, str):
            raise DataError(found)
        if not usable(found):
            raise DataError(found.message)
        n, slope, loss = _optimum(found, compute, kept)
    except DataError as error:
        return Row(objective, law, count, dropped, None, None, None, None, None, 0, str(error))
    theta = {name: float(value) for name, value in found.theta.items()}
    tokens = compute / (runs.per_token * math.exp(n))
    return Row(objective, law, count, dropped, theta, math.exp(n), tokens, slope, loss, found.n, "")


def _dropped(runs: Runs, dropped: str) -> Runs:
    keep = np.ones(len(runs), dtype=bool)
    if dropped == "highest_5":
        keep[np.argsort(runs.y, kind="stable")[-5:]] = False
    elif dropped in ("largest_budgets", "smallest_sizes"):
        groups = budgets_of(runs.c)[::-1] if dropped == "largest_budgets" else sizes_of(runs.n)
        for rows in groups:
            keep[rows] = False
            if np.sum(~keep) >= len(runs) / 20:
                break
    if not keep.any():
        raise DataError(f"nothing is left {DROPPED[dropped]}", "", "Give more runs")
    return runs.where(keep)


def _optimum(found: Fit, compute: float, runs: Runs) -> tuple[float, float, float]:
    """ln N* at the compute, the local exponent a = d ln N* / d ln C, and the loss there."""
    nd = math.log(compute / runs.per_token)
    if found.law.name == "kaplan":
        # Its minimum is that of A N^-r + D_c / D with r = alpha / beta and A = N_c^r.
        ratio = found.theta["alpha"] / found.theta["beta"]
        log_A, log_B = ratio * math.log(found.theta["N_c"]), math.log(found.theta["D_c"])
        slope = 1 / (1 + ratio)
        n = (math.log(ratio) + log_A - log_B + nd) / (1 + ratio)
    else:
        alpha, beta = found.theta["alpha"], found.theta.get("beta", found.theta["alpha"])
        slope = beta / (alpha + beta)
        n = float(closed(found.theta, np.array([nd]))[0][0])
    if not -700 < n < 700 or not -700 < nd - n < 700:
        raise DataError("its optimum lies outside what a number can hold", "", "Choose another law")
    return n, slope, float(found.predict({"parameters": math.exp(n), "tokens": math.exp(nd - n)}))


def _spread(rows: Sequence[Row], name: str) -> Spread:
    values = [float(getattr(row, name)) for row in rows if getattr(row, name) is not None]
    default = rows[0]
    by: dict[str, float] = {}
    axes = ("objective", "law", "count", "dropped")
    for axis in axes:
        alike = [row for row in rows if all(getattr(row, other) == getattr(default, other) for other in axes if other != axis)]
        here = [float(getattr(row, name)) for row in alike if getattr(row, name) is not None]
        if len(here) > 1:
            by[axis] = max(here) / min(here)
    return Spread(min(values), max(values), max(values) / min(values), by)
