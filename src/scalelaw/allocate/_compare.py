"""How far the approaches are apart, in one number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ._result import Approach, Disagreement

__all__ = ["disagreement"]

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
