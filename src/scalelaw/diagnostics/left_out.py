"""Did finished runs stay outside the frontier?"""

from __future__ import annotations

import numpy as np

from ..frontier import frontier
from ..trials import Trials
from ._base import Case, Diagnostic, Finding, listing
from ._examples import study

__all__ = ["LeftOut"]


class LeftOut(Diagnostic):
    """Sizes with fewer than three settings, and settings of zero, which have no logarithm: neither shapes a bowl."""

    name = "left_out"
    question = "Did finished runs stay outside the frontier?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        if not case.frontier.tuned or case.frontier.response is None:
            return None
        skipped = case.frontier.response.skipped
        if skipped:
            sizes = listing([point[case.over[0]] for point in skipped])
            return self.finding(
                f"{case.over[0]} {sizes} has too few settings for a best case and is left out.",
                f"Run at least three values of {case.frontier.hyper[0]} there.",
            )
        rows = case.frontier.source.finished
        for name in case.frontier.hyper:
            zero = int(np.sum(~(rows.numbers(name) > 0)))
            if zero:
                return self.finding(
                    f"{zero} finished runs have no positive {name}; they have no place on its logarithmic axis and are left out.",
                    f"Judge them apart with --where, or give {name} a small positive value.",
                )
        return None

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        more = {"width": 512.0, "learning_rate": 1e-3, "seed": 0.0, "loss": 2.0, "status": "COMPLETE"}
        columns = {name: [*column.tolist(), more[name]] for name, column in trials.columns.items()}
        trials = Trials.from_columns(columns)
        return Case(trials, frontier(trials))
