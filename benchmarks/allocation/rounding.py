"""How often the stated regret of a shape that can be built covers its true one, in the worlds of `worlds`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from scalelaw import allocate

from .worlds import BUDGETS, TARGET, Case, E, K, cases

HEAD = ("world", "grid", "noise", "approach 3, of the data sets", "true regret, %", "covers, of 90 %", "median of its value, %")
FACTORS = (0.5, 2.0)


def rows(worlds: int) -> Iterator[tuple[str, ...]]:
    """Half and twice the best size, in every world."""
    for case in cases():
        shapes = [factor * math.exp(case.target) for factor in FACTORS]
        inside: dict[float, list[bool]] = {factor: [] for factor in FACTORS}
        values: dict[float, list[float]] = {factor: [] for factor in FACTORS}
        law = 0
        for seed in range(worlds):
            rounded = allocate(case.trials(seed), TARGET, shapes=shapes).rounded
            if rounded is None or not rounded.choices:
                continue
            law += rounded.approach == "approach_3"
            for each in rounded.choices:
                factor = min(FACTORS, key=lambda known: abs(math.log(each.shape.parameters) - case.target - math.log(known)))
                if each.regret is not None:
                    inside[factor].append(each.regret.low <= truth(case, factor) <= each.regret.high)
                    values[factor].append(each.regret.value)
        for factor in FACTORS:
            share = f"{law / worlds:.0%}"
            start = (f"{case.name}, {factor:g} N*", case.grid, f"{case.noise:.1%}", share)
            middle = 100 * float(np.median(values[factor]))
            yield (*start, f"{100 * truth(case, factor):.2f}", f"{np.mean(inside[factor]):.0%}", f"{middle:.2f}")


def truth(case: Case, factor: float) -> float:
    """The regret of `factor` times the best size at TARGET."""
    reducible = K * math.exp(-case.decay * math.log(TARGET / BUDGETS[0]))
    here, there = case.shape(np.array([math.log(factor), 0.0]))
    return float((E + reducible * here) / (E + reducible * there) - 1)
