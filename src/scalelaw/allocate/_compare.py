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

__all__ = ["contradiction", "disagreement", "misfit", "scatter"]

# 95 % quantiles where every approach is right: benchmarks/allocation.
_LIMITS = {2: 1.8, 3: 1.9}


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
    (`misfit`), one-sided at that level: with few or noisy profiles the interval is wide, and holds what a law that does not fit
    says.
    """
    if second.path is None or third.path is None:
        return ""
    at = np.array([math.log(compute)])
    (own,), (se,) = second.path.at(at)
    (law,), _ = third.path.at(at)
    if not abs(law - own) <= quantile_t(0.5 + 0.5 * level, second.path.degrees) * se:
        return "lies outside its interval"
    return "misses its profiles by more than their scatter" if misfit(second, third, per_token) < 0.5 - 0.5 * level else ""


def misfit(second: Approach, third: Approach, per_token: float) -> float:
    """Probability that a law that holds misses the profiles by so much; 1 where they cannot tell.

        F = (S_law - S_profiles) / (f_law - f_profiles) / (S_profiles / f_profiles)

    with S = sum w (ln L - fit)^2 over the runs of the budgets that approach 2 uses, w = 1 / (1 + (excess / 5 %)^2)^2 its weights
    and v = sum w^2 / sum w what a coefficient takes up of it: f_law = sum w - 5 v, f_profiles = sum w - 2 (budgets + 1) v,
    as each budget has a lowest point, and their curvature and skew lean on each other. It is the test of lack of fit (Draper and
    Smith 1998, chapter 2) with the profiles in the place of replicates. A law that holds fails it less often than the level says
    in the worlds of docs/allocation.md, and up to twice as often where profiles of eight sizes all lie near the minimum.
    """
    used = [each for each in second.budgets if each.used]
    if not used or not isinstance(third.path, LawPath):
        return 1.0
    own, free, shrunk = _spent(used)
    more = (2 * len(used) - 3) * shrunk
    if free < 1 or more <= 0 or not own > 0:
        return 1.0
    law = 0.0
    for budget in used:
        n = budget.parameters
        told = third.path.fit.predict({"parameters": n, "tokens": budget.compute / (per_token * n)})
        law += float(np.sum(_weighed(budget)[0] * (np.log(budget.loss) - np.log(told)) ** 2))
    from scipy.special import fdtrc

    return float(fdtrc(more, free, max(law - own, 0.0) / more / (own / free)))


def scatter(budgets: Sequence[Budget]) -> float:
    """Standard deviation of ln loss about the profiles, weighed as approach 2 does; NaN where they leave nothing over."""
    own, free, _ = _spent(budgets)
    return math.sqrt(own / free) if free >= 1 else math.nan


def _spent(budgets: Sequence[Budget]) -> tuple[float, float, float]:
    """S and f of the profiles, and v: see `misfit`."""
    weight, own = (np.concatenate(each) for each in zip(*map(_weighed, budgets), strict=True))
    count = float(weight.sum())
    shrunk = float(np.sum(weight**2)) / count
    return float(np.sum(weight * own**2)), count - 2 * (len(budgets) + 1) * shrunk, shrunk


def _weighed(budget: Budget) -> tuple[Array, Array]:
    """Of each run of a profile, its weight and ln loss over the profile."""
    u, over = np.log(budget.parameters) - budget.best, np.log(budget.loss) - math.log(budget.lowest)
    h, k = budget.curve
    return 1 / (1 + (np.expm1(np.maximum(over, 0.0)) / WINDOW) ** 2) ** 2, over - 0.5 * h * u**2 - k * u**3
