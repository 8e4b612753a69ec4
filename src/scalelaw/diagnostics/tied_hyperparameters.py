"""Do hyperparameters move together, so that only a combination of them can be told?"""

from __future__ import annotations

import numpy as np

from ..axis import axis_of
from ..cells import Array
from ..frontier import Frontier, frontier
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["TiedHyperparameters"]

# Share of the settings' variance within scales, in their coordinates, below which a direction was not explored.
_FLAT = 1e-3


class TiedHyperparameters(Diagnostic):
    """Hyperparameters on a line within every scale, such as a rate that is always tied to the batch.

    The settings' coordinates less their scale's mean have a covariance; a direction with next to none of its trace was never
    varied, and what the response says along it is its prior.
    """

    name = "tied_hyperparameters"
    question = "Do hyperparameters move together, so that only a combination of them can be told?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        direction = _unexplored(case.frontier)
        if direction is None:
            return None
        hyper = case.frontier.hyper
        used = [j for j in np.argsort(-np.abs(direction)) if abs(direction[j]) > 0.1]
        lead = used[0]
        terms = [f"{-direction[j] / direction[lead]:+.3g} ln({axis_of(hyper[j]).words(hyper[j])})" for j in used[1:]]
        line = f"ln({axis_of(hyper[lead]).words(hyper[lead])}) = const {' '.join(terms)}"
        names = " and ".join(hyper[j] for j in sorted(used))
        return self.finding(
            f"{names} were moved together: within every scale {line}. Only the best point on that line is measured, and the law "
            "of each alone rests on its prior.",
            f"Vary {hyper[lead]} at one value of the others, or tune one of them (--hyper leaves the rest to the recipe).",
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        trials = trials.with_column("batch_size", 64 * np.sqrt(trials.numbers("learning_rate") / 1e-3))
        return Case(trials, frontier(trials))


def _unexplored(edge: Frontier) -> Array | None:
    """The direction within scales along which settings hardly vary, `(hyperparameters,)`; None where all are explored."""
    if edge.response is None or len(edge.hyper) < 2:
        return None
    away = np.concatenate([cell.z - cell.z.mean(axis=0) for cell in edge.response.cells])
    spread = away.std(axis=0)
    if not np.all(spread > 0):
        return None
    values, vectors = np.linalg.eigh(np.cov((away / spread).T))
    return vectors[:, 0] / spread if values[0] < _FLAT * values.sum() else None
