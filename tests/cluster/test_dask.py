"""Dask for real: a scheduler and two workers on this machine, one of which is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import TRIALS, Drives
from processes import descendants, free_port, kill, within

from scalelaw.engines import Resources, engines
from scalelaw.errors import InputError
from scalelaw.store import load
from scalelaw.testing.engines import check_engine

pytestmark = pytest.mark.cluster

PATIENCE = 60.0


class DaskNodes:
    """A scheduler and workers of one thread each, by Dask's own command line."""

    def __init__(self, folder: Path) -> None:
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._folder = folder

    def start(self) -> None:
        port = self.address.rpartition(":")[2]
        self.run("scheduler", "scheduler", "--host=127.0.0.1", f"--port={port}", "--no-dashboard")
        for name in ("w1", "w2"):
            place = ("--nthreads=1", "--no-nanny", "--no-dashboard", f"--name={name}", f"--local-directory={self._folder}")
            self.run(name, "worker", self.address, *place)
        for name in self.processes:
            said = "Registered to" if name.startswith("w") else "Scheduler at"
            log = self._log(name)
            assert within(PATIENCE, lambda log=log, said=said: said in log.read_text(encoding="utf-8")), log.read_text(
                encoding="utf-8"
            )

    def run(self, name: str, *arguments: str) -> None:
        with self._log(name).open("wb") as out:
            command = [sys.executable, "-m", "dask", *arguments]
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        for pid in (process.pid, *descendants(process.pid)):
            kill(pid)
        process.wait()

    def stop(self) -> None:
        for name in reversed(list(self.processes)):
            self.kill(name)

    def busy(self) -> float:
        """Seconds of processor time that the workers have used."""
        ticks = 0
        for name, process in self.processes.items():
            if name.startswith("w"):
                fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.out"


@pytest.fixture
def nodes(short: Path) -> Iterator[DaskNodes]:
    made = DaskNodes(short)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_the_contract_and_what_is_told(nodes: DaskNodes, tmp_path: Path) -> None:
    futures = engines["futures"]
    check_engine(futures, tmp_path, options={"dask": nodes.address})
    with futures.open(Resources(), {"dask": nodes.address}) as pool:
        assert pool.capacity() == 2


def test_a_worker_that_is_killed_loses_no_trial_and_doubles_none(nodes: DaskNodes, tmp_path: Path, drives: Drives) -> None:
    drive = drives(tmp_path / "study.db", "futures", {"dask": nodes.address})
    drive.wait_for(40)
    assert within(60, lambda: len(drive.trainers) == 2), "both workers train"
    nodes.kill("w2")
    assert drive.finish().get("complete"), drive.said[-1]
    assert drive.said[0]["workers"] == 2
    drive.check()
    assert drive.wasted <= 2, "only what was being trained there is trained again"


def test_ctrl_c_ends_the_cluster_s_work_within_seconds_and_a_resume_fills_the_holes(
    nodes: DaskNodes, tmp_path: Path, drives: Drives
) -> None:
    drive = drives(tmp_path / "study.db", "futures", {"dask": nodes.address})
    drive.wait_for(30)
    os.killpg(drive.process.pid, signal.SIGINT)
    assert drive.finish(30)["interrupted"] == "SIGINT"
    time.sleep(2)
    before = nodes.busy()
    time.sleep(2)
    assert nodes.busy() - before < 0.5, "the workers are idle"
    stored = len(load(tmp_path / "study.db"))
    assert 30 <= stored < TRIALS
    again = drives(tmp_path / "study.db", "futures", {"dask": nodes.address})
    assert again.finish().get("complete"), again.said[-1]
    again.check_store()


def test_a_scheduler_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match=r"no Dask scheduler answers.*dask scheduler"):
        engines["futures"].open(Resources(), {"dask": "tcp://127.0.0.1:1"})
