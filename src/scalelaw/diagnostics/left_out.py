"""Did finished runs stay outside the frontier?"""

from __future__ import annotations

import numpy as np

from ..axis import axis_of
from ..frontier import frontier
from ..trials import Trials
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["LeftOut"]


class LeftOut(Diagnostic):
    """Settings without a place on their axis, such as a weight decay of zero: they shape no bowl."""

    name = "left_out"
    question = "Did finished runs stay outside the frontier?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        if not case.frontier.tuned or case.frontier.response is None:
            return None
        rows = case.frontier.source.finished
        for name in case.frontier.hyper:
            lost = int(np.sum(~np.isfinite(axis_of(name).coordinate(rows.numbers(name)))))
            if lost:
                axis = f"ln({axis_of(name).words(name)})"
                return self.finding(
                    f"{lost} finished runs have no place on the axis of {name}, which is {axis}, and are left out.",
                    f"Judge them apart with --where, or give {name} a small positive value.",
                )
        return None

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        more = {"width": 64.0, "learning_rate": 0.0, "seed": 0.0, "loss": 2.0, "status": "COMPLETE"}
        columns = {name: [*column.tolist(), more[name]] for name, column in trials.columns.items()}
        trials = Trials.from_columns(columns)
        return Case(trials, frontier(trials))
