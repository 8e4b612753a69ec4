"""What training code starts ends with its worker, and keeps nobody waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scalelaw.engines import Batch
from scalelaw.engines.local import LocalPool
from scalelaw.errors import StoreError, WorkerLostError
from scalelaw.store import Store
from scalelaw.trainers import trainers
from scalelaw.trainers._process import run
from scalelaw.trial import TrialSpec

SPEC = TrialSpec("mine", {"width": 32}, {"learning_rate": 1e-2})
BODY = """
import multiprocessing, os, signal, subprocess, time

def tell(number):
    with open("child.part", "w") as stream:
        stream.write(str(number))
    os.replace("child.part", "child")

def starting(spec, report):
    tell(subprocess.Popen(["sleep", "600"]).pid)
    time.sleep(600)

def short(spec, report):
    return 1.0

def leaving(spec, report):
    tell(subprocess.Popen(["sleep", "600"]).pid)
    return 1.0

def forking(spec, report):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    tell(child.pid)
    os.kill(os.getpid(), signal.SIGKILL)

def departing(spec, report):
    def depart():
        os.setsid()
        time.sleep(20)
    multiprocessing.get_context("fork").Process(target=depart).start()
    os.kill(os.getpid(), signal.SIGKILL)
"""
# A driver that is killed while its worker trains.
DRIVER = """
import sys
from pathlib import Path
from test_leftovers import batch
from scalelaw.engines.local import LocalPool
with LocalPool(1) as pool:
    pool.submit(batch(Path("."), "starting"), Path("spool")).result()
"""
# One that holds a store and whose forked children are somebody's pool.
POOLED = """
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from test_leftovers import batch
from scalelaw.engines import Resources, engine_of
from scalelaw.store import Store
store = Store("study.db")
store.lock()
forks = multiprocessing.get_context("fork")
if sys.argv[1] == "bystander":
    child = forks.Process(target=time.sleep, args=(20,))
    child.start()
    print(child.pid, flush=True)
    time.sleep(600)
with ProcessPoolExecutor(1, mp_context=forks) as executor, engine_of(executor).open(Resources(), {}) as pool:
    print(executor.submit(time.sleep, 0) and next(iter(executor._processes)), flush=True)
    pool.submit(batch(Path("."), "short"), Path("spool")).result()
    Path("idle").touch()
    time.sleep(600)
"""


def batch(folder: Path, name: str) -> Batch:
    settings = trainers["function"].resolved({"function": f"functions.py:{name}"}, folder)
    return Batch((SPEC,), trainer=settings)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "functions.py").write_text(BODY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": paths}


def child(folder: Path) -> int:
    until = time.monotonic() + 30
    while not (folder / "child").exists():
        assert time.monotonic() < until, "the function did not start"
        time.sleep(0.02)
    return int((folder / "child").read_text(encoding="ascii"))


def gone(number: int, seconds: float = 10) -> bool:
    """Whether a process has ended, or waits to be collected."""
    until = time.monotonic() + seconds
    state = Path(f"/proc/{number}/stat")
    while time.monotonic() < until:
        try:
            if state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_cancelled_worker_takes_along_what_its_function_started(folder: Path) -> None:
    with LocalPool(1) as pool:
        future = pool.submit(batch(folder, "starting"), folder / "spool")
        number = child(folder)
        pool.cancel()
        with pytest.raises(WorkerLostError):
            future.result(20)
        assert gone(number)


def test_a_worker_that_ends_by_itself_takes_along_what_its_trials_left(folder: Path) -> None:
    with LocalPool(1) as pool:
        assert pool.submit(batch(folder, "leaving"), folder / "spool").result(20) == (SPEC.id,)
    assert gone(child(folder))


def test_a_lost_worker_is_told_though_its_forked_child_lives_and_the_child_is_ended(folder: Path) -> None:
    with LocalPool(1) as pool:
        with pytest.raises(WorkerLostError, match="signal 9"):
            pool.submit(batch(folder, "forking"), folder / "spool").result(20)
        assert gone(child(folder))


def test_a_forked_child_that_nobody_can_end_keeps_no_driver_waiting(folder: Path) -> None:
    began = time.monotonic()
    with LocalPool(1) as pool, pytest.raises(WorkerLostError, match="signal 9"):
        pool.submit(batch(folder, "departing"), folder / "spool").result(10)
    assert time.monotonic() - began < 15


def test_what_a_function_started_ends_with_a_driver_that_is_killed(folder: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], env=environment())
    number = child(folder)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert gone(number)


@pytest.mark.parametrize("kind", ["bystander", "pool"])
def test_what_a_killed_driver_has_forked_keeps_no_store(folder: Path, kind: str) -> None:
    driver = subprocess.Popen([sys.executable, "-c", POOLED, kind], stdout=subprocess.PIPE, text=True, env=environment())
    assert driver.stdout is not None
    number = int(driver.stdout.readline())
    until = time.monotonic() + 30
    while kind == "pool" and not (folder / "idle").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    with Store("study.db") as store, pytest.raises(StoreError, match=str(driver.pid)):
        store.lock()
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    with Store("study.db") as store:
        store.lock()
    if kind == "pool":
        assert gone(number), "a process of the pool waits for ever"
    else:
        os.kill(number, signal.SIGKILL)


def test_a_command_whose_departed_child_goes_on_printing_is_not_waited_for(tmp_path: Path) -> None:
    code = "setsid sh -c 'for i in $(seq 200); do echo x; sleep 0.1; done' & sleep 0.5"
    began = time.monotonic()
    ended = run(
        ["sh", "-c", code],
        os.environ,
        tmp_path,
        line=lambda _: False,
        complaint=lambda _: True,
        going=lambda: True,
        left=lambda: 60.0,
    )
    assert ended.code == 0
    assert time.monotonic() - began < 10
