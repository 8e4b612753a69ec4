"""How far the approaches are apart, in one number, and whether the law of approach 3 fits the profiles of approach 2."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..estimate import quantile_t
from ._isoflop import WINDOW
from ._parametric import LawPath
from ._result import Approach, Budget, Disagreement
from ._runs import Array

__all__ = ["contradiction", "disagreement", "misfit"]

# 95 % quantiles where every approach is right: benchmarks/allocation.
_LIMITS = {2: 1.8, 3: 1.9}
# Exceeded in one in twenty data sets or fewer where the law holds: benchmarks/allocation.
_MISFIT = 1.3


def disagreement(approaches: Sequence[Approach]) -> Disagreement:
    """The range of ln N* over the approaches in units of their pooled standard error.

        value = (max_i ln N*_i - min_i ln N*_i) / sqrt(mean_i se_i^2)

    In simulated worlds where every approach is right it exceeds 1.8 (two of them) or 1.9 (three) in one data set of twenty, less
    than independent errors would: the approaches read the same runs (docs/allocation.md).
    Beside it stands what the disagreement costs: the relative excess loss of training at one approach's N* where another
    approach is right.
    """
    found = [each for each in approaches if each.parameters is not None]
    if len(found) < 2:
        what = "only one approach applies" if found else "no approach applies"
        return Disagreement(None, None, None, (), f"There is nothing to compare: {what}.")
    logs = np.log([each.parameters.value for each in found if each.parameters is not None])
    errors = np.array([each.parameters.stderr for each in found if each.parameters is not None])
    spread = float(np.ptp(logs))
    pooled = float(np.sqrt(np.mean(errors**2)))
    value = spread / pooled if pooled > 0 else math.nan
    pairs = tuple(
        (taken.name, right.name, max(float(right.excess(np.array([x - z]))[0]), 0.0))
        for taken, x in zip(found, logs, strict=True)
        for right, z in zip(found, logs, strict=True)
        if taken is not right and right.excess is not None
    )
    cost = max((excess for *_, excess in pairs), default=None)
    limit = _LIMITS[len(found)]
    verdict = "agree within their errors" if value <= limit else "disagree by more than their errors: at least one is biased here"
    factor = math.exp(min(spread, 700))
    message = f"The {len(found)} approaches {verdict} ({value:.2g} standard errors; N* within a factor {factor:.3g})."
    if cost is not None:
        message += f" Taking one where another is right costs at most {100 * cost:.2g} % of the loss."
    return Disagreement(value, factor, cost, pairs, message)


def contradiction(second: Approach, third: Approach, compute: float, per_token: float, level: float = 0.9) -> str:
    """Why the profiles of approach 2 speak against the law of approach 3 at `compute`; empty where they do not.

    They do where N* of the law lies outside their interval, and where the law misses them by more than their own scatter
    (`misfit` above 1.3): with few or noisy profiles that interval is wide, and holds what a law that does not fit says.
    """
    if second.path is None or third.path is None:
        return ""
    at = np.array([math.log(compute)])
    (own, se), law = (float(each[0]) for each in second.path.at(at)), float(third.path.at(at)[0][0])
    if not abs(law - own) <= quantile_t(0.5 + 0.5 * level, second.path.degrees) * se:
        return "lies outside its interval"
    return "misses its profiles by more than their scatter" if misfit(second, third, per_token) > _MISFIT else ""


def misfit(second: Approach, third: Approach, per_token: float) -> float:
    """Mean square by which the law misses the profiles, over that by which the runs do; 0 where they cannot tell.

        F = (S_law - S_profiles) / (f_law - f_profiles) / (S_profiles / f_profiles)

    with S = sum w (ln L - fit)^2 over the runs of the budgets that approach 2 uses, w = 1 / (1 + (excess / 5 %)^2)^2 its weights,
    f_law = sum w - 5 and f_profiles = sum w - 3 budgets - 1: a lowest point and a curvature of each, and one skew. It is the
    classical test of lack of fit with the profiles in the place of replicates (Draper and Smith 1998, chapter 2).
    """
    used = [each for each in second.budgets if each.used]
    if not used or not isinstance(third.path, LawPath):
        return 0.0
    count = law = profiles = 0.0
    for budget in used:
        weight, own = _weighed(budget)
        n = budget.parameters
        told = third.path.fit.predict({"parameters": n, "tokens": budget.compute / (per_token * n)})
        law += float(np.sum(weight * (np.log(budget.loss) - np.log(told)) ** 2))
        profiles += float(np.sum(weight * own**2))
        count += float(weight.sum())
    free = count - 3 * len(used) - 1
    more = count - 5 - free
    if free < 1 or more < 1 or not profiles > 0:
        return 0.0
    return max(law - profiles, 0.0) / more / (profiles / free)


def _weighed(budget: Budget) -> tuple[Array, Array]:
    """Of each run of a profile, its weight and ln loss over the profile."""
    u, over = np.log(budget.parameters) - budget.best, np.log(budget.loss) - math.log(budget.lowest)
    h, k = budget.curve
    return 1 / (1 + (np.expm1(np.maximum(over, 0.0)) / WINDOW) ** 2) ** 2, over - 0.5 * h * u**2 - k * u**3
