"""Does a kept setting drift away from the best as sizes grow?"""

from __future__ import annotations

import math

import numpy as np

from ..cells import default_factors
from ..frontier import frontier
from ..mistuned import Mistuning, mistuned
from ..response import respond
from ..trials import Trials
from ._base import Case, Diagnostic, Finding, listing
from ._examples import study

__all__ = ["MistunedLadder"]


class MistunedLadder(Diagnostic):
    """A setting kept at most sizes, tested against the sizes where it was varied (`mistuned.py`); false alarms are below 5 %.

    From a ladder like this a fit looks clean and leads away from the best case: an excess that grows to 1 % at the largest size
    puts the forecast ten times further out 1.3 to 2.2 % too high.
    """

    name = "mistuned_ladder"
    question = "Does a kept setting drift away from the best one as sizes grow?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        found = _tests(case)
        fired = [each for each in found if each.fires]
        if not fired:
            return None
        worst = max(fired, key=lambda each: each.excess.value)
        where = ", ".join(f"{name} {value:g}" for name, value in worst.largest.items())
        swept = listing([point[case.over[0]] for point in worst.swept])
        chance = f"{worst.adjusted:.2g}" if worst.adjusted > 1e-4 else "below 0.0001"
        message = (
            f"This ladder is mistuned: {worst.name} {worst.kept:.3g} was kept up to {where}, where the sweeps at {case.over[0]} "
            f"{swept} put the best at {worst.best.value:.3g} ({worst.best.low:.3g} to {worst.best.high:.3g}). It costs "
            f"{_span(worst)} of the loss there (p = {chance}), and a law through these losses leads above the best case."
        )
        if case.at is not None:
            message += f" Kept up to the target it costs {100 * math.expm1(worst.excess_at(case.at).value):.2g} %."
        if not case.frontier.tuned:
            return self.finding(message, "Leave --fixed away: the sweeps then correct these sizes.")
        return self.finding(message, f"Run {where} at {worst.name} {worst.best.value:.3g}, and retune the other large sizes.")

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        rate, width = trials.numbers("learning_rate"), trials.numbers("width")
        trials = trials.where((width == 16) | (width == 128) | np.isclose(rate, 3.2e-3))
        return Case(trials, frontier(trials))


def _tests(case: Case) -> tuple[Mistuning, ...]:
    edge = case.frontier
    if edge.response is not None:
        return mistuned(edge.response)
    if not edge.hyper:
        return ()
    # The rows stand at one setting of several that were tried: the others are the sweep.
    kept = {name: value for name, value in edge.settings.items() if name in edge.hyper}
    trials: Trials = case.trials
    response = respond(trials, edge.over, edge.hyper, factors=default_factors(trials, edge.over, edge.hyper))
    return () if response is None or not kept else mistuned(response, kept=kept)


def _span(found: Mistuning) -> str:
    value, low, high = (100 * math.expm1(each) for each in (found.excess.value, found.excess.low, found.excess.high))
    return f"{value:.2g} % ({low:.2g} to {high:.2g} %)"
