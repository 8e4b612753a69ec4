"""Do the scales move separately?"""

from __future__ import annotations

import numpy as np

from ..frontier import frontier
from ..trials import Trials
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["CollinearLadder"]

_TIED = 0.98


class CollinearLadder(Diagnostic):
    """Two scales that grow together (correlation of their logarithms above 0.98): the data cannot tell what each of them does."""

    name = "collinear_ladder"
    question = "Do the scales move separately?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        scales = case.frontier.scales
        if scales.shape[1] < 2 or len(scales) < 3 or np.any(np.ptp(scales, axis=0) == 0):
            return None
        correlation = np.asarray(np.atleast_2d(np.corrcoef(scales.T)))
        for i in range(len(correlation)):
            for j in range(i):
                if abs(correlation[i, j]) > _TIED:
                    one, two = case.over[j], case.over[i]
                    return self.finding(
                        f"{one} and {two} grow together (correlation {correlation[i, j]:.3f}): their parts cannot be told.",
                        f"Add runs that change {two} at one {one}, or use one of them: --over {one}.",
                    )
        return None

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        tokens = trials.numbers("width") ** 2 * np.where(trials.numbers("seed") == 0, 20.0, 21.0)
        trials = Trials({**trials.columns, "parameters": trials.numbers("width") ** 2, "tokens": tokens})
        return Case(trials, frontier(trials, over=("parameters", "tokens")))
