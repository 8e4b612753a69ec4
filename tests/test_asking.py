"""Ask and tell: each trial is asked for once among all who ask, and what is told is what a worker would have written."""

from __future__ import annotations

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scalelaw
from scalelaw.asking import open_study
from scalelaw.errors import InputError, RunError
from scalelaw.store import Store, load
from scalelaw.study import Grid, Study, log_spaced
from scalelaw.trial import Status, Trial, TrialSpec

RATES = log_spaced(1e-4, 1e-1, 7)
STUDY = Study("mine", "mine", (Grid({"width": (16, 32, 64)}, {"learning_rate": RATES}, (0, 1)),), "net")


def loss_of(spec: TrialSpec) -> float:
    """A bowl whose lowest point moves with width."""
    width, rate = float(spec["width"]), float(spec["learning_rate"])
    return 1.0 + width**-0.5 + 0.05 * (math.log(rate) - math.log(1e-2 * (16 / width) ** 0.5)) ** 2 + 1e-3 * spec.seed


def test_every_trial_is_asked_for_once_and_told(tmp_path: Path) -> None:
    seen: list[Trial] = []
    with open_study(tmp_path / "study.db", STUDY, on_trial=seen.append) as study:
        for spec in study:
            study.tell(spec, {"loss": loss_of(spec), "parameters": 10 * int(spec["width"]), "tokens": 1e4, "accuracy": 0.5})
        assert study.ask() is None
        assert study.ask(3) == []
    table = load(tmp_path / "study.db")
    assert len(table) == len(seen) == len(STUDY.specs)
    assert table.numbers("loss").tolist() == [loss_of(spec) for spec in sorted_specs(table)]
    assert set(table.numbers("compute")) == {6.0 * 10 * width * 1e4 for width in (16, 32, 64)}
    assert all(trial.metrics["accuracy"] == 0.5 for trial in seen)
    # What came of it is data like any other.
    assert "learning_rate" in scalelaw.optimum(table).optima


def sorted_specs(table: scalelaw.Trials) -> list[TrialSpec]:
    known = {spec.id: spec for spec in STUDY.specs}
    return [known[key] for key in table["id"].tolist()]


def test_what_is_enqueued_comes_first_in_its_order(tmp_path: Path) -> None:
    with open_study(tmp_path / "study.db", STUDY) as study:
        assert study.enqueue(width=[128, 256], learning_rate=3e-4, seed=(0, 1)) == 4
        assert study.enqueue(width=128, learning_rate=3e-4, seed=0) == 0
        asked = study.ask(5)
        assert [(spec["width"], spec.seed) for spec in asked] == [(128, 0), (128, 1), (256, 0), (256, 1), (16, 0)]
        with pytest.raises(InputError, match="no depth"):
            study.enqueue(depth=3)
    with open_study(tmp_path / "other.db") as bare:
        with pytest.raises(InputError, match="no trial to vary"):
            bare.enqueue(width=3)
        spec = TrialSpec("t", {"width": 3}, {})
        assert bare.enqueue(spec) == 1
        assert bare.ask() == spec
        assert bare.ask() is None


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ({"width": -4}, "width = -4 is not a finite number above 0"),
        ({"width": math.nan}, "width = nan is not a finite number above 0"),
        ({"width": None}, "width = None is not a finite number above 0"),
        ({"width": True}, "width = True is not a finite number above 0"),
        ({"width": "wide"}, "width = 'wide' is not a finite number above 0"),
        ({"learning_rate": [1e-3, math.inf]}, "learning_rate = inf is not a finite number"),
        ({"seed": "a"}, "seed = 'a' is no whole number"),
        ({"widht": 4}, "the trial has no widht"),
    ],
)
def test_what_cannot_be_trained_is_not_enqueued(tmp_path: Path, axes: dict[str, Any], says: str) -> None:
    with open_study(tmp_path / "study.db", STUDY) as study:
        with pytest.raises(InputError, match=f"^enqueue: {re.escape(says)}"):
            study.enqueue(**axes)
        assert study.enqueue(width=np.array([8, 16]), learning_rate=np.float32(0.5)) == 2
        assert [spec["width"] for spec in study.ask(2)] == [8, 16]


def test_a_wrong_result_does_not_stand_in_the_way_of_a_right_one(tmp_path: Path) -> None:
    with open_study(tmp_path / "study.db", STUDY) as study:
        trial = study.ask()
        with pytest.raises(RunError, match="parameters = -1 is no number above 0"):
            study.tell(trial, {"loss": 1.0, "parameters": -1})
        told = study.tell(trial, {"loss": 1.5, "tokens": 10})
        assert (told.status, told.loss, told.parameters, told.tokens) == (Status.COMPLETE, 1.5, None, 10)


def test_a_diverged_a_pruned_and_a_failed_run_are_told_as_such(tmp_path: Path) -> None:
    with open_study(tmp_path / "study.db", STUDY) as study:
        diverged, pruned, failed, course = study.ask(4)
        assert study.report(diverged, 10, 2.0)
        assert not study.report(diverged, 20, math.nan)
        told = study.tell(diverged)
        assert (told.status, told.diverged_step, told.last_loss) == (Status.DIVERGED, 20, 2.0)
        study.report(pruned, 10, 1.5, accuracy=0.3)
        told = study.tell(pruned, pruned=True)
        assert (told.status, told.loss, told.last_loss, told.metrics["accuracy"]) == (Status.PRUNED, None, 1.5, 0.3)
        told = study.tell(failed, error="out of memory")
        assert (told.status, told.error) == (Status.FAILED, "out of memory")
        assert failed.id in {spec.id for spec in study.ask(100)}, "a failed trial is asked for again"
        told = study.tell(course.id, curve=[(1, 3.0), (2, 2.5), (4, 2.0)])
        assert (told.status, told.loss) == (Status.COMPLETE, 2.0)
        assert told.curve is not None
        assert told.curve.steps == (1, 2, 4)
        assert study.tell(course, 99.0).loss == 99.0
    with Store(tmp_path / "study.db", read_only=True) as store:
        (kept,) = store.trials([course.id])
    assert kept.loss == 2.0, "the first finished result stands"


def test_wrong_results_are_one_line(tmp_path: Path) -> None:
    with open_study(tmp_path / "study.db", STUDY) as study:
        spec = study.ask()
        with pytest.raises(RunError, match="nobody asked for"):
            study.tell("0123456789abcdef", 1.0)
        with pytest.raises(RunError, match="nobody asked for"):
            study.tell(TrialSpec("another", {"width": 3}, {}), 1.0)
        with pytest.raises(RunError, match="nobody asked for"):
            study.report(TrialSpec("another", {"width": 3}, {}), 1, 1.0)
        with pytest.raises(RunError, match="gave no loss"):
            study.tell(spec)
        with pytest.raises(RunError, match="whole"):
            study.report(spec, -1, 1.0)
        with pytest.raises(RunError, match="unknown trial"):
            study.tell(spec, {"id": "another", "loss": 1.0})
        with pytest.raises(InputError, match="study"):
            open_study(tmp_path / "x.db", planned=True)


def test_what_is_left_open_is_asked_for_again(tmp_path: Path) -> None:
    with open_study(tmp_path / "study.db", STUDY) as first, open_study(tmp_path / "study.db", STUDY) as second:
        mine = first.ask(4)
        first.give_back(mine[0], mine[1].id)
        assert {spec.id for spec in second.ask(2)} == {spec.id for spec in mine[:2]}
    with open_study(tmp_path / "study.db", STUDY) as third:
        assert third.ask(4) == mine


SCRIPT = textwrap.dedent(
    """
    import sys, time
    import scalelaw
    with scalelaw.open_study(sys.argv[1], sys.argv[2]) as study:
        for trial in study:
            print(trial.id, flush=True)
            time.sleep(float(sys.argv[3]))
            study.tell(trial, 1.0 + trial["learning_rate"])
    """
)


def start(store: Path, study: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(store), str(study), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_share_a_store_and_a_killed_one_leaves_its_trial_to_the_others(tmp_path: Path) -> None:
    from scalelaw._study_text import study_text

    store, path = tmp_path / "study.db", tmp_path / "study.toml"
    path.write_text(study_text(STUDY), encoding="utf-8")
    victim = start(store, path, 60.0)
    assert victim.stdout is not None
    held = victim.stdout.readline().strip()
    others = [start(store, path, 0.01) for _ in range(3)]
    deadline = time.monotonic() + 60
    while count(store) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    asked: Counter[str] = Counter()
    for other in others:
        out, err = other.communicate(timeout=120)
        assert other.returncode == 0, err
        asked.update(out.split())
    last = start(store, path, 0.0)
    asked.update(last.communicate(timeout=60)[0].split())
    assert asked == Counter(dict.fromkeys((spec.id for spec in STUDY.specs), 1))
    assert held in asked
    assert count(store) == len(STUDY.specs)


def count(store: Path) -> int:
    try:
        with Store(store, read_only=True) as opened:
            return len(opened)
    except (scalelaw.ScalelawError, sqlite3.Error):
        return 0


def test_a_trial_that_always_fails_ends_no_loop(tmp_path: Path) -> None:
    queued = TrialSpec("mine", {"width": 7}, {"learning_rate": 0.1}, model="net")
    tries: Counter[str] = Counter()
    with open_study(tmp_path / "study.db", STUDY) as study:
        study.enqueue(queued)
        for spec in study:
            tries[spec.id] += 1
            assert sum(tries.values()) < 1000, "it is asked for for ever"
            if spec == queued or spec["width"] == 16:
                study.tell(spec, error="out of memory")
            else:
                study.tell(spec, 1.0)
    failing = {queued.id, *(spec.id for spec in STUDY.specs if spec["width"] == 16)}
    assert {key for key, times in tries.items() if times == 3} == failing
    assert len(tries) == 1 + len(STUDY.specs)
    with open_study(tmp_path / "study.db", STUDY) as study:
        assert {spec.id for spec in study.ask(100)} == failing, "the next process tries again"


def test_what_runs_had_at_their_rungs_goes_when_all_are_done(tmp_path: Path) -> None:
    halved = replace(STUDY, trainer={"function": "nobody.calls:it", "halving": {"keep": 2, "first": 10}})
    for count in (5, 1000):
        with open_study(tmp_path / "study.db", halved) as study:
            for spec in study.ask(count):
                study.report(spec, 10, loss_of(spec))
                study.tell(spec, loss_of(spec))
        assert (tmp_path / "study.db.spool").exists() == (count == 5), "the others are compared with these"
    assert [each.name for each in tmp_path.iterdir()] == ["study.db"]


LADDER = Study(
    "mine",
    "mine",
    (Grid({"width": (16, 32, 64, 128)}, {"learning_rate": log_spaced(1e-4, 1e-1, 13)}, (0,)),),
    "net",
    target={"width": 1024.0},
    trainer={"function": "nobody.calls:it", "flops": "width ** 2 * 1000"},
)
ASKS = """
import sys
from test_asking import LADDER
from scalelaw.asking import open_study
with open_study(sys.argv[1], LADDER, planned=True, budget=float(sys.argv[2])) as study:
    print(*(spec.id for spec in study.ask(int(sys.argv[3]))))
"""


def elsewhere(store: Path, budget: float, count: int) -> list[str]:
    """What another process is asked to train."""
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", ASKS, str(store), str(budget), str(count)]
    return subprocess.check_output(command, text=True, env={**os.environ, "PYTHONPATH": paths}).split()


def test_processes_that_ask_the_planner_share_its_trials_and_its_budget(tmp_path: Path) -> None:
    cheapest = 1000 * 16.0**2
    with open_study(tmp_path / "study.db", LADDER, planned=True, budget=3 * cheapest) as study:
        mine = study.ask()
        other = elsewhere(tmp_path / "study.db", 3 * cheapest, 1)
        assert len(other) == 1
        assert other != [mine.id]
        mine = [mine, *study.ask(2)]
        assert len(mine) == 3
        assert elsewhere(tmp_path / "study.db", 3 * cheapest, 1) == [], "what is being trained is paid for"


def test_a_budget_of_nothing_buys_nothing(tmp_path: Path) -> None:
    with open_study(tmp_path / "study.db", LADDER, planned=True, budget=0.0) as study:
        assert study.ask() is None


def test_the_planner_is_asked_where_that_is_wanted(tmp_path: Path) -> None:
    grid = Grid({"width": (16, 32, 64, 128)}, {"learning_rate": log_spaced(1e-4, 1e-1, 13)}, (0,))
    rules = {"function": "nobody.calls:it", "flops": "width ** 2 * 1000"}
    ladder = Study("mine", "mine", (grid,), "net", target={"width": 1024.0}, trainer=rules)
    with open_study(tmp_path / "study.db", ladder, planned=True, budget=6e7) as study:
        made = []
        for spec in study:
            made.append(spec)
            study.tell(spec, loss_of(spec))
        assert 4 <= len(made) <= len(ladder.specs) / 2
        spent = sum(1000 * float(spec["width"]) ** 2 for spec in made)
        assert spent <= 6e7
        assert made[0]["width"] == 16, "the cheapest size comes first"
        assert study.exclude("width == 16", "too small") == sum(spec["width"] == 16 for spec in made)
        assert study.include("width == 16") > 0
        assert study.tag("width <= 32", "pilot") > 0
        assert len(study.trials().where("'pilot' in tags")) > 0
