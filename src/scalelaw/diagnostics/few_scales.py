"""Are there enough sizes for a law that can be checked?"""

from __future__ import annotations

from ..frontier import frontier
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["FewScales"]

_ENOUGH = 5


class FewScales(Diagnostic):
    """Fewer than five sizes: a law of three parameters cannot be checked on a size it has not seen."""

    name = "few_scales"
    question = "Are there enough sizes for a law that can be checked?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        count = len(case.frontier.trials)
        if count >= _ENOUGH:
            return None
        values = sorted({float(value) for value in case.frontier.trials.numbers(case.over[0])})
        message = f"{count} size(s): no law with a floor can be fitted and then checked on a size it has not seen."
        if count <= 2:
            message += " With two, the curve passes through both, and every interval rests on priors."
        step = values[-1] / values[-2] if len(values) > 1 else 2.0
        smaller = f"{values[0] / step:.3g}" if values else "half the smallest"
        return self.finding(message, f"Add {_ENOUGH - count} cheap sizes, for example {case.over[0]} {smaller} and below.")

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study(widths=(16, 32, 64))
        return Case(trials, frontier(trials))
