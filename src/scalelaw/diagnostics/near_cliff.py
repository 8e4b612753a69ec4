"""Does the best setting close in on the stability cliff?"""

from __future__ import annotations

import numpy as np

from ..axis import axis_of
from ..cliff import cliff
from ..frontier import frontier
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["NearCliff"]

# A nat is a factor 2.7 of the rate: less room than a grid of one setting per factor 3 can see.
_ROOM = 1.0


class NearCliff(Diagnostic):
    """The margin between the best setting and divergence (`cliff.py`) shrinks with size, or leaves less than a nat at the target.

    A margin shrinks where the whole interval of its slope lies below 0. Without a target, the largest size counts.
    """

    name = "near_cliff"
    question = "Does the margin between the best setting and divergence shrink with size, or run short at the target?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        response = case.frontier.response
        if response is None:
            return None
        found = cliff(response, trials=case.trials)
        if found is None:
            return None
        first = case.over[0]
        largest = max((bowl.point for bowl in response.bowls), key=lambda point: point[first])
        at = largest if case.at is None else {name: case.at[name] for name in case.over}
        margin, slopes = found.margin(at), {name: found.slope(name) for name in case.over if self._varies(case, name)}
        shrinking = {name: slope for name, slope in slopes.items() if slope.high < 0}
        short = margin.value < _ROOM
        if not shrinking and not short:
            return None
        edge, where = found.edge(at), ", ".join(f"{name} {at[name]:g}" for name in case.over)
        best = axis_of(found.hyper).setting(float(response.trend.best(at)[response.hyper.index(found.hyper)]))
        # The side in the setting itself: a coordinate such as ln (1 - x) runs the other way.
        upper = (edge.value > best) is (margin.value > 0)
        way, other = ("above", "below") if upper else ("below", "above")
        interval = f"{margin.value:.2f} nats ({margin.low:.2f} to {margin.high:.2f})"
        text = f"At {where} the cliff where half the runs diverge is {interval} {way} the best {found.hyper}"
        if margin.value <= 0:
            text = f"At {where} the best {found.hyper} lies beyond the cliff where half the runs diverge: margin {interval}"
        text += "".join(
            f"; the margin shrinks by {-slope.value:.2f} nats per nat of {name} ({-slope.high:.2f} to {-slope.low:.2f})"
            for name, slope in shrinking.items()
        )
        met = found.meets() if first in shrinking else None
        tail = f" {met.message}" if met is not None and met.scale is not None else ""
        safe = edge.low if upper else edge.high
        return self.finding(
            f"{text}.{tail}",
            f"At {where} stay {other} {found.hyper} {safe:.2g}, and lengthen the warmup or clip gradients before going larger.",
        )

    @staticmethod
    def _varies(case: Case, name: str) -> bool:
        return len(np.unique(case.frontier.trials.numbers(name))) > 1

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        width, rate = trials.numbers("width"), trials.numbers("learning_rate")
        # The best falls as width^-0.3 and the cliff as width^-0.8: they meet.
        lost = np.where(rate > 1.2e-2 * (width / 16) ** -0.8, np.nan, trials.numbers("loss"))
        status = np.where(np.isnan(lost), "DIVERGED", "COMPLETE").astype(object)
        trials = trials.with_column("loss", lost).with_column("status", status)
        return Case(trials, frontier(trials), {"width": 512.0})
