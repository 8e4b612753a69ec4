"""Does a best setting lie next to divergence?"""

from __future__ import annotations

import numpy as np

from ..frontier import frontier
from ._base import Case, Diagnostic, Finding, listing
from ._examples import study

__all__ = ["Diverged"]

_NEAR = 2.0


class Diverged(Diagnostic):
    """Runs that diverged: they bound a best setting and enter no bowl. A best setting within a factor 2 of them is a warning."""

    name = "diverged"
    question = "Does a best setting lie next to divergence, or did every run of a size diverge?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        lost = case.trials.diverged
        if not len(lost):
            return None
        first = case.over[0]
        alive = set(case.trials.finished.numbers(first).tolist())
        dead = sorted({value for value in lost.numbers(first).tolist() if value not in alive})
        if dead:
            return self.finding(
                f"Every run diverged at {first} {listing(dead)}; {len(lost)} of {len(case.trials)} runs diverged in all.",
                "Run lower learning rates at that size.",
            )
        if not case.frontier.tuned:
            return self.finding(
                f"{len(lost)} of {len(case.trials)} runs diverged; they enter no law.", "Lower the learning rate where they did."
            )
        near = [row[first] for row in case.frontier.trials.rows() if self._close(case, row)]
        if not near:
            return None
        return self.finding(
            f"At {first} {listing(near)} runs diverged within a factor {_NEAR:g} of the best setting.",
            "At larger sizes start below the predicted best setting, or lengthen the warmup.",
        )

    @staticmethod
    def _close(case: Case, row: dict[str, float]) -> bool:
        lost = case.trials.diverged
        here = np.all([lost.numbers(name) == row[name] for name in case.over], axis=0)
        return any(
            bool(np.any(np.abs(np.log(lost.numbers(hyper)[here] / row[hyper])) < np.log(_NEAR) * 1.0001))
            for hyper in case.frontier.hyper
            if bool(np.all(lost.numbers(hyper)[here] > 0))
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        lost = np.where(trials.numbers("learning_rate") > 3.1e-3, np.nan, trials.numbers("loss"))
        status = np.where(np.isnan(lost), "DIVERGED", "COMPLETE").astype(object)
        trials = trials.with_column("loss", lost).with_column("status", status)
        return Case(trials, frontier(trials))
