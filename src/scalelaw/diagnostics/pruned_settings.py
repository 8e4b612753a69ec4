"""Did halving leave too few settings at some size?"""

from __future__ import annotations

import numpy as np

from ..frontier import frontier
from ..trial import Status
from ..trials import Trials
from ._base import Case, Diagnostic, Finding, listing
from ._examples import study

__all__ = ["PrunedSettings"]

# A bowl takes three.
FEWEST = 3


class PrunedSettings(Diagnostic):
    """Sizes whose runs were stopped on purpose until fewer than three settings were left: they have no bowl of their own."""

    name = "pruned_settings"
    question = "Did halving leave too few settings at some size?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        trials = case.trials
        if "status" not in trials or not case.frontier.tuned:
            return None
        sizes: list[float] = []
        for values, rows in trials.groups(case.over):
            kept = rows.finished
            left = len(
                {tuple(map(float, each)) for each in zip(*(kept.numbers(name) for name in case.frontier.hyper), strict=True)}
            )
            if bool(np.any(rows["status"] == Status.PRUNED.name)) and left < FEWEST:
                sizes.append(float(values[0]))
        if not sizes:
            return None
        return self.finding(
            f"At {case.over[0]} {listing(sizes)} halving stopped runs and left fewer than {FEWEST} settings: the best there is "
            "read off the other sizes' bowls.",
            "Run the stopped settings there without halving, or begin it at a later step.",
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        stopped = (trials["width"] == 64) & (np.abs(np.log(trials["learning_rate"] / 1.6e-3)) > 0.1)
        status = np.where(stopped, Status.PRUNED.name, trials["status"]).tolist()
        columns = {**trials.columns, "status": status, "loss": np.where(stopped, np.nan, trials["loss"])}
        trials = Trials.from_columns(columns, "example")
        return Case(trials, frontier(trials))
