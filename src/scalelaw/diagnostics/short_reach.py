"""Does the forecast go further than forecasts from these data were ever checked?"""

from __future__ import annotations

from ..frontier import frontier
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["ShortReach"]


class ShortReach(Diagnostic):
    """The target is further beyond the data than any held-out size on which these data could be checked."""

    name = "short_reach"
    question = "Does the forecast go further than forecasts from these data were ever checked?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        if case.at is None:
            return None
        largest = {name: float(case.frontier.trials.numbers(name).max()) for name in case.over}
        name = max(case.over, key=lambda each: case.at[each] / largest[each] if case.at else 0.0)
        ratio, checked = case.at[name] / largest[name], case.checked or 1.0
        if ratio <= max(checked, 1.0) * 1.0001:
            return None
        known = f"over at most {checked:.3g} times" if checked > 1 else "on no larger size"
        nearer = largest[name] * max(checked, 2.0)
        return self.finding(
            f"{name} {case.at[name]:g} is {ratio:.3g} times the largest size measured; forecasts were checked {known}.",
            f"Run one size in between, near {name} {min(nearer, case.at[name]):.3g}, before trusting the interval.",
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        return Case(trials, frontier(trials), {"width": 16384.0}, 4.0)
