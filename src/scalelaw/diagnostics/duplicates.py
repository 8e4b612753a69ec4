"""Is a run counted twice?"""

from __future__ import annotations

import numpy as np

from ..frontier import frontier
from ..trials import Trials
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["Duplicates"]


class Duplicates(Diagnostic):
    """Rows that agree in size, setting, seed and loss: counted twice they make the noise look smaller than it is."""

    name = "duplicates"
    question = "Is a run counted twice?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        rows = case.trials.finished
        names = [
            name
            for name in (*rows.scales, *rows.hyperparameters, "seed", "task", "model", "recipe", "init_from", "loss")
            if name in rows
        ]
        seen = list(zip(*(rows[name].tolist() for name in names), strict=True))
        extra = len(seen) - len({tuple(str(value) for value in each) for each in seen})
        if not extra:
            return None
        return self.finding(
            f"{extra} of {len(seen)} finished rows repeat another in size, setting, seed and loss: the noise looks too small.",
            "Remove the repeated rows, or give each run its seed.",
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        twice = {name: np.concatenate([column, column[:3]]) for name, column in trials.columns.items()}
        trials = Trials.from_columns(twice)
        return Case(trials, frontier(trials))
