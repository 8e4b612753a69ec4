"""SLURM for real: two nodes on this machine, one of which fails, and jobs that are preempted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import TRIALS, Drives, devices
from processes import kill, within
from slurm_nodes import NODES, SlurmNodes, missing

from scalelaw.engines import Resources, engines
from scalelaw.errors import InputError
from scalelaw.store import load
from scalelaw.testing.engines import check_engine

pytestmark = pytest.mark.cluster

BATCH = 100  # trials of a job: one for each node


@pytest.fixture
def nodes(short: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmNodes]:
    assert not missing(), f"not installed: {', '.join(missing())}; see tests/cluster/install.sh"
    made = SlurmNodes(short / "slurm")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_the_contract_and_what_is_told(nodes: SlurmNodes, tmp_path: Path) -> None:
    slurm = engines["slurm"]
    check_engine(slurm, tmp_path / "spool")
    assert within(10, lambda: not nodes.jobs())
    assert [path.name for path in tmp_path.iterdir()] == ["spool"], "no file of a job is left"
    with slurm.open(Resources(), {}) as pool:
        assert pool.capacity() == 2
    # Nodes have a GPU as far as SLURM can see; which one a batch uses is SLURM's to say.
    assert devices(tmp_path / "study.db", "slurm", {}, Resources(gpus=1)) == {"0"}
    with pytest.raises(InputError, match=r"no partition 'wrok'\. Did you mean 'work'\? Known: work"):
        slurm.open(Resources(), {"partition": "wrok"})
    with pytest.raises(InputError, match=r"'soon' is no time limit"):
        slurm.open(Resources(), {"time": "soon"})


def test_what_slurm_refuses_is_told_in_a_line(nodes: SlurmNodes, tmp_path: Path, drives: Drives) -> None:
    del nodes
    drive = drives(tmp_path / "study.db", "slurm", {"constraint": "no_such_feature"}, BATCH)
    said = drive.finish(60)
    assert (said["event"], said["kind"]) == ("error", "InputError")
    assert "SLURM refuses the job" in said["message"]
    assert "Invalid feature specification" in said["message"]


def test_a_node_that_fails_loses_no_trial_and_doubles_none(nodes: SlurmNodes, tmp_path: Path, drives: Drives) -> None:
    drive = drives(tmp_path / "study.db", "slurm", {}, BATCH)
    drive.wait_for(10)
    assert within(60, lambda: len(drive.trainers) == 2), "both nodes train"
    nodes.kill("n1")
    assert drive.finish().get("complete"), drive.said[-1]
    assert drive.said[0]["workers"] == 2
    drive.check()
    assert drive.wasted <= 2, "only what was being trained there is trained again"
    assert not nodes.jobs()


def test_a_preempted_job_goes_on_where_it_was(nodes: SlurmNodes, tmp_path: Path, drives: Drives) -> None:
    drive = drives(tmp_path / "study.db", "slurm", {}, BATCH)
    drive.wait_for(10)
    assert within(60, lambda: len(drive.trainers) == 2)
    # What SLURM has its step daemons send when a job must leave its node, or comes near its time limit.
    for pid in (pid for node in NODES for pid in nodes.workers(node)):
        os.kill(pid, signal.SIGUSR2)
    assert drive.finish().get("complete"), drive.said[-1]
    assert not drive.retried, ("the scheduler starts it again, not the driver", drive.retried)
    drive.check()
    assert drive.wasted <= 2, "only what was being trained there is trained again"


def test_a_job_that_dies_is_told_and_its_trials_are_trained_again(nodes: SlurmNodes, tmp_path: Path, drives: Drives) -> None:
    drive = drives(tmp_path / "study.db", "slurm", {}, BATCH)
    drive.wait_for(10)
    assert within(60, lambda: len(drive.trainers) == 2)
    for pid in nodes.workers("n1"):
        kill(pid)
    assert drive.finish().get("complete"), drive.said[-1]
    assert any("a SLURM job ended without a result (FAILED" in reason for reason in drive.retried), drive.retried
    drive.check("study.db.slurm")  # what the lost job has said


def test_ctrl_c_empties_the_queue_within_seconds_and_a_resume_fills_the_holes(
    nodes: SlurmNodes, tmp_path: Path, drives: Drives
) -> None:
    drive = drives(tmp_path / "study.db", "slurm", {}, BATCH)
    drive.wait_for(30)
    os.killpg(drive.process.pid, signal.SIGINT)
    assert drive.finish(30)["interrupted"] == "SIGINT"
    assert within(10, lambda: not nodes.jobs())
    stored = len(load(tmp_path / "study.db"))
    assert 30 <= stored < TRIALS
    again = drives(tmp_path / "study.db", "slurm", {}, BATCH)
    assert again.finish().get("complete"), again.said[-1]
    ended = [each["id"] for each in again.said if each["event"] == "TrialEnded"]
    assert len(ended) == len(set(ended)) == again.said[-1]["trained"] <= TRIALS - stored
    again.check_store()


def test_a_driver_that_is_killed_leaves_jobs_that_the_next_one_takes_over(
    nodes: SlurmNodes, tmp_path: Path, drives: Drives
) -> None:
    drive = drives(tmp_path / "study.db", "slurm", {}, BATCH)
    drive.wait_for(30)
    drive.end()
    assert nodes.jobs()
    again = drives(tmp_path / "study.db", "slurm", {}, BATCH)
    assert again.finish().get("complete"), again.said[-1]
    ended = [each["id"] for each in again.said if each["event"] == "TrialEnded"]
    assert len(ended) == len(set(ended)) == again.said[-1]["trained"] <= TRIALS - 30
    again.check_store()
