"""Was anything tuned?"""

from __future__ import annotations

from ..frontier import frontier
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["TuningUntested"]


class TuningUntested(Diagnostic):
    """A ladder at one fixed setting: it may leave the best case with size, and its own losses cannot show it.

    The excess of a kept setting grows like the square of ln size, and a law with a free floor and exponent absorbs it: from
    size and loss alone the best possible test of a 1 % excess at the top has a power of 6-24 % at 5 % false alarms (docs:
    calibration).
    """

    name = "tuning_untested"
    question = "Was anything tuned, or is this a ladder at one fixed setting?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        if case.frontier.tuned:
            return None
        kept = dict(case.frontier.settings)
        if not kept:
            rows = case.frontier.source.finished
            constant = [name for name in rows.hyperparameters if name not in rows.varying(rows.hyperparameters)]
            kept = {name: float(rows[name][0]) for name in constant if rows[name].dtype != object}
        setting = ", ".join(f"{name} {value:g}" for name, value in kept.items() if value == value) or "not recorded"
        message = (
            f"A ladder at one fixed setting ({setting}): tuning is untested. If the best setting moves with size, these losses "
            "leave the best case unseen, and a larger run may miss this law without being at fault."
        )
        if case.frontier.hyper:
            return self.finding(message, f"Leave --fixed away: the data hold other values of {', '.join(case.frontier.hyper)}.")
        return self.finding(message, "Run five learning rates, a factor 2 apart, at the smallest size and at one of the largest.")

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study(rates=(1e-3,))
        return Case(trials, frontier(trials))
