"""Is a law of one variable fitted to runs that the other one holds back?"""

from __future__ import annotations

import numpy as np

from ..ample import ample
from ..errors import DataError
from ..frontier import frontier
from ..trials import Trials
from ._base import Case, Diagnostic, Finding

__all__ = ["HeldBack"]

_OTHER = {"parameters": ("tokens",), "tokens": ("parameters",), "compute": ("parameters", "tokens")}


class HeldBack(Diagnostic):
    """A law over parameters, tokens or compute alone, where more than a tenth of the runs are held back by what it leaves out."""

    name = "held_back"
    question = "Do runs with too little data, or too small a model, spoil a law of one variable?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        over, trials = case.over[0], case.trials.finished
        others = _OTHER.get(over, ()) if len(case.over) == 1 else ()
        if not others or case.frontier.tuned or len(trials.varying(("parameters", "tokens"))) < 2:
            return None
        try:
            found = ample(trials, over)
        except DataError:
            # Too few are ample, or the runs cannot say: other diagnostics speak of the ladder.
            return None
        if found.dropped <= len(trials) / 10:
            return None
        return self.finding(
            f"{found.dropped} of {len(trials)} runs are held back by what a law over {over} leaves out.",
            f"Fit both (--over parameters,tokens), or only the runs that scalelaw.ample(trials, over={over!r}) keeps.",
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e6, 1e10, 9), np.geomspace(1e9, 1e13, 9)))
        trials = Trials.from_columns({"parameters": n, "tokens": d, "loss": 1.8 + 480 * n**-0.35 + 2100 * d**-0.37})
        return Case(trials, frontier(trials, over=("parameters",)))
