"""Engines that hand batches to others, without a cluster: their queue, their attempts, and what they say when asked wrongly.

With real clusters: tests/cluster.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelaw import spool
from scalelaw.engines import Batch, Resources, engine_of, engines
from scalelaw.engines._remote import Job
from scalelaw.engines._seats import Seat, cores, seats, visible
from scalelaw.engines._slurm import GONE, Node, Partition, State, jobs, minutes, partition
from scalelaw.engines.futures import FuturesPool, submitting
from scalelaw.engines.local import LocalPool
from scalelaw.engines.ray import fitting
from scalelaw.engines.slurm import SlurmPool, _Element, _raised, packed
from scalelaw.errors import EngineError, InputError, MissingExtraError, StoreError, WorkerLostError
from scalelaw.run import run
from scalelaw.store import Store
from scalelaw.study import Grid, Study
from scalelaw.testing.engines import check_engine
from scalelaw.train.device import environment_of, remote_environment
from scalelaw.trial import Status, Trial, TrialSpec
from scalelaw.worker import work


def batch(*seeds: int, work: float = 1.0) -> Batch:
    return Batch(tuple(TrialSpec("t", {"width": 1}, {}, seed) for seed in seeds), work)


class Hand:
    """An executor that does nothing: a test ends its futures by hand."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.messages: list[dict[str, Any]] = []

    def submit(self, function: Any, *arguments: Any) -> Future[Any]:
        del function
        self.messages.append(arguments[2])
        self.futures.append(Future())
        return self.futures[-1]


# ---- the queue ----------------------------------------------------------------------------------------------------------


def test_no_more_batches_are_handed_on_than_was_allowed(tmp_path: Path) -> None:
    hand = Hand()
    with FuturesPool(hand, Resources(max_parallel=2)) as pool:
        assert pool.capacity() <= 2
        futures = [pool.submit(batch(seed), tmp_path) for seed in range(5)]
        assert len(hand.futures) == 2
        for place in range(3):
            hand.futures[place].set_result({"trials": [f"t{place}"], "results": []})
            assert len(hand.futures) == 3 + place
        assert futures[0].result(1) == ("t0",)
        pool.cancel()
        assert all(future.done() for future in futures)


def test_closing_ends_every_future_and_forgets_every_attempt(tmp_path: Path) -> None:
    hand = Hand()
    pool = FuturesPool(hand, Resources(max_parallel=1))
    running, waiting = pool.submit(batch(1), tmp_path), pool.submit(batch(2), tmp_path)
    pool.close()
    assert waiting.cancelled()
    assert isinstance(running.exception(0), WorkerLostError)
    assert hand.futures[0].cancelled()
    assert not list(tmp_path.glob(".*.part"))
    with pytest.raises(Exception, match="closed"):
        pool.submit(batch(3), tmp_path)
    assert pool.capacity() == 1


def test_draining_waits_for_what_is_trained_and_drops_what_waits(tmp_path: Path) -> None:
    hand = Hand()
    pool = FuturesPool(hand, Resources(max_parallel=1))
    running, waiting = pool.submit(batch(1), tmp_path), pool.submit(batch(2), tmp_path)
    threading.Timer(0.1, lambda: hand.futures[0].set_result({"trials": ["a"], "results": []})).start()
    pool.drain(30)
    assert running.result(0) == ("a",)
    assert waiting.cancelled()
    began = time.monotonic()
    late = pool.submit(batch(3), tmp_path)
    pool.drain(0.05)
    assert time.monotonic() - began < 5
    assert not late.done()
    pool.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"error": "/spool: the disk is full. Free some space.", "batch": "b"}, StoreError),
        ({"error": "training needs jax", "batch": None}, EngineError),
        (ModuleNotFoundError("No module named 'scalelaw'"), EngineError),
    ],
)
def test_what_a_worker_says_becomes_what_the_driver_is_told(
    tmp_path: Path, answer: dict[str, Any] | Exception, expected: type[Exception]
) -> None:
    hand = Hand()
    with FuturesPool(hand, Resources(max_parallel=1)) as pool:
        future = pool.submit(batch(1), tmp_path)
        if isinstance(answer, Exception):
            hand.futures[0].set_exception(answer)
        else:
            hand.futures[0].set_result(answer)
        assert isinstance(future.exception(1), expected)


def test_a_failure_after_a_success_is_of_that_worker_alone(tmp_path: Path) -> None:
    hand = Hand()
    with FuturesPool(hand, Resources(max_parallel=1)) as pool:
        first = pool.submit(batch(1), tmp_path)
        hand.futures[0].set_result({"trials": ["a"], "results": []})
        assert first.result(1) == ("a",)
        second = pool.submit(batch(2), tmp_path)
        hand.futures[1].set_exception(MemoryError("no room"))
        assert isinstance(second.exception(1), WorkerLostError)


def test_a_worker_that_had_finished_a_trial_was_no_wrong_installation(tmp_path: Path) -> None:
    hand = Hand()
    with FuturesPool(hand, Resources(max_parallel=1)) as pool:
        future = pool.submit(batch(1, 2), tmp_path)
        spool.finish(tmp_path, hand.messages[0]["attempt"], "a")
        hand.futures[0].set_exception(MemoryError("no room"))
        assert isinstance(future.exception(1), WorkerLostError)


def test_results_of_a_worker_that_does_not_see_the_spool_are_written_here(tmp_path: Path) -> None:
    hand = Hand()
    trial = Trial(batch(1).specs[0], Status.COMPLETE, loss=0.1 + 0.2)
    own = tmp_path / "worker"
    spool.write(own, trial)
    text = next(spool.scan(own)).read_text(encoding="utf-8")
    with FuturesPool(hand, Resources(max_parallel=1)) as pool:
        future = pool.submit(batch(1), tmp_path / "spool")
        hand.futures[0].set_result({"trials": [trial.id], "results": [text]})
        assert future.result(1) == (trial.id,)
    assert [spool.read(path) for path in spool.scan(tmp_path / "spool")] == [trial]


# ---- attempts -----------------------------------------------------------------------------------------------------------


def tiny(*rates: float) -> Batch:
    scale = {"width": 2, "depth": 1, "steps": 5}
    return Batch(tuple(TrialSpec("teacher_student", scale, {"learning_rate": rate, "batch_size": 4}) for rate in rates))


def test_a_batch_that_is_given_a_second_time_goes_on_where_it_was(tmp_path: Path) -> None:
    token, attempt = spool.mark(tmp_path), spool.enlist(tmp_path)
    both = tiny(1e-3, 1e-2)
    first, second = both.specs
    message = {**both.message, "attempt": attempt}
    spool.finish(tmp_path, attempt, first.id)  # its result has been taken away
    assert work(message, str(tmp_path), token)["trials"] == [first.id, second.id]
    assert [spool.read(path).id for path in spool.scan(tmp_path)] == [second.id]
    assert spool.finished(tmp_path, attempt) == {first.id, second.id}
    spool.retire(tmp_path, attempt)
    spool.finish(tmp_path, attempt, first.id)
    assert spool.finished(tmp_path, attempt) is None


def test_a_batch_for_which_nobody_waits_is_not_trained(tmp_path: Path) -> None:
    token, attempt = spool.mark(tmp_path), spool.enlist(tmp_path)
    spool.retire(tmp_path, attempt)
    assert work({**tiny(1e-3).message, "attempt": attempt}, str(tmp_path), token)["trials"] == []
    assert not list(spool.scan(tmp_path))


def test_a_new_driver_ends_the_attempts_of_one_that_was_killed(tmp_path: Path) -> None:
    stale = spool.enlist(tmp_path)
    half = tmp_path / ".a.1.2.part"
    half.touch()
    with FuturesPool(Hand(), Resources(max_parallel=1)) as pool:
        pool.submit(batch(1), tmp_path)
        pool.submit(batch(2), tmp_path)
        assert spool.finished(tmp_path, stale) is None
        assert len(list(tmp_path.glob(".*.attempt.part"))) == 2, "its own go on"
    assert half.exists(), "what a worker is writing is left alone"


def test_attempts_that_a_killed_driver_leaves_are_swept(tmp_path: Path) -> None:
    spool.enlist(tmp_path / "spool")
    spool.mark(tmp_path / "spool")
    spool.sweep(tmp_path / "spool")
    assert not (tmp_path / "spool").exists()


# ---- executors ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


def test_a_process_pool_keeps_the_contract(tmp_path: Path, processes: ProcessPoolExecutor) -> None:
    check_engine(engine_of(processes), tmp_path / "spool")
    grid = Grid(
        {"width": (2,), "depth": (1,), "steps": (10,)}, {"learning_rate": (1e-3, 1e-2), "batch_size": (8,)}, tuple(range(3))
    )
    summary = run(Study("s", "teacher_student", (grid,)), tmp_path / "study.db", engine=processes)
    assert summary.complete
    assert summary.trained == 6


def test_an_executor_of_ones_own_is_left_open() -> None:
    with ThreadPoolExecutor(1) as executor:
        with engine_of(executor).open(Resources(), {}) as pool:
            assert pool.capacity() == 1
        assert executor.submit(lambda: 1).result(5) == 1


def test_an_executor_that_answers_no_more_is_told_and_its_trials_stay_to_be_trained(tmp_path: Path) -> None:
    class Gone(Hand):
        """As Dask's client when its scheduler has died."""

        def nthreads(self) -> dict[str, int]:
            if self.futures:
                raise OSError("Timed out trying to connect to tcp://127.0.0.1:8786")
            return {"one": 1}

    grid = Grid({"width": (1, 2, 3)}, {"learning_rate": (0.1,)})
    study = Study("s", "t", (grid,), "net", trainer={"function": "nobody.calls:it"})
    with pytest.raises(EngineError, match=r"does not answer \(.*Timed out.*run the same command"):
        run(study, tmp_path / "study.db", engine=Gone())
    with Store(tmp_path / "study.db", read_only=True) as store:
        assert store.statuses() == {}


def make() -> Hand:
    return Hand()


def test_an_executor_can_be_named(tmp_path: Path) -> None:
    with engines["futures"].open(Resources(), {"executor": f"{__name__}:make", "workers": "3"}) as pool:
        assert pool.capacity() == 3
        pool.submit(batch(1), tmp_path)


def spawned() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def own(body: str, folder: Path) -> Batch:
    """A batch of one trial of a function."""
    (folder / "own.py").write_text(
        f"import os, signal, time\ndef train(spec, report):\n    {body}\n    return 1.0\n", encoding="utf-8"
    )
    return Batch(batch(1).specs, trainer={"function": f"{folder / 'own.py'}:train"})


def test_a_process_pool_that_breaks_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dies = own("os.path.exists('died') or (open('died', 'w').close(), os.kill(os.getpid(), signal.SIGKILL))", tmp_path)
    with engines["futures"].open(Resources(), {"executor": f"{__name__}:spawned"}) as pool:
        error = pool.submit(dies, tmp_path / "spool").exception(60)
        assert isinstance(error, WorkerLostError), error
        assert "lost a worker" in str(error)
        assert pool.submit(dies, tmp_path / "spool").result(60) == (dies.specs[0].id,)


def test_closing_a_process_pool_does_not_wait_for_what_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sleeps = own("open('begun', 'w').close(); time.sleep(600)", tmp_path)
    with engines["futures"].open(Resources(), {"executor": f"{__name__}:spawned"}) as pool:
        future = pool.submit(sleeps, tmp_path / "spool")
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert isinstance(future.exception(0), WorkerLostError)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "no executor is named"),
        ({"executor": "a:b", "dask": "tcp://c"}, "two executors"),
        ({"executor": "no_such_module:make"}, "cannot be imported"),
        ({"executor": "os:no_such_name"}, "cannot be imported"),
        ({"executor": "os:sep"}, "not a function"),
        ({"executor": f"{__name__}:make", "workers": "many"}, "whole number"),
        ({"executer": f"{__name__}:make"}, "Did you mean 'executor'"),
        ({"executor": "builtins:dict"}, r"no submit\(\)"),
    ],
)
def test_a_wrong_executor_is_told_in_a_line(options: dict[str, str], match: str) -> None:
    with pytest.raises(InputError, match=match) as told:
        engines["futures"].open(Resources(), options)
    assert "\n" not in str(told.value)


def test_an_executor_that_knows_no_gpus_is_not_asked_for_them() -> None:
    with pytest.raises(InputError, match="GPUs or memory"):
        submitting(Hand(), Resources(gpus=1))
    with pytest.raises(InputError, match="Give its name"):
        engine_of(3)


# ---- this machine -------------------------------------------------------------------------------------------------------

GIB = 2.0**30
CORES = tuple(range(8))


@pytest.mark.parametrize(
    ("asked", "gpus", "expected"),
    [
        (Resources(), (), 8),
        (Resources(max_parallel=3), (), 3),
        (Resources(max_parallel=30), (), 30),
        (Resources(cpus=3), (), 2),
        (Resources(cpus=3, max_parallel=1), (), 1),
        (Resources(cpus=0.5), (), 16),
        (Resources(gpus=1), ("0", "1"), 2),
        (Resources(gpus=0.5), ("0", "1"), 4),
        (Resources(gpus=0.3), ("0", "1"), 6),
        (Resources(gpus=2), ("0", "1", "2"), 1),
        (Resources(gpus=0.1), ("0", "1"), 8),
        (Resources(memory=3 * GIB), (), 5),
    ],
)
def test_a_machine_has_as_many_workers_as_it_has_room_for(asked: Resources, gpus: tuple[str, ...], expected: int) -> None:
    made = seats(asked, CORES, gpus, memory=16 * GIB)
    assert len(made) == expected
    held = [core for seat in made for core in seat.cores or ()]
    assert len(held) == len(set(held)), "no core is held twice"
    shared = Counter(gpu for seat in made for gpu in seat.gpus)
    assert all(count <= max(1, int(1 / asked.gpus)) for count in shared.values())
    assert all(len(seat.gpus) == (1 if asked.gpus < 1 else asked.gpus) for seat in made if asked.gpus)
    assert max(shared.values(), default=0) - min(shared.values(), default=0) <= 1, "every GPU works before one is shared further"


@pytest.mark.parametrize(
    ("asked", "match"),
    [(Resources(cpus=9), "8 cores"), (Resources(gpus=1), "0 visible GPUs"), (Resources(memory=17 * GIB), "16 GiB")],
)
def test_a_machine_without_room_says_what_it_has(asked: Resources, match: str) -> None:
    with pytest.raises(InputError, match=match):
        seats(asked, CORES, memory=16 * GIB)


@pytest.mark.parametrize(("given", "expected"), [("0,2", ("0", "2")), ("GPU-a, GPU-b", ("GPU-a", "GPU-b")), ("", ()), ("-1", ())])
def test_visible_gpus_are_those_that_the_driver_may_use(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible() == expected


def test_gpus_are_asked_of_the_machine_where_no_variable_names_them(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    command(slurm, "nvidia-smi", "0", "1")
    assert visible() == ("0", "1")
    command(slurm, "nvidia-smi", code=9)
    assert visible() == ()


# Answers each batch with what it was started with, in place of trials.
TELLS = """
import json, os, sys, time
for line in sys.stdin:
    time.sleep(float(os.environ.get("PAUSE", 0)))
    told = [os.environ.get("CUDA_VISIBLE_DEVICES", ""), os.environ.get("OMP_NUM_THREADS", ""), str(len(os.sched_getaffinity(0)))]
    print(json.dumps({"done": json.loads(line)["batch"], "trials": told}), flush=True)
"""


def test_each_worker_sees_its_own_gpus_and_cores(tmp_path: Path) -> None:
    own = cores()
    made = [Seat(frozenset(own[:1]), ("3",)), Seat(frozenset(own[:1]), ("5", "6"))]
    with LocalPool(made, (sys.executable, "-c", TELLS), {**os.environ, "PAUSE": "0.3"}) as pool:
        told = [pool.submit(batch(seed), tmp_path).result(30) for seed in range(1)]
        both = [pool.submit(batch(seed), tmp_path) for seed in (1, 2)]
        told += [future.result(30) for future in both]
    assert {each[0] for each in told} == {"3", "5,6"}
    assert {each[2] for each in told} == {"1"}


def test_draining_this_machine_waits_for_what_is_trained(tmp_path: Path) -> None:
    with LocalPool(1, (sys.executable, "-c", TELLS), {**os.environ, "PAUSE": "0.5"}) as pool:
        running, waiting = pool.submit(batch(1), tmp_path), pool.submit(batch(2), tmp_path)
        while not running.running():
            time.sleep(0.01)
        pool.drain(30)
        assert len(running.result(0)) == 3
        assert waiting.cancelled()


@pytest.mark.parametrize(("cpus", "threads", "flags"), [(1, "1", True), (0.5, "1", True), (3, "3", False)])
def test_a_worker_has_as_many_threads_as_cores(cpus: float, threads: str, flags: bool) -> None:
    told = environment_of("cpu", {"XLA_FLAGS": "--xla_dump_to=x"}, cpus=cpus)
    assert told["OMP_NUM_THREADS"] == told["NPROC"] == threads
    assert ("--xla_cpu_multi_thread_eigen=false" in told["XLA_FLAGS"]) is flags
    assert "--xla_dump_to=x" in told["XLA_FLAGS"]
    assert told["JAX_PLATFORMS"] == "cpu"


def test_workers_that_share_a_gpu_share_its_memory() -> None:
    assert remote_environment("gpu", gpus=0.5)["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in remote_environment("gpu", gpus=1)
    assert remote_environment("gpu", gpus=1)["JAX_PLATFORMS"] == ""
    assert remote_environment("cpu")["JAX_PLATFORMS"] == "cpu"
    assert "JAX_PLATFORMS" not in environment_of("cpu", {}, gpus=1), "a trainer of one's own finds its GPU"


# ---- Ray ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "needs", "expected"),
    [
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 0.0, "memory": 0.0}, 8),
        ({"CPU": 8.0}, {"CPU": 3.0, "GPU": 0.0, "memory": 0.0}, 2),
        ({"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0, "memory": 0.0}, 0),
        ({"CPU": 64.0, "GPU": 8.0}, {"CPU": 1.0, "GPU": 0.5, "memory": 0.0}, 16),
        ({"CPU": 64.0, "GPU": 8.0}, {"CPU": 1.0, "GPU": 0.4, "memory": 0.0}, 16),
        ({"CPU": 64.0, "GPU": 8.0}, {"CPU": 1.0, "GPU": 2.0, "memory": 0.0}, 4),
        ({"CPU": 1.0}, {"CPU": 0.1, "GPU": 0.0, "memory": 0.0}, 10),
        ({"CPU": 64.0, "memory": 10e9}, {"CPU": 1.0, "GPU": 0.0, "memory": 4e9}, 2),
    ],
)
def test_a_node_holds_as_many_batches_as_fit(node: dict[str, float], needs: dict[str, float], expected: int) -> None:
    assert fitting(node, needs) == expected


# ---- SLURM --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e14), min_size=1, max_size=60), st.integers(1, 20), st.integers(1, 30))
def test_an_array_holds_every_batch_once_in_even_shares(works: list[float], most: int, room: int) -> None:
    made = [Job(batch(place, work=each), Path(), {}) for place, each in enumerate(works)]
    groups = packed(made, most, room)
    assert sorted(job.batch.specs[0].seed for group in groups for job in group) == list(range(len(works)))
    assert len(groups) <= most
    assert all(groups), "no job without a batch"
    assert len(groups) >= min(len(works), most, room), "as many as run at once, where there are so many batches"
    loads = [sum(job.batch.work for job in group) for group in groups]
    assert max(loads) <= sum(loads) / len(loads) + max(works) + 1


def test_somebody_s_own_runs_have_a_job_each() -> None:
    own = [Job(Batch(batch(place).specs, 2e10, trainer={"function": "f"}), Path(), {}) for place in range(30)]
    assert [len(group) for group in packed(own, 1000, 4)] == [1] * 30
    assert len(packed(own, 7, 4)) == 7
    assert len(packed([Job(batch(place, work=2e10), Path(), {}) for place in range(30)], 1000, 4)) == 4


def test_what_a_job_raised_is_found_in_what_submitit_tells() -> None:
    rule = "-" * 22
    trace = "Traceback:\n  x\nValueError: no room\n"
    told = f"Job (task=0) failed during processing with trace:\n{rule}\n{trace}\n{rule}\nYou can check\n- a.log"
    assert _raised(told) == "ValueError: no room"
    assert _raised("Job not requeued\n") == "Job not requeued"


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("1:30", 2), ("2:00:00", 120), ("1-0", 1440), ("1-02:30", 1590), ("0:0:30", 1)]
)
def test_a_time_limit_is_read_as_slurm_writes_it(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "-5", "0", "UNLIMITED", "1-x"])
def test_what_is_no_time_limit_is_told(text: str) -> None:
    with pytest.raises(InputError, match="no time limit"):
        minutes(text)


def command(folder: Path, name: str, *lines: str, code: int = 0) -> None:
    """A program of SLURM that prints some lines."""
    path = folder / name
    text = "\n".join(lines)
    path.write_text(f"#!/bin/sh\ncat <<'END' >&{2 if code else 1}\n{text}\nEND\nexit {code}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs of SLURM, first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command(
        folder,
        "sinfo",
        "debug|30:00|1:00:00|4|(null)|8000|idle",
        "work*|n/a|infinite|64|gpu:a100:8(S:0-1),shard:16|512000+|mixed",
        "work*|n/a|infinite|64+|gpu:4|512000|idle",
        "work*|n/a|infinite|64|gpu:8|512000|down*",
    )
    command(folder, "scontrol", "Configuration data", "MaxArraySize            = 501", "MaxJobCount = 10000")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def test_a_partition_tells_its_room(slurm: Path) -> None:
    del slurm
    work, debug = partition(None), partition("debug")
    assert work == Partition("work", (Node(64, 8, 512000 * 2**20), Node(64, 4, 512000 * 2**20)), 1440, 500)
    assert debug.minutes == 30
    assert [work.room(each) for each in (Resources(), Resources(cpus=10), Resources(gpus=2))] == [128, 12, 6]
    assert [work.room(each) for each in (Resources(memory=2.0**38), Resources(device="gpu"))] == [2, 12]
    assert debug.room(Resources(gpus=1)) == 1


def test_a_wrong_partition_is_told_with_the_near_one(slurm: Path) -> None:
    with pytest.raises(InputError, match=r"no partition 'wrok'\. Did you mean 'work'\? Known: debug, work"):
        partition("wrok")
    command(slurm, "sinfo", "slurm_load_partitions: Unable to contact slurm controller (connect failure)", code=1)
    with pytest.raises(InputError, match=r"sinfo fails .*Unable to contact slurm controller"):
        partition(None)


def test_the_queue_is_read_with_its_blanks(slurm: Path) -> None:
    rows = (
        ("7_0", "RUNNING", "None", "0"),
        ("7_1", "PENDING", "BeginTime", "2"),
        ("7_2", "PENDING", "launch failed requeued held", "5"),
        ("7_3", "NODE_FAIL", "NodeDown", "0"),
        ("7_4", "PENDING", "JobHeldUser", "0"),
    )
    command(slurm, "squeue", *(f"{a:32}{b:16}{c:40}{d:8}" for a, b, c, d in rows))
    found = jobs("name")
    assert found["7_1"] == State("PENDING", "BeginTime", 2)
    assert [key for key, state in found.items() if state.put_off] == ["7_1"]
    assert [key for key, state in found.items() if state.ended] == ["7_2", "7_3"]
    assert GONE.ended


class Lagging:
    """What submitit gives for a job: its result is there, on a file system that fails."""

    def __init__(self, turns: float, answers: object) -> None:
        self.turns, self._answers, self.job_id = turns, answers, "7_0"
        self.paths = SimpleNamespace(result_pickle=self)

    def exists(self) -> bool:
        self.turns -= 1
        if self.turns >= 0:
            raise OSError(116, "Stale file handle")
        return True

    def result(self) -> object:
        return self._answers


@pytest.mark.parametrize(
    ("turns", "answers", "ends"),
    [
        (2, [{"trials": []}], None),
        (math.inf, [{"trials": []}], r"cannot be followed \(.*Stale file handle"),
        (0, [], "cannot train"),
        (0, None, "cannot train"),
    ],
)
def test_whatever_happens_to_slurms_files_every_future_ends(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: float, answers: object, ends: str | None
) -> None:
    for name in ("squeue", "scancel"):
        command(slurm, name)
    monkeypatch.setattr("scalelaw.engines.slurm.GATHER_SECONDS", 0.01)
    pool = SlurmPool(None, Resources(), partition(None), {}, {})
    monkeypatch.setattr(pool, "_submit", lambda _, groups: pool._elements.append(_Element(groups[0], Lagging(turns, answers))))
    with pool:
        error = pool.submit(batch(1), tmp_path / "spool").exception(30)
    assert (error is None) == (ends is None)
    assert ends is None or (isinstance(error, EngineError) and re.search(ends, str(error)))


def test_an_array_of_no_number_is_told(slurm: Path) -> None:
    del slurm
    with pytest.raises(InputError, match="'ten' is not a whole number"):
        SlurmPool(None, Resources(), partition(None), {}, {"array": "ten"})


def test_slurm_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no sbatch on the PATH.*login node"):
        engines["slurm"].open(Resources(), {})
    with pytest.raises(InputError, match="Did you mean 'partition'"):
        engines["slurm"].open(Resources(), {"partiton": "p"})


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_told_with_the_command_that_installs_it(
    slurm: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    command(slurm, "sbatch")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'scalelaw\[{name}\]'"):
        engines[name].open(Resources(), {})


def test_shares_of_a_gpu_are_not_slurms(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(slurm, "sbatch")
    monkeypatch.setitem(sys.modules, "submitit", itertools)
    with pytest.raises(InputError, match=r"whole GPUs.*gres=shard:1"):
        engines["slurm"].open(Resources(gpus=0.5), {})
