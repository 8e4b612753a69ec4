"""Were some sizes run at one setting only?"""

from __future__ import annotations

import math

from ..frontier import Edge, frontier
from ..trials import Trials
from ._base import Case, Diagnostic, Finding, listing
from ._examples import study

__all__ = ["UntunedSizes"]


class UntunedSizes(Diagnostic):
    """Sizes with one setting of a hyperparameter: their best case is the run's loss less what the law says its distance costs."""

    name = "untuned_sizes"
    question = "Were some sizes run at one setting only?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        response = case.frontier.response
        if response is None:
            return None
        for j, name in enumerate(case.frontier.hyper):
            alone = [bowl for bowl in response.bowls if bowl.edge[j] is Edge.ALONE]
            if not alone:
                continue
            most = max(math.log(bowl.argmin) - bowl.log_loss for bowl in alone)
            sizes = listing([bowl.point[case.over[0]] for bowl in alone])
            return self.finding(
                f"At {case.over[0]} {sizes} one {name} was run; its loss is taken down by up to {100 * max(most, 0.0):.2g} % "
                "for its distance from the best that the law of the other sizes predicts.",
                f"Run at least three values of {name} there to measure it.",
            )
        return None

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        more = {"width": 512.0, "learning_rate": 1e-3, "seed": 0.0, "loss": 2.0, "status": "COMPLETE"}
        columns = {name: [*column.tolist(), more[name]] for name, column in trials.columns.items()}
        trials = Trials.from_columns(columns)
        return Case(trials, frontier(trials))
