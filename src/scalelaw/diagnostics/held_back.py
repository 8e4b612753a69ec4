"""Is a law of one variable fitted to runs that the other one holds back?"""

from __future__ import annotations

import numpy as np

from ..ample import Ground
from ..best_case import standing
from ..errors import DataError
from ..frontier import frontier
from ..trials import Trials
from ._base import Case, Diagnostic, Finding

__all__ = ["HeldBack"]


class HeldBack(Diagnostic):
    """A law over parameters, tokens or compute alone, where what it leaves out holds back more than a tenth of the runs, or may.

    Silent on runs along one ladder, such as 20 tokens to every parameter: there a law of one variable counts what both do.
    """

    name = "held_back"
    question = "Do runs with too little data, or too small a model, spoil a law of one variable?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        over = case.over[0]
        try:
            found = standing(case.frontier)
        except DataError:
            # A column that cannot be read as numbers is told where it is used.
            return None
        if found is None or found.ground is Ground.LADDER:
            return None
        if found.ground is Ground.UNKNOWN:
            return self.finding(found.message, f"{found.mend}.")
        if found.ground is Ground.AMPLE and found.dropped <= len(found.limited) / 10:
            return None
        what = "best cases" if case.frontier.tuned else "runs"
        rest = "" if found.ground is Ground.AMPLE else "; too few sizes are left"
        action = "" if rest else f", or the ample runs alone, as `scalelaw fit --over {over}` does"
        return self.finding(
            f"{found.dropped} of {len(found.limited)} {what} are held back by what a law over {over} leaves out{rest}.",
            f"Fit both (--over parameters,tokens){action}.",
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e6, 1e10, 9), np.geomspace(1e9, 1e13, 9)))
        trials = Trials.from_columns({"parameters": n, "tokens": d, "loss": 1.8 + 480 * n**-0.35 + 2100 * d**-0.37})
        return Case(trials, frontier(trials, over=("parameters",)))
