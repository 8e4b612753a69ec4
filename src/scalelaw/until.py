"""Running a study only as far as it must: plan, run, plan again, until a condition holds.

The study's own trials are the pool; each round the planner chooses among those that were not trained yet (`plan`), `run` trains
them, and the target's expected regret is read off again.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._goal import Condition, condition
from .axis import axis_of
from .errors import DataError, InputError, NoStoreError
from .estimate import Estimate
from .forecast import forecast
from .plan import Candidates, Plan, Policy, known, plan, propose, regret_of, some_finished
from .run import RunSummary, costs_of, counting, run
from .store import Store, shown
from .study import Grid, Parent, Study
from .trial import TrialSpec
from .trials import Trials

__all__ = ["Condition", "Ended", "Loop", "Round", "condition", "plan_study", "run_until", "suggest"]

Array: TypeAlias = NDArray[np.float64]

# A round adds this share to what was spent so far: each is fitted before the next is chosen.
_ROUND = 0.35
# and starts workers anew: it has so many runs at least, and at most.
_FEWEST, _MOST = 6, 128
# Trials that may all diverge before the loop gives up.
_HOPELESS = 12
# Rounds in a row that may bring nothing.
_FRUITLESS = 3


class Ended(enum.Enum):
    """Why a loop ended. The value is the sentence a report prints."""

    REACHED = "The condition holds."
    BUDGET = "The budget is used up before the condition holds."
    EXHAUSTED = "Every trial of the study is trained, and the condition does not hold: widen its grid or add sizes."
    INTERRUPTED = "Interrupted; the same command goes on."


@dataclass(frozen=True)
class Round:
    """One round of the loop.

    Args:
        number: from 1. runs, spend: made so far, and FLOPs of them.
        regret: expected now; None while no bowl can be told. interval: of the forecast, relative; None likewise.
        next: trials chosen for this round.
    """

    number: int
    runs: int
    spend: float
    regret: Estimate | None
    interval: float | None
    next: int


@dataclass(frozen=True)
class Loop:
    """How a loop ended.

    Args:
        ended: why. rounds: what happened. summary: of the last run; None where nothing had to be trained.
        trials: of the whole study. flops: of the whole study.
        failed: trials that failed or were lost and were left out from then on.
    """

    ended: Ended
    rounds: tuple[Round, ...]
    summary: RunSummary | None
    trials: int
    flops: float
    failed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [{**vars(each), "regret": None if each.regret is None else each.regret.to_dict()} for each in self.rounds]
        return {
            "ended": self.ended.name,
            "message": self.ended.value,
            "rounds": rows,
            "trials": self.trials,
            "flops": self.flops,
            "failed": self.failed,
        }


class _Pool:
    """The study's trials as candidates: one per setting and scale, its seeds in order."""

    def __init__(self, study: Study, over: Sequence[str]) -> None:
        self.over = tuple(over)
        self.specs = _alike(study)
        self.costs = costs_of(study)
        self.hyper = _tuned(self.specs, self.over)
        if not self.hyper:
            raise InputError("no hyperparameter takes three values within a size", study.name, "Give learning_rate a range")
        self.groups: dict[tuple[Any, ...], list[TrialSpec]] = {}
        for spec in self.specs:
            key = (tuple(spec.scale.items()), tuple(spec.hyperparameters.items()))
            self.groups.setdefault(key, []).append(spec)

    def candidates(self, done: set[str]) -> Candidates:
        """What is left, given the trials that have a result."""
        firsts = [specs[0] for specs in self.groups.values()]
        sizes = np.array([[float(spec.scale[name]) for name in self.over] for spec in firsts])
        points, cell = np.unique(sizes, axis=0, return_inverse=True)
        settings = np.array([[float(spec.hyperparameters[name]) for name in self.hyper] for spec in firsts])
        z = np.stack([axis_of(name).coordinate(settings[:, j]) for j, name in enumerate(self.hyper)], axis=1)
        made = np.array([sum(spec.id in done for spec in specs) for specs in self.groups.values()], dtype=np.float64)
        count = np.array([len(specs) for specs in self.groups.values()], dtype=np.float64)
        cost = np.array([self.costs[spec.id] for spec in firsts])
        named = tuple(dict(zip(self.over, map(float, point), strict=True)) for point in points)
        return Candidates(self.over, self.hyper, named, cell.reshape(-1), z, cost, made, count - made)

    def take(self, indices: Sequence[int], done: set[str]) -> list[TrialSpec]:
        """The next seeds of chosen candidates."""
        groups, taken = list(self.groups.values()), set(done)
        chosen: list[TrialSpec] = []
        for index in indices:
            spec = next(each for each in groups[index] if each.id not in taken)
            taken.add(spec.id)
            chosen.append(spec)
        return chosen


def _alike(study: Study) -> tuple[TrialSpec, ...]:
    """The study's specs, each of which must give the same columns: a pool is one table.

    Raises:
        InputError: a grid leaves out what another gives.
    """
    every = {name for spec in study.specs for name in (*spec.scale, *spec.hyperparameters)}
    for spec in study.specs:
        missing = sorted(every - set(spec.scale) - set(spec.hyperparameters))
        if missing:
            raise InputError(f"some of its grids do not give {', '.join(missing)}", study.name, "Give each grid the same columns")
    return study.specs


def _tuned(specs: Sequence[TrialSpec], over: Sequence[str]) -> tuple[str, ...]:
    """Numeric hyperparameters with three values or more within a scale."""
    found: dict[str, dict[tuple[Any, ...], set[Any]]] = {}
    for spec in specs:
        place = tuple(spec.scale[name] for name in over)
        for name, value in spec.hyperparameters.items():
            if not isinstance(value, str):
                found.setdefault(name, {}).setdefault(place, set()).add(value)
    return tuple(name for name, scales in found.items() if max(map(len, scales.values())) >= 3)


def run_until(
    study: Study,
    storage: str | Path,
    until: str,
    *,
    target: Mapping[str, float] | None = None,
    budget: float | None = None,
    seed: int = 0,
    on_round: Callable[[Round], None] | None = None,
    **options: Any,
) -> Loop:
    """Train the trials of a study that the planner asks for, round by round, until a condition holds.

    Args:
        study: its trials are what may be trained.
        storage: path of the store.
        until: see `condition`.
        target: the scale it is for; default the study's.
        budget: FLOPs at most; default the study's, else all of it.
        seed: of the runs that fill space.
        on_round: called before each round is trained.
        options: passed on to `run`: engine, max_parallel, device, witnesses, on_event.

    Raises:
        InputError: no target, one within the study's sizes, a budget that buys no run, or what `run` raises.
        DataError: nothing came to an end in the first or in three rounds, or the first dozen of all trials diverged.
    """
    goal, point = condition(until), _target(study, target)
    pool = _Pool(study, _over(study, point))
    budget = _budget(study, budget)
    if not min(pool.costs.values()) <= budget:
        raise InputError(f"a budget of {budget:.3g} FLOPs buys no run", study.name, "Raise it")
    rounds, failures, summary, filled = list[Round](), _Failures(), None, None

    def over(ended: Ended) -> Loop:
        return Loop(ended, tuple(rounds), summary, len(pool.specs), math.fsum(pool.costs.values()), len(failures.ids))

    while True:
        trials, done = _so_far(storage, pool)
        if trials is not None and len(done) >= _HOPELESS and np.all(trials["status"] == "DIVERGED"):
            some_finished(trials)
        spend = math.fsum(pool.costs[key] for key in done)
        # What earlier calls spent on filling space is not on record; the planner holds to its share.
        filled = Policy().fill * spend if filled is None else filled
        values, regret, interval = _read(trials, pool, point)
        ended = Ended.REACHED if goal.holds({**values, "spend": spend, "runs": float(len(done))}) else None
        specs: list[TrialSpec] = []
        if ended is None:
            specs, filling = _next(trials, pool, done | failures.ids, point, (spend, filled, budget, seed))
            filled += filling
            if not specs:
                ended = Ended.EXHAUSTED if len(done | failures.ids) == len(pool.specs) else Ended.BUDGET
        rounds.append(Round(len(rounds) + 1, len(done), spend, regret, interval, len(specs)))
        if on_round is not None:
            on_round(rounds[-1])
        if ended is not None:
            return over(ended)
        if (summary := run(_part(study, specs), storage, **options)).interrupted:
            return over(Ended.INTERRUPTED)
        failures.note(specs, done, _so_far(storage, pool)[1], storage)


class _Failures:
    """Trials that did not come to an end. The planner would ask for them again: the next call may try them, this one does not."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.fruitless = 0

    def note(self, specs: Sequence[TrialSpec], before: set[str], now: set[str], storage: str | Path) -> None:
        """What a round left undone. Raises DataError where rounds bring nothing."""
        self.ids |= {spec.id for spec in specs} - now
        self.fruitless = 0 if now - before else self.fruitless + 1
        if self.fruitless >= (_FRUITLESS if now else 1):
            where = shown(storage)
            raise DataError("none of this round's trials came to an end", where, f"See why: scalelaw trials {where}")


def plan_study(
    study: Study,
    storage: str | Path,
    budget: float,
    *,
    target: Mapping[str, float] | None = None,
    **options: Any,
) -> Plan:
    """Plan from a study's own trials, those in the store counted as made: `plan` with the study as its pool.

    Args:
        study, storage, target: see `run_until`. budget: FLOPs. options: of `plan`: limits, goal, price, level, seed.

    Raises:
        InputError: no target, one within the study's sizes, or a budget that buys no run.
    """
    point = _target(study, target)
    pool = _Pool(study, _over(study, point))
    trials, done = _so_far(storage, pool)
    first, count = study.specs[0], counting(study)

    def cost(where: Mapping[str, float]) -> float:
        return count(replace(first, scale={**first.scale, **{name: max(round(value), 1) for name, value in where.items()}}))

    table = Trials.from_columns({"loss": []}, study.name) if trials is None else trials
    return plan(table, {name: point[name] for name in pool.over}, budget, pool=pool.candidates(done), costs=cost, **options)


def suggest(
    study: Study,
    storage: str | Path,
    count: int = 1,
    *,
    target: Mapping[str, float] | None = None,
    budget: float | None = None,
    busy: Collection[str] = (),
    seed: int = 0,
) -> list[TrialSpec]:
    """The trials of a study that the planner wants next, at most `count`; none where the budget or the study is used up.

    Args:
        study, storage, target, budget, seed: see `run_until`. busy: ids of trials that are being trained.

    Raises:
        InputError: as `run_until`.
    """
    point = _target(study, target)
    pool = _Pool(study, _over(study, point))
    trials, done = _so_far(storage, pool)
    held = done | {key for key in busy if key in pool.costs}
    spend = math.fsum(pool.costs[key] for key in held)
    at = (spend, Policy().fill * spend, _budget(study, budget), seed)
    return _next(trials, pool, held, point, at)[0][:count]


def _target(study: Study, target: Mapping[str, float] | None) -> dict[str, float]:
    """The target asked for, else the study's own. Raises InputError where there is none."""
    point = dict(target or study.target)
    if not point:
        raise InputError("no target is named", study.name, "Add [plan] target = { width = 1024 } to the study, or --target")
    return point


def _budget(study: Study, budget: float | None) -> float:
    """FLOPs at most: those asked for, which may be none, else the study's own."""
    found = study.budget if budget is None else budget
    return math.inf if found is None else found


def _over(study: Study, point: Mapping[str, float]) -> tuple[str, ...]:
    sizes = {name: {float(spec.scale[name]) for spec in study.specs if name in spec.scale} for name in point}
    over = tuple(name for name, values in sizes.items() if len(values) > 1)
    if not over:
        raise InputError(f"the study does not vary {', '.join(point)}", study.name, "Name a target in columns that it varies")
    if all(point[name] <= max(sizes[name]) for name in over):
        where = ", ".join(f"{name} {point[name]:g}" for name in over)
        raise InputError(f"the target {where} lies within the study's own sizes", study.name, "Name a larger one")
    return over


def _so_far(storage: str | Path, pool: _Pool) -> tuple[Trials | None, set[str]]:
    """The study's trials in the store, and the ids of those that need no further training. Raises StoreError."""
    try:
        with Store(storage, read_only=True) as store:
            table = store.table()
    except NoStoreError:
        return None, set()
    if not len(table):
        return None, set()
    mine = np.array([each in pool.costs for each in table["id"].tolist()], dtype=bool)
    table = table.where(mine)
    ended = [key for key, status in zip(table["id"].tolist(), table["status"].tolist(), strict=True) if status not in _AGAIN]
    return table, set(ended)


_AGAIN = ("FAILED", "LOST")


def _read(
    trials: Trials | None, pool: _Pool, point: Mapping[str, float]
) -> tuple[dict[str, float], Estimate | None, float | None]:
    state = None if trials is None else known(trials, pool.over, pool.hyper)
    if state is None:
        return {}, None, None
    regret = regret_of(state, point)
    try:
        found = forecast(state.edge, point)
        interval = 0.5 * math.log(found.high / found.low)
    except DataError:
        return {"regret": regret.value}, regret, None
    return {"regret": regret.value, "interval": interval}, regret, interval


def _next(
    trials: Trials | None, pool: _Pool, done: set[str], point: Mapping[str, float], at: tuple[float, float, float, int]
) -> tuple[list[TrialSpec], float]:
    """The trials of the next round, and FLOPs of these that fill space."""
    spend, filled, budget, seed = at
    candidates = pool.candidates(done)
    table = Trials.from_columns({"loss": []}) if trials is None else trials
    goal = [{name: point[name] for name in pool.over}]
    picks = propose(table, candidates, goal, budget - spend, spent=(spend, filled), seed=seed, most=_MOST)
    batch, cost = max(_ROUND * spend, float(candidates.cost.min())), 0.0
    kept = 0
    for pick in picks:
        cost += pick.cost
        if cost > batch and (kept >= _FEWEST or 0 < 2 * spend < cost):
            break
        kept += 1
    chosen = pool.take([pick.index for pick in picks[:kept]], done)
    return chosen, sum(pick.cost for pick in picks[:kept] if pick.filling)


def _part(study: Study, specs: Sequence[TrialSpec]) -> Study:
    """The study cut down to some of its trials."""
    grids = tuple(
        Grid(
            {name: (value,) for name, value in spec.scale.items()},
            {name: (value,) for name, value in spec.hyperparameters.items()},
            (spec.seed,),
            None if spec.init_from is None else _parent(spec.init_from),
        )
        for spec in specs
    )
    return replace(study, grids=grids, target={}, budget=None, until=None)


def _parent(first: TrialSpec) -> Parent:
    return Parent(first.task, first.model, first.scale, first.hyperparameters, first.task_options, first.seed)
