"""Counts with their binomial intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scipy.special import betaincinv

from scalelaw.verdict import Ruling

__all__ = ["interval", "rulings", "share"]


def interval(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Of a share, after Clopper and Pearson."""
    tail = 0.5 - level / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, count - hits + 1, tail))
    high = 1.0 if hits == count else float(betaincinv(hits + 1, count - hits, 1 - tail))
    return low, high


def share(hits: int, count: int) -> str:
    """`12 of 300, 4.0 % (2.1 to 6.9)`."""
    if not count:
        return "none"
    low, high = interval(hits, count)
    return f"{hits} of {count}, {100 * hits / count:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def rulings(found: Sequence[Ruling]) -> str:
    """OFF share with its interval, then the counts of UNDECIDED and ON."""
    count = Counter(found)
    return f"{share(count[Ruling.OFF_LAW], len(found))} | {count[Ruling.UNDECIDED]} | {count[Ruling.ON_LAW]}"
