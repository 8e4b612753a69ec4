"""Running a study until a condition holds: only what is asked for is trained, nothing twice, and each end says why."""

from __future__ import annotations

import contextlib
import math
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scalelaw.until as module
from scalelaw.errors import DataError, InputError, StoreError
from scalelaw.plan import Decision
from scalelaw.run import Event, Progress, RunSummary, TrialEnded
from scalelaw.store import Store, load
from scalelaw.study import Grid, Study
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.train.count import flops
from scalelaw.trial import Origin, Status, Trial, TrialSpec
from scalelaw.until import Ended, Round, condition, plan_study, run_until, suggest

RATES = tuple(float(f"{rate:.3g}") for rate in np.geomspace(1e-3, 0.3, 13))


def study(seeds: int = 2, widths: tuple[int, ...] = (8, 16, 32, 64, 128), **options: Any) -> Study:
    grid = Grid({"width": widths, "steps": (30,)}, {"learning_rate": RATES, "batch_size": (16,)}, tuple(range(seeds)))
    return Study("tiny", "teacher_student", (grid,), target={"width": 1024.0}, **options)


# ---- the condition ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "limit", "holds", "fails"),
    [
        ("regret < 0.2 %", "regret", 0.002, 0.001, 0.003),
        ("regret<0.002", "regret", 0.002, 0.001, 0.003),
        (" interval <= 1%", "interval", 0.01, 0.001, 0.02),
        ("spend > 1e15", "spend", 1e15, 2e15, 1e14),
        ("runs >= 200", "runs", 200.0, 201.0, 10.0),
    ],
)
def test_conditions(text: str, name: str, limit: float, holds: float, fails: float) -> None:
    found = condition(text)
    assert (found.name, found.limit) == (name, pytest.approx(limit))
    assert found.holds({name: holds})
    assert not found.holds({name: fails})
    assert not found.holds({}), "what is not known does not hold"


@pytest.mark.parametrize(
    "text",
    ["", "regret", "regret = 1", "regret < ", "regret < small", "loss < 1", "regret < 1 % or so", "1 > regret", "regret < 1..2"],
)
def test_conditions_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=re.escape("regret < 0.2 %")):
        condition(text)


@given(st.text(max_size=20))
def test_any_text_is_a_condition_or_one_line(text: str) -> None:
    with contextlib.suppress(InputError):
        assert math.isfinite(condition(text).limit)


# ---- the loop, with a simulated trainer ---------------------------------------------------------------------------------


class Trainer:
    """Takes the place of `run`: losses of a known surface, a count of what was trained, and a way to stop."""

    def __init__(
        self, stop_after: int = 10**6, lost: bool = False, broken: Callable[[TrialSpec], bool] = lambda _: False
    ) -> None:
        self.world = Surface(axes(1, learning_rate={"centre": 0.02, "exponents": (-0.4,)}), sizes=5, smallest=(8.0,), tau=0.02)
        self.trained: Counter[str] = Counter()
        self.rounds, self.stop_after, self.lost, self.broken = 0, stop_after, lost, broken

    def __call__(self, part: Study, storage: str | Path, **_: Any) -> RunSummary:
        self.rounds += 1
        specs = part.specs
        interrupted = self.rounds > self.stop_after
        specs = specs[: len(specs) // 2] if interrupted else specs
        ended: list[Trial] = []
        for spec in specs:
            self.trained[spec.id] += 1
            if self.broken(spec):
                ended.append(Trial(spec, Status.FAILED, error="no memory", origin=Origin.TRAINED))
                continue
            point = {"width": float(spec.scale["width"])}
            random = np.random.default_rng(
                [spec.seed, int(1e6 * float(spec.hyperparameters["learning_rate"])), int(point["width"])]
            )
            rate = {"learning_rate": float(spec.hyperparameters["learning_rate"])}
            loss = math.nan if self.lost else self.world.run(random, point, rate, np.zeros(1))
            status = Status.COMPLETE if math.isfinite(loss) else Status.DIVERGED
            ended.append(
                Trial(spec, status, compute=flops(spec), loss=loss if math.isfinite(loss) else None, origin=Origin.TRAINED)
            )
        with Store(storage) as store:
            store.put(ended)
        done = Progress(len(part.specs), len(specs), 0, 0, 0, 0.0, 0.0, 0.0, None, None)
        return RunSummary(part.name, str(storage), done, 0, len(specs), "SIGINT" if interrupted else None)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    found = Trainer()
    monkeypatch.setattr(module, "run", found)
    return found


def test_the_loop_ends_when_the_condition_holds(trainer: Trainer, tmp_path: Path) -> None:
    told: list[Round] = []
    found = run_until(study(), tmp_path / "s.db", "regret < 0.5 %", on_round=told.append)
    assert found.ended is Ended.REACHED
    assert tuple(told) == found.rounds
    last = found.rounds[-1]
    assert last.regret is not None
    assert last.regret.value < 0.005
    assert last.regret.low <= last.regret.value <= last.regret.high
    assert last.next == 0
    assert [each.number for each in told] == list(range(1, len(told) + 1))
    assert last.runs == sum(trainer.trained.values()) < found.trials == 130
    assert set(trainer.trained.values()) == {1}, "nothing is trained twice"
    assert last.spend == pytest.approx(sum(flops(spec) for spec in study().specs if spec.id in trainer.trained))
    assert last.spend < 0.5 * found.flops
    # What it stopped for is true: the predicted rate loses about as much as was said.
    plan = plan_study(study(), tmp_path / "s.db", 1e12)
    rate = math.log(plan.setting["learning_rate"].value)
    lost = math.expm1(float(trainer.world.cost({"width": 1024.0}, [rate - trainer.world.best({"width": 1024.0})[0]])))
    assert lost < 0.02


def test_the_other_conditions_end_it_too(trainer: Trainer, tmp_path: Path) -> None:
    for k, text in enumerate(("runs >= 20", "spend > 1e6", "interval < 50 %")):
        assert run_until(study(), tmp_path / f"{k}.db", text).ended is Ended.REACHED
    assert trainer.rounds > 3


def test_a_loop_that_was_interrupted_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = Trainer(stop_after=2)
    monkeypatch.setattr(module, "run", first)
    found = run_until(study(), tmp_path / "s.db", "regret < 0.5 %")
    assert found.ended is Ended.INTERRUPTED
    assert found.summary is not None
    assert found.summary.interrupted == "SIGINT"
    second = Trainer()
    monkeypatch.setattr(module, "run", second)
    again = run_until(study(), tmp_path / "s.db", "regret < 0.5 %")
    assert again.ended is Ended.REACHED
    assert again.rounds[0].runs == sum(first.trained.values())
    assert not set(first.trained) & set(second.trained)
    rounds = second.rounds
    assert run_until(study(), tmp_path / "s.db", "regret < 0.5 %").ended is Ended.REACHED
    assert second.rounds == rounds, "a condition that holds trains nothing"


def test_the_budget_ends_it(trainer: Trainer, tmp_path: Path) -> None:
    cheapest = min(flops(spec) for spec in study().specs)
    budget = 14.5 * cheapest
    found = run_until(study(), tmp_path / "s.db", "regret < 0.0001 %", budget=budget)
    assert found.ended is Ended.BUDGET
    assert found.rounds[-1].spend <= budget
    assert found.rounds[-1].spend > budget - 3 * cheapest
    assert run_until(study(budget=budget), tmp_path / "s.db", "regret < 0.0001 %").ended is Ended.BUDGET
    with pytest.raises(InputError, match="buys no run"):
        run_until(study(), tmp_path / "t.db", "regret < 1 %", budget=0.5 * cheapest)
    assert sum(trainer.trained.values()) == found.rounds[-1].runs


def test_a_study_may_be_used_up(trainer: Trainer, tmp_path: Path) -> None:
    small = study(seeds=1, widths=(8, 16, 32))
    found = run_until(small, tmp_path / "s.db", "regret < 0.00001 %")
    assert found.ended is Ended.EXHAUSTED
    assert len(trainer.trained) == len(small.specs) == found.rounds[-1].runs


def test_other_trials_of_the_store_are_left_out(trainer: Trainer, tmp_path: Path) -> None:
    other = study(seeds=4, widths=(8, 24))
    run_until(other, tmp_path / "s.db", "runs >= 104")
    before = len(trainer.trained)
    found = run_until(study(), tmp_path / "s.db", "runs >= 40")
    # Width 8 and its first seeds belong to both studies and are trained once.
    assert found.rounds[0].runs == 26
    assert set(trainer.trained.values()) == {1}
    assert len(trainer.trained) > before


def test_a_trial_that_always_fails_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # One of what a round later than the first asks for.
    whole = Trainer()
    monkeypatch.setattr(module, "run", whole)
    run_until(study(), tmp_path / "whole.db", "runs >= 40")
    last = list(whole.trained)[-1]
    trainer = Trainer(broken=lambda spec: spec.id == last)
    monkeypatch.setattr(module, "run", trainer)
    found = run_until(study(), tmp_path / "s.db", "runs >= 60")
    assert found.ended is Ended.REACHED
    assert found.failed == trainer.trained[last] == 1
    assert set(trainer.trained.values()) == {1}, "nothing is tried again by the same call"
    assert found.to_dict()["failed"] == found.failed
    # The next call tries them again.
    trainer.broken = lambda _: False
    assert run_until(study(), tmp_path / "s.db", "runs >= 130").failed == 0
    assert len(trainer.trained) == 130


def test_where_nothing_comes_to_an_end_it_gives_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trainer = Trainer(broken=lambda _: True)
    monkeypatch.setattr(module, "run", trainer)
    with pytest.raises(DataError, match="none of this round's trials"):
        run_until(study(), tmp_path / "s.db", "regret < 1 %")
    assert trainer.rounds == 1
    later = Trainer(broken=lambda _: later.rounds > 2)
    monkeypatch.setattr(module, "run", later)
    with pytest.raises(DataError, match="none of this round's trials"):
        run_until(study(), tmp_path / "t.db", "regret < 0.0001 %")
    assert later.rounds == 2 + 3


def test_where_every_run_diverges_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "run", Trainer(lost=True))
    with pytest.raises(DataError, match="runs diverged"):
        run_until(study(seeds=1), tmp_path / "s.db", "regret < 1 %", budget=1e9)
    assert len(load(tmp_path / "s.db")) < 30, "it gives up before the pool is used up"
    with pytest.raises(DataError, match="diverged"):
        plan_study(study(seeds=1), tmp_path / "s.db", 1e12)


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    untold = Study("tiny", "teacher_student", study().grids)
    with pytest.raises(InputError, match="target"):
        run_until(untold, tmp_path / "s.db", "regret < 1 %")
    with pytest.raises(InputError, match="own sizes"):
        run_until(study(), tmp_path / "s.db", "regret < 1 %", target={"width": 64.0})
    with pytest.raises(InputError, match="does not vary"):
        run_until(study(), tmp_path / "s.db", "regret < 1 %", target={"depth": 64.0})
    for nothing in (0.0, math.nan):
        with pytest.raises(InputError, match="buys no run"):
            run_until(study(), tmp_path / "s.db", "regret < 1 %", budget=nothing)
    grid = Grid({"width": (8, 16), "steps": (30,)}, {"learning_rate": (1e-3, 1e-2)})
    with pytest.raises(InputError, match="three values"):
        run_until(Study("two", "teacher_student", (grid,)), tmp_path / "s.db", "regret < 1 %", target={"width": 64.0})
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_read_is_not_taken_for_one_without_trials(trainer: Trainer, tmp_path: Path) -> None:
    del trainer
    store = tmp_path / "s.db"
    run_until(study(), store, "runs > 3")
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    for ask in (plan_study, lambda *given: suggest(given[0], given[1], 3)):
        with pytest.raises(StoreError, match="newer scalelaw"):
            ask(study(), store, 1e9)
    assert suggest(study(), tmp_path / "none.db", 3)
    (tmp_path / "new.db").touch()
    assert suggest(study(), tmp_path / "new.db", 3)
    assert not (tmp_path / "none.db").exists()


def test_a_plan_of_a_study_chooses_among_its_own_trials(trainer: Trainer, tmp_path: Path) -> None:
    first = plan_study(study(), tmp_path / "s.db", 1e12)
    assert first.decision is Decision.EVALUATE
    assert {run.values["width"] for run in first.runs} == {8.0}
    assert first.curve == ()
    run_until(study(), tmp_path / "s.db", "runs >= 20")
    later = plan_study(study(), tmp_path / "s.db", 1e12)
    assert later.curve
    assert {run.values["learning_rate"] for run in later.runs} <= set(RATES)
    assert trainer.rounds


# ---- with the real trainer ----------------------------------------------------------------------------------------------


def test_a_real_study_is_trained_as_far_as_it_must_be(tmp_path: Path) -> None:
    store, events = tmp_path / "study.db", list[Event]()
    tiny = study(seeds=1, widths=(4, 8, 16, 32))

    rounds: list[Round] = []

    def stop(each: Round) -> None:
        rounds.append(each)
        if each.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_until(tiny, store, "runs >= 16", max_parallel=1, on_event=events.append, on_round=stop)
    assert len(load(store)) == rounds[-1].runs == sum(each.next for each in rounds[:-1])
    found = run_until(tiny, store, "runs >= 16", max_parallel=1, on_event=events.append)
    assert found.ended is Ended.REACHED
    ended = Counter(event.trial.id for event in events if isinstance(event, TrialEnded))
    assert set(ended.values()) == {1}
    assert len(ended) == found.rounds[-1].runs == len(load(store)) >= 16
    assert set(ended) < {spec.id for spec in tiny.specs}
