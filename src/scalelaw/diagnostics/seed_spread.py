"""Is the noise between seeds known, and the same at all sizes?"""

from __future__ import annotations

import math

import numpy as np

from ..cells import cells_of
from ..frontier import frontier
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["SeedSpread"]


class SeedSpread(Diagnostic):
    """No setting was run twice, or the spread between seeds differs between sizes (Bartlett's test at 1 %)."""

    name = "seed_spread"
    question = "Is the noise between seeds known, and the same at all sizes?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        cells = cells_of(case.frontier.source, case.over, case.frontier.hyper if case.frontier.tuned else ())
        known = [(cell.point[case.over[0]], *cell.spread) for cell in cells if cell.spread[1] >= 1]
        if not known:
            return self.finding(
                "No setting was run with two seeds, so the noise of a single run is judged from the misfit of the curves.",
                "Run the best setting with two more seeds at one small and one large size.",
            )
        squares, degrees = (np.array([each[k] for each in known], dtype=float) for k in (1, 2))
        if len(known) < 2 or not np.all(squares > 0) or np.any(degrees < 2):
            return None
        pooled, total = squares.sum() / degrees.sum(), degrees.sum()
        statistic = total * math.log(pooled) - float(np.sum(degrees * np.log(squares / degrees)))
        statistic /= 1 + (float(np.sum(1 / degrees)) - 1 / total) / (3 * (len(known) - 1))
        from scipy.special import chdtrc

        if float(chdtrc(len(known) - 1, statistic)) > 0.01:
            return None
        spread = np.sqrt(squares / degrees)
        least, most = int(np.argmin(spread)), int(np.argmax(spread))
        return self.finding(
            f"The spread between seeds changes with size: {100 * spread[least]:.2g} % of the loss at "
            f"{case.over[0]} {known[least][0]:g} and {100 * spread[most]:.2g} % at {known[most][0]:g}, "
            "over all settings; each size is trusted by its own spread near its best setting.",
            "Run more seeds at the largest sizes, whose noise a forecast inherits.",
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study(seeds=1)
        return Case(trials, frontier(trials))
