"""Drift: which hyperparameter's best moves away with size, told before a large run; and after one that missed, whose fault it is.

Before: each tuned hyperparameter is kept at its best of the start while the others stay at theirs, and scored by

    score_j = excess_j(target) / sigma,     sigma = standard deviation of ln loss of the forecast at the target

excess_j the median cost of the kept value (`lookahead.keep`): beyond 2 this hyperparameter alone will take the run visibly off
the law. Whether its best moves at all is a t test of the law's change from start to target, with the p-values of all
hyperparameters adjusted for false discoveries (Benjamini and Hochberg 1995).

After: the gap ln observed - ln expected is compared with what the settings of the run cost by the law, and shared out
(`suspects.attribute`). Either way `confirm` is the cheapest experiment that settles it (`_confirm.py`).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._confirm import Experiment, experiment
from ._screening import Motion, Screened, screen
from .axis import axis_of
from .cells import default_over
from .errors import InputError, RunError
from .estimate import Estimate
from .forecast import Forecast, forecast
from .frontier import frontier
from .notation import quantity
from .optimum import optimum
from .response import Array, Response
from .suspects import Suspect, attribute
from .trial import Trial
from .trials import Trials, place
from .verdict import Ruling, Verdict, check

__all__ = ["Case", "Drift", "Gap", "Motion", "Reason", "Screened", "Unscreened", "drift", "explain"]

# A score at which one hyperparameter alone takes a run visibly off the law.
VISIBLE = 2.0


class Reason(enum.Enum):
    """Why a hyperparameter was not screened."""

    CONSTANT = "It has one value in all runs."
    WITH_SCALE = "It varies with size only, never within one."
    FEW = "No size has three values of it."
    TEXT = "It is text, which has no best value that could move."
    LEFT_OUT = "It was not asked for."


# One tuned run in five is worse than this by chance, however wide the law: nothing to explain.
_USUAL = 0.2


class Case(enum.Enum):
    """What a run's gap is. The value is the sentence a user needs."""

    NO_GAP = "The run is within the scatter of tuned runs: there is no gap to explain."
    EXPLAINED = "The distance of the screened hyperparameters from their predicted best, and chance, can explain the gap."
    UNSCREENED = (
        "The gap is larger than anything screened explains. Check the code, the data and the precision of this run, and widen "
        "the screen to what was never varied."
    )
    BETTER = "The run is better than the law: no alarm, but the law may be too pessimistic here."
    DIVERGED = "The run diverged: a loss that is not there cannot be shared out. Lower its learning rate."


@dataclass(frozen=True)
class Unscreened:
    """A hyperparameter of which nothing is known: it was never varied within a scale.

    Args:
        name: its column. values: those it takes, at most five. reason: why it was not screened.
        used: the run's value where a run was given; differs: whether the data hold it nowhere.
    """

    name: str
    values: tuple[float | str, ...]
    reason: Reason
    used: float | str | None = None
    differs: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "values": list(self.values),
            "reason": self.reason.name,
            "message": self.reason.value,
            "used": self.used,
            "differs": self.differs,
        }


@dataclass(frozen=True)
class Gap:
    """A run's gap, shared out.

    Args:
        case: what it is. message: the sentence, with its numbers.
        gap: ln observed - ln expected; None where the run diverged.
        predicted: ln loss that its settings cost by the law, before the gap is seen. limit: the largest gap explained by that,
            the law's error and chance.
        shares: the most suspected first. unexplained: the rest of the gap; together 1.
        verdict: of the run.
    """

    case: Case
    message: str
    gap: float | None
    predicted: Estimate | None
    limit: float | None
    shares: tuple[Suspect, ...]
    unexplained: float
    verdict: Verdict = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "case": self.case.name,
            "message": self.message,
            "at": dict(self.verdict.at),
            "observed": self.verdict.observed,
            "expected": self.verdict.expected,
            "gap": self.gap,
            "predicted": None if self.predicted is None else self.predicted.to_dict(),
            "limit": self.limit,
            "shares": [each.to_dict() for each in self.shares],
            "unexplained": self.unexplained,
            "verdict": self.verdict.verdict.name,
        }


@dataclass(frozen=True, eq=False)
class Drift:
    """What `drift` finds.

    Args:
        target: the scale. start: where the kept values are best.
        message: the finding in one sentence.
        hyperparameters: the highest score first. unscreened: never varied within a scale.
        gap: of the run, where one was given.
        confirm: the cheapest experiment that settles it.
        tolerance: of the probabilities and safe ratios, as a share of the loss. level: of the intervals.
        forecast: of a tuned run at the target.
    """

    target: Mapping[str, float]
    start: Mapping[str, float]
    message: str
    hyperparameters: tuple[Screened, ...]
    unscreened: tuple[Unscreened, ...]
    gap: Gap | None
    confirm: Experiment
    tolerance: float
    level: float
    forecast: Forecast = field(repr=False)

    def __getitem__(self, name: str) -> Screened:
        return {each.name: each for each in self.hyperparameters}[name]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw drift`."""
        expected = self.forecast
        return {
            "target": dict(self.target),
            "start": dict(self.start),
            "message": self.message,
            "level": self.level,
            "tolerance": self.tolerance,
            "forecast": {"loss": expected.loss, "low": expected.low, "high": expected.high, "sd_log": expected.sd_log},
            "hyperparameters": [each.to_dict() for each in self.hyperparameters],
            "unscreened": [each.to_dict() for each in self.unscreened],
            "gap": None if self.gap is None else self.gap.to_dict(),
            "confirm": self.confirm.to_dict(),
        }


def drift(
    trials: Trials,
    target: Mapping[str, float],
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    start: Mapping[str, float] | None = None,
    level: float = 0.9,
    tolerance: float = 0.01,
    run: Mapping[str, Any] | Trial | Trials | None = None,
) -> Drift:
    """Rank the tuned hyperparameters by what keeping each will cost at the target; share out the gap of a run.

    Args:
        trials: runs, of several scales, with hyperparameters that vary within each. The run itself is left out.
        target: a scale.
        over, hyper: see `frontier`.
        start: the scale whose best settings are kept; default the largest of the data in the first scale column.
        level: of the intervals; 1 - level is the rate of false discoveries among the hyperparameters said to move.
        tolerance: of the probabilities and the safe ratios, as a share of the loss.
        run: a run that was trained, as `check` takes it.

    Raises:
        DataError: one scale only, nothing tuned, or a target that does not name the scale columns.
        RunError: the run lacks a loss, a size, or every tuned hyperparameter.
        InputError: a level or a tolerance that is none.
    """
    if not 0 < level < 1:
        raise InputError(f"a level of {level:g} is no probability", "level", "Give a number between 0 and 1, such as 0.9")
    over = default_over(trials, target) if over is None else over
    verdict = None if run is None else check(trials, run, level=0.5 + level / 2, over=over, hyper=hyper)
    edge = frontier(trials, over=over, hyper=hyper) if verdict is None else verdict.forecast.frontier
    laws = optimum(edge, at=(point := place(edge.over, target)), level=level)
    again = verdict is not None and verdict.at == point
    expected = verdict.forecast if verdict is not None and again else forecast(edge, point, level=level)
    response = laws.frontier.response
    assert response is not None
    largest = max((bowl.point for bowl in response.bowls), key=lambda each: each[response.over[0]])
    start = place(response.over, start or largest)
    found = screen(expected, response, start, tolerance)
    gap = None if verdict is None else explain(verdict, level)
    sensitive = [each.name for each in found if each.motion is not Motion.INSENSITIVE]
    # A run without a gap asks nothing: then it is the kept settings that an experiment would settle.
    asked = None if gap is None or gap.case in (Case.NO_GAP, Case.BETTER) else verdict
    judged, there = (expected, point) if asked is None else (asked.forecast, asked.at)
    return Drift(
        target=point,
        start=start,
        message=_sentence(found, start, point) if gap is None else gap.message,
        hyperparameters=found,
        unscreened=_unscreened(edge.source, response, run),
        gap=gap,
        confirm=experiment(judged, there, _used(response, start, asked), sensitive),
        tolerance=tolerance,
        level=level,
        forecast=expected,
    )


def _sentence(found: Sequence[Screened], start: Mapping[str, float], point: Mapping[str, float]) -> str:
    first = found[0]
    here, there = (", ".join(f"{name} {value:g}" for name, value in each.items()) for each in (start, point))
    lost = f"{_percent(first.excess.value)} of the loss ({_percent(first.excess.low)} to {_percent(first.excess.high)})"
    score = f"{first.score:.2g} standard deviations of the forecast"
    shown = "" if first.motion is Motion.MOVES else "; that it moves is not shown beyond chance, so measure it first"
    mend = f"Its predicted best there is {first.best.value:.3g}{shown}."
    if first.score >= VISIBLE:
        head = f"{first.name} {first.kept:.3g}, kept from {here}, will alone take a run at {there} visibly off the law"
        return f"{head}: {lost}, {score}. {mend}"
    if first.probability >= 0.5:
        head = f"{first.name} {first.kept:.3g}, kept from {here}, is predicted to cost a run at {there} {lost}"
        return f"{head}, which the forecast alone would hardly show ({score}). {mend}"
    head = f"Nothing that was tuned is predicted to cost a run at {there} much if kept from {here}"
    return f"{head}: most {first.name}, {lost}, {score}."


def _percent(log: float) -> str:
    return f"{100 * math.expm1(min(log, 50.0)):.2g} %"


# ---- after the run --------------------------------------------------------------------------------------------------------


def _used(response: Response, start: Mapping[str, float], verdict: Verdict | None) -> Array:
    """Coordinates of the settings in question: the best of the start, or the run's; NaN where the run does not say."""
    if verdict is None:
        return response.trend.best(start)
    own = verdict.settings
    return np.array(
        [float(axis_of(name).coordinate(np.array(own[name]))) if name in own else math.nan for name in response.hyper]
    )


def explain(verdict: Verdict, level: float = 0.9) -> Gap:
    """Share out the gap of a run that was judged, and say what kind of gap it is.

    Raises:
        RunError: the run does not say how it was set.
    """
    expected, observed = verdict.forecast, verdict.observed
    missing = [name for name in expected.frontier.hyper if name not in verdict.settings]
    if len(missing) == len(expected.frontier.hyper):
        raise RunError(f"the run does not say its {', '.join(missing)}", "run", "Add them: nothing else can be suspected")
    if observed is None:
        return Gap(Case.DIVERGED, Case.DIVERGED.value, None, None, None, (), 1.0, verdict)
    gap = math.log(observed / verdict.expected)
    mixture = expected.stack.predict(expected.at, expected.variance["run"])
    found = attribute(expected, mixture, gap, verdict.settings, level)
    if found is None:
        raise RunError("no setting of the run has a place on its axis", "run", "Give settings within their ranges")
    if gap < 0:
        case = Case.BETTER
    elif verdict.verdict is Ruling.ON_LAW or (verdict.p_value or 0.0) >= _USUAL:
        case = Case.NO_GAP
    else:
        case = Case.UNSCREENED if gap > found.limit else Case.EXPLAINED
    shared = case in (Case.EXPLAINED, Case.UNSCREENED)
    where = ", ".join(f"{name} {value:g}" for name, value in verdict.at.items())
    side = "above" if gap >= 0 else "below"
    text = (
        f"Loss {observed:.4g} at {where} is {_percent(abs(gap)) if gap >= 0 else f'{-100 * math.expm1(gap):.2g} %'} {side} the "
        f"{verdict.expected:.4g} of a tuned run; its settings are predicted to cost {_percent(found.predicted.value)} "
        f"({_percent(found.predicted.low)} to {_percent(found.predicted.high)}). {case.value}"
    )
    if shared and missing:
        text += f" The run does not say its {', '.join(missing)}."
    shares = found.suspects if shared else ()
    return Gap(case, text, gap, found.predicted, found.limit, shares, found.unexplained if shared else 1.0, verdict)


def _unscreened(trials: Trials, response: Response, run: Mapping[str, Any] | Trial | Trials | None) -> tuple[Unscreened, ...]:
    """Hyperparameter columns that are neither tuned nor compared by level; those in which the run differs come first."""
    finished = trials.finished
    row = _recorded(run)
    found: list[Unscreened] = []
    for name in finished.hyperparameters:
        values = _values(finished[name])
        if name in response.hyper or name in response.factors or not values:
            continue
        used = row.get(name)
        differs = used is not None and not any(_same(used, each) for each in values)
        found.append(Unscreened(name, values[:5], _reason(finished, response.over, name), used, differs))
    return tuple(sorted(found, key=lambda each: not each.differs))


def _values(column: np.ndarray) -> tuple[float | str, ...]:
    """The values of a column in ascending order, without those that are missing."""
    if column.dtype == object:
        return tuple(sorted({str(each) for each in column if each}))
    return tuple(map(float, np.unique(column[np.isfinite(column)])))


def _reason(finished: Trials, over: Sequence[str], name: str) -> Reason:
    if len(_values(finished[name])) == 1:
        return Reason.CONSTANT
    most = max(len(_values(rows[name])) for _, rows in finished.groups(over))
    if most == 1:
        return Reason.WITH_SCALE
    if finished[name].dtype == object:
        return Reason.TEXT
    return Reason.FEW if most < 3 else Reason.LEFT_OUT


def _recorded(run: Mapping[str, Any] | Trial | Trials | None) -> dict[str, float | str]:
    """What the run says, by column."""
    if run is None:
        return {}
    table = Trials.from_trials([run]) if isinstance(run, Trial) else run
    row = table.rows()[0] if isinstance(table, Trials) else table
    known = {name: quantity(name) for name in row}
    named = {each.column if each else name: row[name] for name, each in known.items()}
    return {
        name: value if isinstance(value, str) else float(value)
        for name, value in named.items()
        if isinstance(value, str | int | float | np.number) and value != "" and value == value
    }


def _same(one: float | str, other: float | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return str(one) == str(other)
    return math.isclose(one, other, rel_tol=1e-6)
