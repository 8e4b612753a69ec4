"""Running a study: holes are filled once, interruptions lose nothing, and one bad trial does not take its neighbours along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw._batches import Cutter
from scalelaw.engines import Batch, Engine, Pool, Resources, engines
from scalelaw.engines._base import shape
from scalelaw.engines.local import LocalPool, _Job, cores
from scalelaw.errors import EngineError, InputError, SpecError, StoreError, UnknownNameError
from scalelaw.run import Event, Retried, Started, Stopping, TrialEnded, run
from scalelaw.store import Store, load
from scalelaw.study import Grid, Study
from scalelaw.testing.engines import check_engine
from scalelaw.train.count import flops
from scalelaw.trainers import BUILTIN, trainers
from scalelaw.trial import Status, TrialSpec

RATES = (1e-3, 1e-2, 1e-1, 1e3)


def study(widths: tuple[int, ...] = (2, 4), seeds: tuple[int, ...] = (0, 1), steps: int = 20) -> Study:
    grid = Grid({"width": widths, "depth": (1,), "steps": (steps,)}, {"learning_rate": RATES, "batch_size": (8,)}, seeds)
    return Study("tiny", "teacher_student", (grid,))


# ---- with the real trainer ----------------------------------------------------------------------------------------------


def test_holes_are_filled_once(tmp_path: Path) -> None:
    store = tmp_path / "study.db"
    events: list[Event] = []
    first = run(study(), store, max_parallel=1, on_event=events.append)
    assert first.complete
    assert (first.trained, first.skipped, first.interrupted) == (16, 0, None)
    assert isinstance(events[0], Started)
    assert events[0].workers == 1
    ended = [event for event in events if isinstance(event, TrialEnded)]
    assert [event.progress.done for event in ended] == list(range(1, 17))
    assert {event.trial.id for event in ended} == {spec.id for spec in study().specs}
    last = ended[-1].progress
    assert last.flops_done == last.flops
    assert last.eta == 0
    assert first.progress.diverged == sum(event.trial.status is Status.DIVERGED for event in ended) > 0
    with Store(store, read_only=True) as opened:
        for trial in opened.trials():
            assert trial.compute == flops(trial.spec), "the driver counts as the trainer does"
    again = run(study(), store, max_parallel=1, on_event=events.append)
    assert (again.trained, again.skipped) == (0, 16)
    more = run(study(seeds=(0, 1, 2)), store, max_parallel=1)
    assert (more.trained, more.skipped) == (8, 16)
    assert len(load(store)) == 24
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_the_local_engine_keeps_its_contract(tmp_path: Path) -> None:
    assert engines["local"].name == "local"
    check_engine(engines["local"], tmp_path)


def test_a_spec_that_cannot_be_trained_is_told_before_anything_is_made(tmp_path: Path) -> None:
    wrong = Study(
        "wrong", "teacher_student", (Grid({"width": (2,), "steps": (5,)}, {"learning_rate": (0.1,), "momentum": (0.1,)}),)
    )
    with pytest.raises(SpecError, match="momentum"):
        run(wrong, tmp_path / "study.db")
    with pytest.raises(UnknownNameError, match="local"):
        run(study(), tmp_path / "study.db", engine="locale")
    with pytest.raises(InputError, match="--max-parallel"):
        run(study(), tmp_path / "other.db", max_parallel=0)
    assert not (tmp_path / "study.db").exists()


def test_an_engine_that_cannot_be_opened_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no executor is named"):
        run(study(), tmp_path / "study.db", engine="futures")
    with pytest.raises(InputError, match="this machine has"):
        run(study(), tmp_path / "study.db", resources=Resources(cpus=100_000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
def test_a_budget_that_buys_nothing_is_told(tmp_path: Path, budget: float) -> None:
    with pytest.raises(InputError, match=r"--budget: \S+ FLOP buy no trial. The cheapest takes"):
        run(study(), tmp_path / "study.db", budget=budget)
    assert list(tmp_path.iterdir()) == []


DRIVER = """
import resource, signal, sys
from scalelaw.errors import ScalelawError
from scalelaw.run import run
from scalelaw.study import Grid, Study
rates = {"learning_rate": (1e-3, 1e-2), "batch_size": (8,)}
grid = Grid({"width": (8,), "depth": (1,), "steps": (500,)}, rates, tuple(range(60)))
study = Study("s", "teacher_student", (grid,))
if len(sys.argv) > 2:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    summary = run(study, sys.argv[1], on_event=lambda event: print(event.progress.done, flush=True))
    print(summary.message)
except ScalelawError as error:
    print(type(error).__name__, error)
"""
TRIALS = 120


def start(store: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, str(store), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(driver: subprocess.Popen[str], done: int) -> None:
    assert driver.stdout is not None
    for line in driver.stdout:
        if line.strip().isdigit() and int(line) >= done:
            return
    raise AssertionError(driver.communicate())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stores_what_is_finished_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    store = tmp_path / "study.db"
    driver = start(store)
    wait_for(driver, 4)
    # As a terminal does: to the whole group. The workers are in groups of their own.
    os.killpg(driver.pid, number)
    out, err = driver.communicate(timeout=60)
    assert not err
    assert driver.returncode == 0
    message = out.splitlines()[-1]
    assert message.startswith(f"Stopped by {number.name}: ")
    assert "run the same command again to resume" in message
    stored = len(load(store))
    assert 4 <= stored < TRIALS
    assert f"{stored} of {TRIALS} trials are done" in message
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_two_drivers_do_not_share_a_store(tmp_path: Path) -> None:
    store = tmp_path / "study.db"
    driver = start(store)
    wait_for(driver, 1)
    with pytest.raises(StoreError, match=f"process {driver.pid}"):
        run(study(), store)
    assert len(load(store)) >= 1  # readers need no lock
    os.kill(driver.pid, signal.SIGINT)
    driver.communicate(timeout=60)


def test_a_disk_that_fills_up_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    store = tmp_path / "study.db"
    out, err = start(store, "90000").communicate(timeout=120)
    assert not err
    kind, _, message = out.splitlines()[-1].partition(" ")
    assert kind == "StoreError"
    assert "Free some space" in message
    assert not list(tmp_path.rglob("*.part"))
    out, err = start(store).communicate(timeout=120)
    assert f"{TRIALS} of {TRIALS} trials are done" in out
    table = load(store)
    assert len(table) == len(set(table["id"])) == TRIALS


# ---- with workers that misbehave ----------------------------------------------------------------------------------------

# Trains nothing: what it does with a trial is written in the trial's name of the model.
WORKER = """
import json, os, signal, sys
from pathlib import Path
from scalelaw import spool
from scalelaw.trial import Status, Trial, TrialSpec
print("chatter on standard output", flush=True)
for line in sys.stdin:
    message = json.loads(line)
    specs = [TrialSpec.from_dict(values) for values in message["specs"]]
    for spec in specs:
        deed = {1e-2: sys.argv[1]}.get(spec.hyperparameters["learning_rate"], "train")
        if deed == "die":
            print("out of memory", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if deed == "die once" and not Path(sys.argv[-1], "died").exists():
            Path(sys.argv[-1], "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if deed == "full":
            print(json.dumps({"batch": message["batch"], "error": "/spool: the disk is full. Free some space."}), flush=True)
            break
        if deed == "start":
            sys.exit("ModuleNotFoundError: no module named x")
        if deed != "forget":
            failed = {"status": Status.FAILED, "error": "cannot"} if deed == "fail" else {"status": Status.COMPLETE, "loss": 1.0}
            spool.write(Path(sys.argv[-1]), Trial(spec, **failed))
    else:
        print(json.dumps({"done": message["batch"], "trials": [spec.id for spec in specs]}), flush=True)
"""


class Stub(Engine):
    """Worker processes that do as they are told."""

    name = "stub"
    summary = "a test's"

    def __init__(self, deed: str) -> None:
        self.command = (sys.executable, "-c", WORKER, deed)

    def open(self, resources: Resources, options: Mapping[str, str]) -> Pool:
        self.checked(options)
        return LocalPool(resources.max_parallel, self.command, dict(os.environ))


def run_stub(monkeypatch: pytest.MonkeyPatch, store: Path, deed: str) -> tuple[Counter[str], list[Event]]:
    """(statuses of the trials, events) of a run whose trials at rate 1e-2 make the worker do `deed`."""
    monkeypatch.setitem(engines._members, "stub", Stub(deed))
    events: list[Event] = []
    run(study(), store, engine="stub", max_parallel=2, on_event=events.append)
    return Counter(load(store)["status"].tolist()), events


def test_a_trial_that_kills_its_worker_is_lost_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses, events = run_stub(monkeypatch, tmp_path / "study.db", "die")
    assert statuses == {"COMPLETE": 12, "LOST": 4}
    retried = [event for event in events if isinstance(event, Retried)]
    assert "signal 9: out of memory" in retried[0].reason
    with Store(tmp_path / "study.db", read_only=True) as store:
        lost = [trial for trial in store.trials() if trial.status is Status.LOST]
    assert {trial.spec.hyperparameters["learning_rate"] for trial in lost} == {1e-2}
    assert all("out of memory" in (trial.error or "") for trial in lost)
    statuses, events = run_stub(monkeypatch, tmp_path / "study.db", "train")
    assert statuses == {"COMPLETE": 16}
    assert sum(isinstance(event, TrialEnded) for event in events) == 4


@pytest.mark.parametrize(
    ("deed", "expected"),
    [("die once", {"COMPLETE": 16}), ("fail", {"COMPLETE": 12, "FAILED": 4}), ("forget", {"COMPLETE": 12, "FAILED": 4})],
)
def test_what_workers_get_wrong_is_mended_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, expected: dict[str, int]
) -> None:
    assert run_stub(monkeypatch, tmp_path / "study.db", deed)[0] == expected


def test_the_summary_says_why_trials_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines._members, "stub", Stub("fail"))
    summary = run(study(), tmp_path / "study.db", engine="stub")
    assert summary.errors == {"cannot": 4}
    assert "4 failed and 0 were lost (4 of them: cannot)" in summary.message


def test_an_engine_whose_workers_do_not_start_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "WORKER", "raise SystemExit('ModuleNotFoundError: no module named x')")
    with pytest.raises(EngineError, match=r"do not start \(exit code 1: ModuleNotFoundError: no module named x\).*doctor"):
        run_stub(monkeypatch, tmp_path / "study.db", "train")


def test_a_worker_without_room_for_its_results_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"the disk is full\. Free some space\.$"):
        run_stub(monkeypatch, tmp_path / "study.db", "full")


def test_a_run_outside_the_main_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines._members, "stub", Stub("train"))
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(run(study(), tmp_path / "study.db", engine="stub").complete))
    thread.start()
    thread.join(60)
    assert done == [True]


def test_a_signal_during_an_event_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines._members, "stub", Stub("train"))
    handler = signal.getsignal(signal.SIGINT)
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, Started):
            os.kill(os.getpid(), signal.SIGINT)

    summary = run(study(), tmp_path / "study.db", engine="stub", on_event=listen)
    assert summary.interrupted == "SIGINT"
    assert isinstance(events[-1], Stopping | TrialEnded)
    assert signal.getsignal(signal.SIGINT) is handler


# ---- batches ------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([2, 16, 128, 512]), min_size=1, max_size=3, unique=True),
    st.integers(1, 7),
    st.integers(1, 4),
    st.sampled_from([10, 1000]),
)
def test_batches_hold_every_trial_once_in_whole_groups(widths: list[int], rates: int, seeds: int, steps: int) -> None:
    axis = tuple(1e-3 * 2.0**k for k in range(rates))
    grid = Grid({"width": tuple(widths), "steps": (steps,)}, {"learning_rate": axis, "batch_size": (16,)}, tuple(range(seeds)))
    specs = Study("b", "teacher_student", (grid,)).specs
    made = Cutter(trainers[BUILTIN]).cut(specs)
    assert Counter(spec for batch in made for spec in batch.specs) == Counter(specs)
    assert all({shape(spec) for spec in batch.specs} == {batch.shape} for batch in made)
    works = [batch.work for batch in made]
    assert works == sorted(works, reverse=True)
    assert len({batch.id for batch in made}) == len(made)
    for batch in made:
        size = 4 if batch.specs[0].scale["width"] <= 128 else 1  # pyright: ignore[reportOperatorIssue]
        for seed, count in Counter(spec.seed for spec in batch.specs).items():
            here = {spec for spec in batch.specs if spec.seed == seed}
            rest = [spec for spec in specs if shape(spec) == batch.shape and spec.seed == seed and spec not in here]
            assert count % size == 0 or not rest or len(rest) % size == 0


def test_batches_of_one_shape_stay_with_the_worker_that_has_compiled_it() -> None:
    def batch(width: int, seed: int, work: float = 1.0) -> Batch:
        return Batch((TrialSpec("t", {"width": width}, {}, seed),), work)

    pool = LocalPool(2, (sys.executable, "-c", "raise SystemExit"), {})
    one, other = pool._workers
    one.shape, other.shape = batch(1, 0).shape, batch(2, 0).shape
    spool_folder = Path()

    def choice(*waiting: Batch) -> int:
        pool._waiting = [_Job(each, spool_folder, Future()) for each in waiting]
        return pool._choose(one)

    assert choice(batch(2, 1), batch(1, 1), batch(3, 1)) == 1
    assert choice(batch(2, 1), batch(3, 1)) == 1
    assert choice(batch(2, 1), batch(2, 2)) == 0
    assert choice(batch(2, 1, 1e13), batch(1, 1)) == 0
    pool._waiting = []
    pool.close()


def test_there_is_a_core() -> None:
    assert cores()
