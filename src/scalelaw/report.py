"""The report: a study on one self-contained HTML page.

Given trials alone, it asks the question the package exists for: had only the smaller runs been made, what would they have said
about the largest? The target is the largest size; laws are fitted to the sizes at most an eighth of it where that leaves five,
else to all smaller ones; the runs at the target are judged and shown as the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cells import default_hyper, default_over
from .errors import DataError, InputError
from .figures import figures
from .figures.gain_per_cost import GainPerCost
from .figures.spend_vs_regret import SpendVsRegret
from .forecast import Forecast, forecast
from .frontier import kept_setting
from .plan import Plan, costs_of, plan
from .render import facts, page, short
from .trials import Trials, place
from .verdict import Verdict, check

__all__ = ["Analysis", "analyse", "report"]

# How much smaller than the target the fitted sizes are, and how many of them that must leave.
_SMALLER, _LEAST = 8.0, 5
_MOST_JUDGED = 5


@dataclass(frozen=True)
class Analysis:
    """What a report or a figure says about trials.

    Args:
        forecast: for the target, from the smaller sizes; None where they carry no law.
        verdicts: on the runs at the target that keep the small runs' setting.
        reason: why there is no forecast, where there is none.
    """

    forecast: Forecast | None
    verdicts: tuple[Verdict, ...] = ()
    reason: str = ""


def analyse(
    trials: Trials,
    *,
    at: Mapping[str, float] | None = None,
    upto: Mapping[str, float] | None = None,
    setting: Mapping[str, float] | None = None,
    over: str | Sequence[str] | None = None,
    run: Trials | None = None,
    level: float = 0.9,
) -> Analysis:
    """Forecast the target from the smaller runs and judge what became of it.

    Args:
        trials: all runs.
        at: the target; default the size of `run`, else the largest size among them.
        upto: scale column -> the largest value that laws are fitted to; default an eighth of the target where five sizes remain,
            else everything smaller than the target.
        setting: what was kept from the small runs, such as `{"learning_rate": 3e-4}`; default that of `run` where two sizes
            were run at it, else `kept_setting` of the fitted runs.
        over: scale columns of the laws; default `default_over`.
        run: a table of one row, the run to judge; default those at the target that keep the setting.
        level: of the intervals.

    Raises:
        DataError: no scale varies, or no run finished.
    """
    over = default_over(trials, at) if over is None else (over,) if isinstance(over, str) else tuple(over)
    goal = at if at is not None or run is None else run.rows()[0]
    target = place(over, goal) if goal is not None else _largest(trials, over)
    small = _smaller(trials, over, target, upto)
    try:
        if not small.any():
            raise DataError("no run is smaller than the target", trials.source, "Name a larger target, or raise the limit")
        fitted = trials.where(small)
        hyper = default_hyper(fitted, over)
        own = {} if run is None else _own(run, fitted, over, hyper)
        kept = dict(setting or {}) or own or (kept_setting(fitted, over=over, hyper=hyper) if hyper else {})
        found = forecast(fitted, target, over=over, hyper=hyper or None, with_=kept or None, level=level)
    except DataError as error:
        return Analysis(None, reason=str(error))
    kept = dict(found.fixed.setting) if found.fixed is not None else kept
    runs = [run] if run is not None else _rows(trials, {**{name: target[name] for name in over}, **kept})
    return Analysis(found, tuple(check(fitted, run, over=over, hyper=hyper or None) for run in runs[:_MOST_JUDGED]))


def report(
    trials: Trials,
    *,
    forecast: Forecast | None = None,
    verdicts: Iterable[Verdict] = (),
    title: str | None = None,
    account: str | Sequence[str] | None = None,
    at: Mapping[str, float] | None = None,
    upto: Mapping[str, float] | None = None,
    setting: Mapping[str, float] | None = None,
    over: str | Sequence[str] | None = None,
    run: Trials | None = None,
    level: float = 0.9,
) -> str:
    """One self-contained HTML page about a study: it loads nothing, prints, and follows the reader's light or dark setting.

    Args:
        trials: every run to show.
        forecast, verdicts: what to show; without both, `analyse` makes them from the other arguments.
        title: of the page.
        account: the first paragraph, as sentences; default told from the numbers.

    Raises:
        DataError: no scale varies, or no run finished.
    """
    verdicts = tuple(verdicts)
    reason = ""
    if forecast is None and not verdicts:
        found = analyse(trials, at=at, upto=upto, setting=setting, over=over, run=run, level=level)
        forecast, verdicts, reason = found.forecast, found.verdicts, found.reason
    elif forecast is None:
        forecast = verdicts[0].forecast
    figure = figures["four_pane"].data(trials, forecast=forecast, verdicts=verdicts)
    if account is None:
        sentences = _told(trials, forecast, verdicts, reason)
    else:
        sentences = [account] if isinstance(account, str) else list(account)
    kept = {} if forecast is None or forecast.fixed is None else forecast.fixed.setting
    further = None if forecast is None else _planned(trials, forecast)
    pictures = [figure.data(trials, plan=further) for figure in (GainPerCost(), SpendVsRegret())] if further is not None else []
    notes = {"Kept setting": ", ".join(f"{name} = {short(value, 3)}" for name, value in kept.items())} if kept else {}
    return page(
        trials,
        figure,
        forecast=forecast,
        verdicts=verdicts,
        title=title or _title(trials),
        account=sentences,
        notes=notes,
        plan=further,
        pictures=pictures,
    )


def _planned(trials: Trials, forecast: Forecast) -> Plan | None:
    """The next runs for a target beyond all the trials, with a budget of what its own run costs; None where none can be told."""
    over = forecast.frontier.over
    try:
        costs = costs_of(trials, over)
        found = plan(trials, forecast.at, costs.at(forecast.at), over=over, hyper=forecast.frontier.hyper or None, costs=costs)
    except (DataError, InputError):
        return None
    return found if found.curve else None


def _largest(trials: Trials, over: Sequence[str]) -> dict[str, float]:
    """The largest size with a finished run, by the product of its scale columns."""
    finished = trials.finished
    if not len(finished):
        raise DataError("no run finished with a finite loss", trials.source, "Check the loss column and the filter")
    size = _size(finished, over)
    place = int(np.nanargmax(size))
    return {name: float(finished.numbers(name)[place]) for name in over}


def _size(trials: Trials, over: Sequence[str]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):  # no size is no run that a law is fitted to
        return np.sum([np.log(trials.numbers(name)) for name in over], axis=0)


def _smaller(
    trials: Trials, over: Sequence[str], target: Mapping[str, float], upto: Mapping[str, float] | None
) -> NDArray[np.bool_]:
    """The rows that laws are fitted to."""
    if upto:
        masks = [trials.numbers(name) <= value * (1 + 1e-9) for name, value in upto.items()]
        return np.asarray(np.all(masks, axis=0))
    size, goal = _size(trials, over), sum(np.log(target[name]) for name in over)
    far = size <= goal - np.log(_SMALLER) + 1e-9
    enough = len({round(float(each), 6) for each in size[far]}) >= _LEAST
    return np.asarray(far if enough else size < goal - 1e-9)


def _rows(trials: Trials, point: Mapping[str, float]) -> list[Trials]:
    """The runs at one size and setting that finished or diverged, each as a table of one row."""
    same = np.ones(len(trials), dtype=bool)
    for name, value in point.items():
        same &= np.isclose(trials.numbers(name), value, rtol=1e-6, atol=0.0)
    found = trials.where(same)
    ended = [index for index, row in enumerate(found.rows()) if row.get("status", "COMPLETE") in ("COMPLETE", "DIVERGED")]
    return [found.where(np.arange(len(found)) == index) for index in ended]


def _own(run: Trials, fitted: Trials, over: Sequence[str], hyper: Sequence[str]) -> dict[str, float]:
    """The run's own setting; empty where the run does not give it, or fewer than two sizes were run at it."""
    if any(name not in run for name in hyper):
        return {}
    own = {name: float(run.numbers(name)[0]) for name in hyper}
    sizes = {tuple(row.numbers(name)[0] for name in over) for row in _rows(fitted, own) if len(row.finished)}
    return own if len(sizes) >= 2 else {}


def _title(trials: Trials) -> str:
    tasks = sorted({str(each) for each in trials["task"] if each}) if "task" in trials else []
    return f"Scaling study: {', '.join(tasks)}" if tasks else "Scaling study"


def _told(trials: Trials, forecast: Forecast | None, verdicts: Sequence[Verdict], reason: str) -> list[str]:
    """The account in plain sentences, from the numbers alone."""
    if forecast is None:
        return [f"Measured: {facts(trials)}", f"There is no forecast: {reason}"]
    where = ", ".join(f"{name} {short(value)}" for name, value in forecast.at.items())
    sizes = forecast.frontier.trials.numbers(forecast.frontier.over[0])
    name = forecast.frontier.over[0].replace("_", " ")
    sentences = [f"Laws were fitted to {len(sizes)} sizes, {name} {short(min(sizes))} to {short(max(sizes))}."]
    span = f"{short(forecast.loss)} ({forecast.level:.0%} interval {short(forecast.low)} to {short(forecast.high)})"
    fixed = forecast.fixed
    if fixed is not None and forecast.frontier.tuned:
        held = " and ".join(f"{key.replace('_', ' ')} {short(value, 3)}" for key, value in fixed.setting.items())
        sentences.append(f"With {held} kept, they promise a loss of {short(fixed.loss)} at {where}.")
    seen = [verdict.observed for verdict in verdicts if verdict.observed is not None]
    if verdicts and seen:
        mean = "" if len(seen) == 1 else f", the mean of {len(seen)} seeds"
        sentences.append(f"The run gave {short(float(np.mean(seen)))}{mean}.")
    if verdicts:
        lost = len(verdicts) - len(seen)
        sentences += [f"{lost} of {len(verdicts)} runs diverged."] if lost else []
        sentences.append(f"Verdict: {verdicts[0].verdict.value}")
    if not forecast.frontier.tuned:
        sentences.append(f"Run as the small ones were, {where} should reach {span}.")
        return sentences
    for key, best in forecast.optimum.items():
        sentences.append(
            f"The best {key.replace('_', ' ')} at {where} is predicted to be {short(best.value, 3)} "
            f"({short(best.low, 3)} to {short(best.high, 3)})."
        )
    sentences.append(f"Tuned, the loss should be {span}.")
    truth = _rows(trials, {each: forecast.at[each] for each in forecast.frontier.over})
    losses = [float(run["loss"][0]) for run in truth if len(run.finished)]
    if losses:
        inside = "inside" if forecast.low <= min(losses) <= forecast.high else "outside"
        sentences.append(f"The lowest loss measured there is {short(min(losses))}, {inside} that interval.")
    return sentences
