"""Runs that are stopped early: certain divergence, and halving within one size."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw import spool
from scalelaw.diagnostics import Case, diagnostics
from scalelaw.frontier import frontier
from scalelaw.run import run
from scalelaw.store import load
from scalelaw.study import parse_study
from scalelaw.train.outcome import judge_reports
from scalelaw.trainers import Order, Record, Rules
from scalelaw.trainers._course import MOST, Course
from scalelaw.trainers._rungs import Halving, Rungs, cell
from scalelaw.trial import Status, Trial, TrialSpec

STEPS = 1000


def spec(rate: float = 0.1, seed: int = 0, width: int = 8, steps: int = STEPS) -> TrialSpec:
    return TrialSpec("t", {"width": width, "steps": steps}, {"learning_rate": rate}, seed)


def told(losses: Iterable[tuple[int, float]], rules: Rules | None = None, what: TrialSpec | None = None) -> tuple[Trial, int]:
    """A run by its reports, and the step at which it was stopped; 0 where it was not."""
    record = Record(what or spec(), rules or Rules(), Order(Path("nowhere")))
    for step, loss in losses:
        if not record.note(step, loss, {}):
            return record.end(None), step
    return record.end(None), 0


# ---- certain divergence -------------------------------------------------------------------------------------------------


def test_a_run_that_is_blown_up_is_stopped_at_once() -> None:
    trial, step = told((step, 2.0 if step == 1 else 10.0**step) for step in range(1, STEPS + 1))
    assert step == 10
    assert (trial.status, trial.diverged_step, trial.last_loss, trial.loss) == (Status.DIVERGED, 10, 1e10, None)


@pytest.mark.parametrize(
    "losses",
    [
        {1: 2.0, 5: 1e8, 900: 1.9},  # a high rise that comes back as the rate falls
        {1: 1e-12, 5: 1e-2, 900: 1e-13},  # a start next to nothing
        {1: 0.0, 2: 1.0, 900: 0.0},
        {1: -5.0, 2: 1e6, 900: -6.0},
    ],
)
def test_a_run_that_may_come_back_goes_on(losses: dict[int, float]) -> None:
    marks = sorted(losses)
    trial, step = told((step, losses[max(mark for mark in marks if mark <= step)]) for step in range(1, STEPS + 1))
    assert step == 0
    assert (trial.status, trial.loss) == (Status.COMPLETE, losses[900])


def test_a_study_may_let_every_run_end() -> None:
    course = [(step, 2.0 if step == 1 else 1e12) for step in range(1, STEPS + 1)]
    trial, step = told(course, Rules(stop=False))
    assert step == 0
    # It is judged all the same, by where it ended.
    assert (trial.status, trial.diverged_step) == (Status.DIVERGED, STEPS)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.003, 0.25), st.sampled_from([1, 5, 20]))
def test_a_noisy_run_at_a_rate_next_to_nothing_is_never_stopped(seed: int, noise: float, every: int) -> None:
    random = np.random.default_rng(seed)
    course = [(step, 2.3 * math.exp(noise * random.standard_normal())) for step in range(1, STEPS + 1, every)]
    trial, step = told(course)
    assert step == 0
    assert trial.status is Status.COMPLETE


def test_how_reported_runs_are_judged() -> None:
    def status(*losses: float, **more: float) -> Status:
        found = judge_reports(range(1, len(losses) + 1), losses, losses[-1], **more)
        assert found.get("loss") == (losses[-1] if found["status"] is Status.COMPLETE else None)
        assert not found.get("at_chance") or "chance_loss" in more
        return found["status"]

    assert status(3.0, 2.0) is Status.COMPLETE
    assert status(3.0, 3.001) is Status.COMPLETE
    assert status(3.0, 3.1) is Status.DIVERGED
    assert status(3.0, 3.1, noise=0.05) is Status.COMPLETE
    assert status(3.0, 20.0, noise=1e9) is Status.DIVERGED
    assert status(-3.0, -2.0) is Status.COMPLETE
    assert status(3.0, 3.1, start=3.0, noise=0.05) is Status.DIVERGED
    assert status(2.5, 9.0, 2.29, chance_loss=2.3) is Status.DIVERGED
    assert status(2.5, 2.4, 2.29, chance_loss=2.3) is Status.COMPLETE
    assert status(2.5, 1.0, 1.0, 2.29, chance_loss=2.3) is Status.DIVERGED
    assert judge_reports([], [], 1.0)["status"] is Status.COMPLETE
    assert judge_reports([1], [2.4], 2.29, chance_loss=2.3)["at_chance"] is True


# ---- curves -------------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5 * MOST), st.integers(0, 10**6))
def test_a_course_keeps_the_mean_in_bounded_memory(count: int, seed: int) -> None:
    losses = np.random.default_rng(seed).normal(size=count)
    course = Course()
    for step, loss in enumerate(losses, start=1):
        course.add(step, float(loss))
    assert len(course) <= MOST
    mean, number = course.mean(after=0)
    assert (mean, number) == (pytest.approx(losses.mean(), abs=1e-9), count)
    curve = course.curve()
    assert curve is not None
    assert len(curve.steps) <= 200
    assert curve.steps[-1] == count
    assert list(curve.steps) == sorted(set(curve.steps))
    assert course.last is not None
    assert course.last[0] == count


def test_a_course_of_many_reports_keeps_its_shape_and_its_noise() -> None:
    """A loss reported at each of 300,000 steps: the curve is that of the whole run, not of its end."""
    steps = np.arange(300_000)
    losses = (1.0 + 2.0 * (1 + steps / 50) ** -0.5) * np.exp(0.02 * np.random.default_rng(0).normal(size=len(steps)))
    course = Course()
    for step, loss in zip(steps.tolist(), losses.tolist(), strict=True):
        course.add(step, loss)
    curve = course.curve()
    assert curve is not None
    assert 100 <= len(curve.steps) <= 200
    assert (curve.steps[0], curve.steps[-1]) == (1, len(steps) - 1)
    ends = np.array(curve.steps)
    expected = [losses[first + 1 : last + 1].mean() for first, last in zip([0, *ends[:-1]], ends, strict=True)]
    assert curve.losses == pytest.approx(expected, rel=0.01)
    assert course.noise() == pytest.approx(0.02, rel=0.1)
    assert course.mean(after=0.9 * len(steps))[0] == pytest.approx(losses[270_000:].mean(), rel=1e-3)


# ---- halving ------------------------------------------------------------------------------------------------------------


def test_rungs() -> None:
    halving = Halving(3, 100)
    assert [halving.rung(step) for step in (99, 100, 299, 300, 899, 900)] == [None, 100, 100, 300, 300, 900]


def test_the_best_settings_go_on_and_no_size_is_compared_with_another(tmp_path: Path) -> None:
    halving = Halving(3, 10)

    def goes_on(rate: float, loss: float, seed: int = 0, width: int = 8) -> bool:
        return Rungs(tmp_path, spec(rate, seed, width), halving).goes_on(10, loss)

    assert [goes_on(rate, rate) for rate in (3.0, 2.0, 1.0)] == [True] * 3
    assert not goes_on(4.0, 4.0)
    assert goes_on(0.5, 0.5)
    assert goes_on(9.0, 9.0, width=16)
    # An unlucky seed of the best setting goes on with it; a lucky one of the worst does not.
    assert goes_on(0.5, 1.2, seed=1)
    assert not goes_on(4.0, 2.5, seed=1)
    # A run that comes by again is no company of its own.
    assert not goes_on(4.0, 4.0)
    assert cell(spec(1.0, 5)) == cell(spec(2.0, 6)) != cell(spec(1.0, 5, width=16))


def test_at_a_number_of_tokens_no_batch_size_is_compared_with_another(tmp_path: Path) -> None:
    """The smallest batch ends best, and by any step it has seen the fewest tokens."""
    tokens, halving = 64_000, Halving(3, 25)
    sizes = (8, 16, 32, 64, 128, 256)

    def loss(batch: int, step: int) -> float:
        return 2 + 5 * (batch * step + 100) ** -0.25 * (1 + 0.02 * math.log2(batch))

    assert min(sizes, key=lambda batch: loss(batch, tokens // batch)) == 8
    for rung in (25, 75, 225):
        for batch in reversed(sizes):
            trial = TrialSpec("t", {"width": 16, "tokens": tokens}, {"batch_size": batch, "learning_rate": 0.1})
            assert Rungs(tmp_path, trial, halving).goes_on(rung, loss(batch, rung)), (rung, batch)
    # The rates of one batch size are; and so are batch sizes where every run has the same steps.
    rates = [TrialSpec("t", {"tokens": tokens}, {"batch_size": 8, "learning_rate": rate}) for rate in (0.1, 0.2, 0.3, 0.4)]
    assert [Rungs(tmp_path, each, halving).goes_on(25, float(each["learning_rate"])) for each in rates] == [True] * 3 + [False]
    assert cell(TrialSpec("t", {"steps": 9}, {"batch_size": 8})) == cell(TrialSpec("t", {"steps": 9}, {"batch_size": 16}))


def test_a_run_that_comes_back_from_a_checkpoint_does_not_pass_for_better_at_the_rung(tmp_path: Path) -> None:
    rules, order = Rules(halving=Halving(2, 10)), Order(tmp_path)

    def run(rate: float, steps: range) -> bool:
        record = Record(spec(rate), rules, order)
        return all(record.note(step, rate + 10 / step, {}) for step in steps)

    assert run(5.0, range(1, 15)), "the first goes on"
    assert run(5.0, range(18, 19)), "its worker was lost, it goes on from its checkpoint, where its loss is lower"
    place = next(path.parent for path in spool.rungs(tmp_path).rglob("*.0"))
    assert place.name == "10"
    (noted,) = [float(path.read_text(encoding="ascii")) for path in place.iterdir()]
    assert noted == pytest.approx(5.0 + np.mean([10 / 9, 1.0])), "what it had at step 10 stands"


def test_a_spool_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for rate in range(1, 9):
        assert Rungs(tmp_path / "file", spec(float(rate)), Halving(2, 1)).goes_on(1, float(rate))


CODE = """
import math
def train(spec, report):
    away = math.log(spec["learning_rate"] / 0.01)
    for step in range(1, spec["steps"] + 1, 5):
        report(step, 2 + 1 / spec["width"] + 0.05 * away ** 2 + 3 / step)
    return 2 + 1 / spec["width"] + 0.05 * away ** 2
"""


def test_a_study_with_halving_keeps_its_bowls(tmp_path: Path) -> None:
    (tmp_path / "halved.py").write_text(CODE, encoding="utf-8")
    content = {
        "name": "halved",
        "task": "t",
        "trainer": {"function": "halved.py:train", "halving": {"keep": 3, "first": 50}},
        "scale": {"width": [8, 16, 32, 64], "steps": 500},
        "hyperparameters": {"learning_rate": {"from": 1e-4, "to": 1.0, "count": 9}},
    }
    study = parse_study(content, folder=tmp_path)
    summary = run(study, tmp_path / "study.db", max_parallel=1)
    assert summary.complete
    assert not (tmp_path / "study.db.spool").exists()
    table = load(tmp_path / "study.db")
    pruned = table.where(table["status"] == Status.PRUNED.name)
    assert 8 <= len(pruned) <= 24
    assert np.isnan(pruned.numbers("loss")).all()
    assert np.isfinite(pruned.numbers("last_loss")).all()
    kept = table.finished
    assert len(kept) + len(pruned) == 36
    for _, rows in kept.groups(["width"]):
        assert len(rows) >= 3
        assert np.abs(np.log(rows["learning_rate"] / 0.01)).min() < 0.1, "the best rate goes on"
    # What was stopped is done: nothing is trained again, and none of it enters the fit.
    assert run(study, tmp_path / "study.db", max_parallel=1).trained == 0
    row = frontier(table).trials
    assert row.numbers("loss") == pytest.approx(2 + 1 / np.array([8, 16, 32, 64]), rel=0.01)


def test_workers_that_do_not_share_the_spool_stop_nothing(tmp_path: Path) -> None:
    for rate in (1.0, 2.0, 3.0, 4.0, 5.0):
        record = Record(spec(rate), Rules(halving=Halving(2, 10)), Order(tmp_path, shared=False))
        assert all(record.note(step, rate, {}) for step in range(1, 100))
    assert not spool.rungs(tmp_path).exists()


def test_rungs_go_with_the_study(tmp_path: Path) -> None:
    Rungs(spool.rungs(tmp_path), spec(), Halving(3, 10)).goes_on(10, 1.0)
    spool.trial_folder(tmp_path, "0123").mkdir(parents=True)
    spool.sweep(tmp_path)
    assert len(list(spool.rungs(tmp_path).rglob("*.0"))) == 1
    spool.forget(tmp_path)
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(tmp_path)


def test_a_size_with_too_few_survivors_is_told() -> None:
    member = diagnostics["pruned_settings"]
    found = member.find(member.example())
    assert found is not None
    assert "halving" in found.message
    assert member.find(Case((clean := member.example().trials).where(clean["status"] == "COMPLETE"), frontier(clean))) is None
