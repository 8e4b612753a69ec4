"""Compute-optimal size and data, by three approaches side by side: `allocate(trials, compute) -> Allocation`.

Approach 1 reads the envelope of the curves, approach 2 the lowest point of isoFLOP profiles, approach 3 a fitted law L(N, D)
(Hoffmann et al. 2022, arXiv:2203.15556). They fail in different ways, so what they agree on may be believed, and their
disagreement is a number of the result.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import DataError, InputError
from ..estimate import Estimate, quantile_t
from ..fit import LeastSquares, Objective, fit
from ..trials import Trials
from ._compare import disagreement
from ._envelope import envelope
from ._isoflop import isoflop
from ._ladder import Experiment, Known, Ladder, Rung
from ._parametric import CLOSED, LawPath, loss_of, parametric
from ._pin import pin, pinned
from ._result import FACTORS, Allocation, Applies, Approach, Basin, Budget, Disagreement, Line, Special, estimate, missing
from ._rounding import Choice, Rounded, preferred, round_to
from ._runs import Array, Count, Runs, gather
from ._shapes import Family, Shape, Shapes, read_shapes
from ._special import R_D, R_N, data_limited, inference_aware

__all__ = [
    "Allocation",
    "Applies",
    "Approach",
    "Basin",
    "Budget",
    "Choice",
    "Count",
    "Disagreement",
    "Experiment",
    "Family",
    "Known",
    "Ladder",
    "Rounded",
    "Rung",
    "Shape",
    "Special",
    "allocate",
    "pin",
    "preferred",
    "read_shapes",
]

_FAR = 30 * math.log(10)  # from every run: an optimum that far is no network, and further ones are no number


def allocate(
    trials: Trials | None,
    compute: float,
    *,
    level: float = 0.9,
    count: str = "parameters",
    curve: str = "cubic",
    law: str = "chinchilla",
    objective: Objective | None = None,
    curves: Trials | None = None,
    fixed: bool = False,
    tolerance: float = 0.005,
    inference_tokens: float | None = None,
    unique_tokens: float | None = None,
    fade: tuple[float, float] = (R_D, R_N),
    shapes: Shapes | None = None,
    batch_tokens: float | None = None,
    experiment: Experiment | None = None,
) -> Allocation:
    """Compute-optimal N and D at `compute` FLOPs.

    Args:
        trials: runs with parameters, loss, and tokens or compute (C = 6 N D gives the other); None asks for a first ladder.
        compute: the budget, FLOPs. level: of the intervals.
        count: "parameters" (without embeddings) or "total" (with the column embedding_parameters).
        curve: of approach 2: "cubic", or "parabola" as published (biased where budgets are not centred on their optimum).
        law: of approach 3: chinchilla, chinchilla_shared or skaling.
        objective: what its fit minimises; default Huber of log residuals.
        curves: points along training curves for approach 1, with the same columns (tokens are those so far); default the
            trials. A point before the end of a learning-rate decay lies above the loss of a run that ends there.
        fixed: take rows as they stand where a hyperparameter varies within (N, D), instead of their best case.
        tolerance: relative excess loss that bounds the basin.
        inference_tokens: tokens the model will serve; adds the inference-aware answer.
        unique_tokens: tokens there are; adds the data-limited answer. fade: its (R_D, R_N).
        shapes: what can be built (`read_shapes`); adds the shapes near the optimum. batch_tokens: tokens of their steps.
        experiment: what may be spent on further runs; adds the ladder that pins the optimum best (`pin`).

    Raises:
        DataError: the table lacks a column, or holds a scale or a loss that is not positive.
        InputError: the call is wrong. What the data leave open is a status of an approach instead.
    """
    _check(compute, level, curve, law, tolerance)
    how = _How(compute, level, curve, law, objective, tolerance)
    if batch_tokens is not None and shapes is None:
        shapes = Family()
    runs = None if trials is None else gather(trials, count, fixed=fixed)
    if trials is None or runs is None:
        found = _begun(how, experiment)
    else:
        approaches = _approaches(runs, None if curves is None else gather(curves, count, fixed=True), how)
        other = None if runs.count is Count.AS_GIVEN else _other(trials, count, fixed, how)
        reach, told = compute / math.exp(float(runs.c.max())), (len(runs), runs.notes)
        apart = disagreement(approaches)
        found = Allocation(compute, level, runs.count, runs.per_token, approaches, apart, {}, other, reach, *told)
    return replace(
        found,
        special=_special(found.approaches[2], how, inference_tokens, unique_tokens, fade),
        rounded=None if shapes is None else round_to(found, shapes, batch_tokens),
        ladder=None if experiment is None else pinned(compute, experiment, runs, objective),
    )


def _other(trials: Trials, count: str, fixed: bool, how: _How) -> tuple[Count, tuple[Approach, ...]]:
    """The approaches with N counted the other way."""
    again = gather(trials, "total" if count == "parameters" else "parameters", fixed=fixed)
    return again.count, _approaches(again, None, how)


def _begun(how: _How, experiment: Experiment | None) -> Allocation:
    """The allocation before any run: no approach applies."""
    if experiment is None:
        raise InputError("there are no runs", "allocate", "Give a table, or what may be spent on a first ladder of runs")
    names = ("approach_1", "approach_2", "approach_3")
    none = tuple(missing(name, Applies.NO_DATA, "Train the ladder first.") for name in names)
    return Allocation(how.compute, how.level, Count.AS_GIVEN, 6.0, none, disagreement(none), {}, None, math.nan, 0, ())


def _special(
    third: Approach, how: _How, served: float | None, unique: float | None, fade: tuple[float, float]
) -> dict[str, Special]:
    special: dict[str, Special] = {}
    if served is not None:
        special["inference_aware"] = inference_aware(third, how.compute, served, how.level)
    if unique is not None:
        special["data_limited"] = data_limited(third, how.compute, unique, how.level, fade)
    return special


class _How:
    """What was asked for."""

    def __init__(self, compute: float, level: float, curve: str, law: str, objective: Objective | None, tolerance: float) -> None:
        self.compute, self.level, self.curve, self.law = compute, level, curve, law
        self.objective, self.tolerance = objective, tolerance


def _check(compute: float, level: float, curve: str, law: str, tolerance: float) -> None:
    if not (compute > 0 and math.isfinite(compute)):
        raise InputError(f"compute is {compute:g}", "compute", "Give a positive number of FLOPs, for example 1e24")
    if not 0 < level < 1:
        raise InputError(f"{level:g} is not between 0 and 1", "level", "Give a share, for example 0.9")
    if curve not in ("cubic", "parabola"):
        raise InputError(f"unknown curve {curve!r}", "curve", "Use cubic or parabola")
    if law not in CLOSED:
        raise InputError(f"law {law!r} has no closed form of the optimum", "law", f"Use one of {', '.join(CLOSED)}")
    if not 0 < tolerance < 1:
        raise InputError(f"{tolerance:g} is not between 0 and 1", "tolerance", "Give a relative excess loss, for example 0.005")


def _approaches(runs: Runs, lines: Runs | None, how: _How) -> tuple[Approach, ...]:
    first = envelope(runs if lines is None else lines)
    second = isoflop(runs, how.curve)
    third = parametric(runs, how.law, how.objective)
    return tuple(_at(each, runs, how) for each in (first, second, third))


def _at(approach: Approach, runs: Runs, how: _How) -> Approach:
    """The approach's numbers at the compute that was asked for."""
    path = approach.path
    if path is None:
        return approach
    c = math.log(how.compute)
    (log_n,), (se,) = (tuple(map(float, each)) for each in path.at(np.array([c])))
    log_d = c - math.log(runs.per_token) - log_n
    if max(abs(log_n - float(runs.n.mean())), abs(log_d - float(runs.d.mean()))) > _FAR:
        told = f"It would have 1e{log_n / math.log(10):+.0f} parameters."
        return missing(approach.name, Applies.NO_NETWORK, told, approach.budgets)
    degrees, level = path.degrees, how.level
    if isinstance(path, LawPath):
        slope, slope_se = path.exponent()
        loss: Estimate | None = loss_of(path, log_n, log_d, level)
    else:
        assert isinstance(path, Line)
        slope, slope_se = float(path.beta[1]), float(np.sqrt(path.covariance[1, 1]))
        loss = _loss_along(approach, how)
    half = quantile_t(0.5 + 0.5 * level, degrees) * slope_se
    excess = _excess(approach, log_n, how.compute, runs.per_token)
    return replace(
        approach,
        parameters=estimate(log_n, se, degrees, level),
        tokens=estimate(log_d, se, degrees, level),
        exponent=Estimate(slope, slope - half, slope + half, level, slope_se),
        tokens_per_parameter=estimate(log_d - log_n, 2 * se, degrees, level),
        loss=loss,
        basin=None if excess is None else _basin(excess, log_n, how.tolerance),
        excess=excess,
    )


def _loss_along(approach: Approach, how: _How) -> Estimate | None:
    """The loss of the lowest points as a saturating law of compute; None with fewer than five budgets."""
    used = [each for each in approach.budgets if each.used]
    if len(used) < 5:
        return None
    table = Trials.from_columns({"compute": [each.compute for each in used], "loss": [each.lowest for each in used]})
    try:
        found = fit("saturating", table, over="compute", objective=LeastSquares())
    except DataError:
        return None
    point = {"compute": how.compute}
    value = float(found.predict(point))
    se = float(found.predict_se(point, log=True)[0])
    return estimate(math.log(value), se, max(found.freedom, 1), how.level) if value > 0 else None


def _excess(approach: Approach, log_n: float, compute: float, per_token: float) -> Any:
    """Relative excess loss as a function of ln N - ln N* at the compute; None where the approach knows only N*."""
    path = approach.path
    if isinstance(path, LawPath):
        nd = math.log(compute / per_token)

        def along(u: Array) -> Array:
            n = log_n + np.append(u, 0.0)
            loss = path.fit.predict({"parameters": np.exp(n), "tokens": np.exp(nd - n)})
            return loss[:-1] / loss[-1] - 1

        return along
    used = [each for each in approach.budgets if each.used]
    if not used:
        return None
    # The curvature falls with compute, as the reducible part of the loss does: h ~ C^-q with q between 0 and 0.3.
    c = np.log([each.compute for each in used])
    logs = np.log([each.curve[0] for each in used])
    slope = float(np.clip(np.polyfit(c, logs, 1)[0], -0.3, 0.0)) if len(used) > 2 else 0.0
    h = math.exp(float(logs.mean()) + slope * (math.log(compute) - float(c.mean())))
    k = h * float(np.mean([each.curve[1] / each.curve[0] for each in used]))

    def bowl(u: Array) -> Array:
        # Past its turning point a cubic would fall again: it is held there.
        turn = abs(h / (3 * k)) if k else math.inf
        u = np.where(u * k < 0, np.clip(u, -turn, turn), u)
        return np.expm1(0.5 * h * u**2 + k * u**3)

    return bowl


def _basin(excess: Any, log_n: float, tolerance: float) -> Basin:
    u = np.linspace(0.0, math.log(1e4), 4001)
    ends: list[float] = []
    for sign in (-1.0, 1.0):
        over = np.flatnonzero(excess(sign * u) > tolerance)
        ends.append(math.exp(log_n + sign * float(u[over[0]])) if len(over) else (0.0 if sign < 0 else math.inf))
    penalties = {factor: float(value) for factor, value in zip(FACTORS, excess(np.log(FACTORS)), strict=True)}
    return Basin(penalties, tolerance, ends[0], ends[1])
