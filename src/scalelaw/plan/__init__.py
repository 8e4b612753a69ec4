"""What to run next, whether it is worth its cost, and when to stop measuring and trust the law."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..cells import default_over, names_of
from ..errors import DataError, InputError
from ..estimate import Estimate
from ..forecast import forecast
from ..frontier import kept_setting
from ..lookahead import keep
from ..trials import Trials, place
from ._ahead import Ahead
from ._belief import Belief
from ._candidates import Candidates
from ._costs import Costs, costs_of
from ._decide import Goal, Worth, rung_rule, too_far, worth_of
from ._journey import Journey, Question, chance, reason
from ._price import Price, price_of
from ._propose import Known, known, propose
from ._recipe import Limits, blind, free, ladder, recipe_of, within
from ._result import Decision, Mistake, Plan, PlannedRun, Rung, Spend
from ._rows import rows_of, study_of
from ._select import Policy

__all__ = [
    "Candidates",
    "Costs",
    "Decision",
    "Limits",
    "Mistake",
    "Plan",
    "PlannedRun",
    "Policy",
    "Price",
    "Rung",
    "Spend",
    "costs_of",
    "known",
    "plan",
    "price_of",
    "propose",
    "regret_of",
    "some_finished",
    "study_of",
]


def plan(
    trials: Trials,
    target: Mapping[str, float],
    budget: float,
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    limits: Limits | None = None,
    pool: Candidates | None = None,
    costs: Costs | Callable[[Mapping[str, float]], float] | None = None,
    goal: float | None = None,
    price: Price | None = None,
    level: float = 0.9,
    seed: int = 0,
) -> Plan:
    """Choose the next runs for a target, and say whether they are worth it.

    Args:
        trials: the runs so far.
        target: the scale to set hyperparameters for, beyond the data.
        budget: FLOPs that may be spent before it.
        over, hyper: scale columns and hyperparameters; see `frontier`.
        limits: sizes, largest run and slots allowed.
        pool: the runs that may be made; default settings about the predicted best, at the sizes so far and rungs beyond them.
        costs: FLOPs of a run by its scale; default `costs_of` the runs.
        goal: a loss that the target must reach to be worth its cost.
        price: what FLOPs are paid in; see `price_of`.
        level: of the intervals. seed: of the runs that fill space.

    Raises:
        DataError: every run diverged, no cost is known, or nothing can be told of settings.
        InputError: a target within the data, a budget that buys no run, or limits that leave none.
    """
    limits = limits or Limits()
    if not (budget > 0 and math.isfinite(budget)):
        raise InputError(f"a budget of {budget:g} FLOPs", "--budget", "Give a number above 0, such as 1e15")
    if goal is not None and not goal > 0:
        raise InputError(f"a goal of {goal:g}", "--goal", "Give a loss above 0")
    some_finished(trials)
    if pool is not None:
        pool = within(pool, limits)
        names, hypers = pool.over, pool.hyper
    else:
        names, hypers = names_of(trials, _over(trials, target) if over is None else over, hyper)
    point = place(names, target)
    _beyond(trials, names, point)
    costs = _costs(trials, names, costs)
    question = Question(point, budget, costs, limits, goal, price or Price(), level, seed, _spent(trials, names, costs))
    state = known(trials, names, hypers) if hypers else None
    if state is None:
        pool = blind(trials, (names, hypers), point, costs, limits) if pool is None else pool
        _affordable(pool, budget)
        return _first(trials, pool, question)
    pool = free(state.response, ladder(state.edge, point, costs, limits), costs) if pool is None else pool
    _affordable(pool, budget)
    return _planned(trials, state, pool, question)


def _over(trials: Trials, target: Mapping[str, float]) -> tuple[str, ...]:
    """The scale columns; those of the target where one size alone was run."""
    own = tuple(name for name in target if name in trials)
    one = own and not trials.varying(own)
    return own if one else tuple(default_over(trials, target))


def some_finished(trials: Trials) -> None:
    """Raise DataError where there are runs and none of them finished with a loss that counts."""
    if len(trials.finished) or not len(trials):
        return
    lowest = ""
    if "learning_rate" in trials:
        rates = trials.numbers("learning_rate")
        lowest = f"; the lowest learning rate was {np.nanmin(rates):g}" if np.isfinite(rates).any() else ""
    what = f"all {len(trials)} runs diverged, failed or stayed at chance{lowest}"
    raise DataError(what, trials.source, "Start again from rates ten to a thousand times lower")


def _beyond(trials: Trials, over: Sequence[str], point: Mapping[str, float]) -> None:
    if not len(trials):
        return
    finished = trials.finished
    if all(point[name] <= float(np.nanmax(finished.numbers(name))) * (1 + 1e-9) for name in over):
        where = ", ".join(f"{name} {value:g}" for name, value in point.items())
        raise InputError(f"{where} lies within the sizes measured", "--target", "Its best settings: scalelaw optimum --at")


def _costs(trials: Trials, over: tuple[str, ...], costs: Costs | Callable[[Mapping[str, float]], float] | None) -> Costs:
    if isinstance(costs, Costs):
        return costs
    return costs_of(trials, over) if costs is None else Costs.counted(over, costs)


def _spent(trials: Trials, over: tuple[str, ...], costs: Costs) -> float:
    """FLOPs of all runs so far."""
    total = 0.0
    for values, rows in trials.groups(over):
        if all(isinstance(value, float) and value > 0 for value in values):
            total += len(rows) * costs.at(dict(zip(over, map(float, values), strict=True)))
    return total


def _affordable(pool: Candidates, budget: float) -> None:
    if float(pool.cost.min()) > budget:
        raise InputError(
            f"a budget of {budget:.3g} FLOPs buys no run: the cheapest costs {pool.cost.min():.3g}", "--budget", "Raise it"
        )


def _first(trials: Trials, pool: Candidates, question: Question) -> Plan:
    """A first design: no bowl can be told yet."""
    picks = propose(trials, pool, [question.target], question.budget, seed=question.seed)
    runs = rows_of(picks, pool, lambda point: dict(point), trials)[: question.limits.slots]
    reason = f"No bowl can be told yet: {len(runs)} runs at the cheapest sizes come first."
    return Plan(
        question.target,
        question.budget,
        question.costs.at(question.target),
        tuple(runs),
        Decision.EVALUATE,
        reason,
        price=question.price,
        notes=(question.costs.rule,),
        hyper=pool.hyper,
    )


def regret_of(state: Known, target: Mapping[str, float]) -> Estimate:
    """Share of the target's loss that its predicted settings are expected to lose: the mean, and the 5 and 95 % points."""
    point = place(state.edge.over, target)
    scales = [bowl.point for bowl in state.response.bowls]
    belief = Belief(state.response, scales, [point], np.full(len(scales), 1.0))
    loss = float(state.edge.trials.numbers("loss").min())
    ahead = Ahead(state.response, point, belief, chance(state.edge.source, loss))
    low, high = (float(each) for each in np.quantile(ahead.draws(belief), (0.05, 0.95)))
    return Estimate(ahead.expected(belief), low, high)


def _planned(trials: Trials, state: Known, pool: Candidates, question: Question) -> Plan:
    """Gain per cost along a path of fantasies, and where it should end."""
    found = forecast(state.edge, question.target, level=question.level)
    worth = worth_of(found, question.costs, question.target)
    goal = None if question.goal is None else Goal(math.log(question.goal / found.loss), max(found.sd_log, 1e-6))
    journey = Journey(state, pool, question, found, worth, goal)
    journey.go()
    stop = journey.stop
    rungs = journey.rungs()
    sound, rung_sentence = rung_rule(found.backtest, question.level)
    picks, why = journey.picks[:stop], ""
    decision = Decision.EVALUATE if picks else Decision.EXTRAPOLATE
    if not picks and (sound is False or too_far(found)):
        picks, decision = journey.nearest_rung(found.reach.checked), Decision.EVALUATE
        why = rung_sentence if sound is False else found.reach.message
        why += "" if picks else " No run that would settle it is allowed within the budget: raise it, or the limits."
    sentence = why or reason(journey, picks, rungs, question)
    if not why and (sound is False or too_far(found)):
        sentence += f" Then look again: {rung_sentence if sound is False else found.reach.message}"
    recipe = recipe_of(state.edge)
    assert found.optima is not None
    return Plan(
        question.target,
        question.budget,
        worth.cost,
        tuple(rows_of(picks, pool, recipe.at, trials)[: question.limits.slots]),
        decision,
        sentence,
        tuple(journey.curve),
        tuple(rungs),
        _mistake(trials, state, question, worth),
        None if goal is None else journey.go_no_go(goal),
        found.optima.estimates(question.target),
        question.price,
        (question.costs.rule, rung_sentence, found.reach.message, question.price.rule),
        state.edge.hyper,
        (pool, journey.first_gains),
        stop,
    )


def _mistake(trials: Trials, state: Known, question: Question, worth: Worth) -> Mistake | None:
    """The price of keeping the setting that is best at the middle sizes."""
    edge = state.edge
    try:
        setting = kept_setting(trials, over=edge.over, hyper=edge.hyper)
        found = keep(state.response, setting, level=question.level).excess(question.target)
    except (DataError, InputError):
        return None
    value, low, high = (math.expm1(min(each, 50.0)) for each in (found.value, found.low, found.high))
    excess = Estimate(value, low, high, found.level)
    times = worth.times(found.value)
    words = ", ".join(f"{name} {value:.3g}" for name, value in setting.items())
    lost = f"is expected to cost {value:.1%} of the loss: as if the run had 1/{times:.3g} of its compute"
    message = f"Keeping {words} {lost if value < 1 else 'is expected to fail: it costs more than the loss itself'}."
    return Mistake(setting, excess, times, message)
