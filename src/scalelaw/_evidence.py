"""Evidence from p-values: as bets that may be averaged, and adjusted for how many were looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .errors import RunError

__all__ = ["adjusted", "check_level", "e_value"]


def e_value(p: float) -> float:
    """A bet against chance that pays this much: e = (1 - p + p ln p) / (p ln^2 p).

    It is the mean of k p^(k - 1) over k from 0 to 1, each of which has the mean 1 where p is uniform (Vovk and Wang,
    arXiv:1912.06116): P(e >= 1 / alpha) <= alpha. The mean of several e-values is again one, however they depend on each other.
    """
    if p <= 0:
        return math.inf
    log = math.log(p)
    # Near 1 the fraction is 0 / 0; its series there is 1/2 - ln p / 6.
    return 0.5 - log / 6 if log > -1e-3 else (1 - p + p * log) / (p * log**2)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """The least rate of false discoveries at which each counts as one (Benjamini and Hochberg).

    Valid where errors depend positively on each other, as those of runs judged by one law do.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[::-1]
    found = np.empty(len(p))
    found[order] = np.minimum.accumulate(p[order] * (len(p) / np.arange(len(p), 0, -1)))
    return [float(each) for each in np.minimum(found, 1.0)]


def check_level(level: float) -> None:
    """Refuse a level that is no one-sided test's."""
    if not 0.5 < level < 1:
        raise RunError(f"a level of {level:g} is no one-sided test", "level", "Give a number between 0.5 and 1, such as 0.95")
