"""Was anything tuned?"""

from __future__ import annotations

import math

from ..frontier import frontier
from ..untested import Untested, settling_sweep, untested
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["TuningUntested"]


class TuningUntested(Diagnostic):
    """A ladder at one fixed setting: it may leave the best case with size, and its own losses cannot show it.

    The excess of a kept setting grows like the square of ln size, and a law with a free floor and exponent absorbs it. The
    finding gives the power of the best possible test of an excess of 1 % at the largest size (6-24 % on usual ladders), what
    would go unseen one time in two, and what published laws of the best rate lead one to expect (`untested.py`).
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
        numbers = untested(case.frontier, case.at)
        message = (
            f"A ladder at one fixed setting ({setting}): tuning is untested. If the best setting moves with size, these losses "
            "leave the best case unseen, and a larger run may miss this law without being at fault."
        )
        message += "" if numbers is None else f" {_numbers(numbers)}"
        if case.frontier.hyper:
            return self.finding(message, f"Leave --fixed away: the data hold other values of {', '.join(case.frontier.hyper)}.")
        sweep = settling_sweep(case.frontier)
        usual = "Run five learning rates, a factor 2 apart, at the smallest size and at one of the largest."
        return self.finding(message, usual if sweep is None else sweep.sentence())

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study(rates=(1e-3,))
        return Case(trials, frontier(trials))


def _numbers(found: Untested) -> str:
    """What would go unseen, and what is to be expected."""
    chance = f"{100 * found.power['quadratic']:.0f} % (5 % are false alarms)"
    blind = (
        f"The best possible test of these losses finds an excess that grows to 1 % at the largest size with a chance of {chance}"
    )
    there = _percent(found.unseen)
    there += f", which is {_percent(found.at)} at the target," if math.isfinite(found.at) else ""
    likely = f"{_percent(found.expected.value)} ({_percent(found.expected.low)} to {_percent(found.expected.high)})"
    text = f"{blind}; one of {there} goes unseen one time in two. Published laws of the best rate make {likely} likely there"
    if not math.isfinite(found.shift.value):
        return f"{text}."
    shift = f"{_percent(found.shift.value)} ({_percent(found.shift.low)} to {_percent(found.shift.high)})"
    return f"{text}, and the best case at the target {shift} below this law."


def _percent(value: float) -> str:
    return f"{100 * math.expm1(value):.2g} %" if value < 0.7 else "over 100 %"
