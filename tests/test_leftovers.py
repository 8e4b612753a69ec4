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
from scalelaw.errors import WorkerLostError
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


def batch(folder: Path, name: str) -> Batch:
    settings = trainers["function"].resolved({"function": f"functions.py:{name}"}, folder)
    return Batch((SPEC,), trainer=settings)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "functions.py").write_text(BODY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], env={**os.environ, "PYTHONPATH": paths})
    number = child(folder)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert gone(number)


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
