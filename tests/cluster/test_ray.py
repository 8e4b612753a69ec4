"""Ray for real: two nodes on this machine, one of which fails."""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import TRIALS, Drives, devices
from processes import within
from ray_nodes import ALONE, RayNodes

from scalelaw.engines import Resources, engines
from scalelaw.errors import InputError
from scalelaw.run import run
from scalelaw.store import load
from scalelaw.study import Grid, Study
from scalelaw.testing.engines import check_engine

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def nodes(short: Path) -> Iterator[RayNodes]:
    made = RayNodes(short / "ray")
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_the_contract_and_what_is_told(nodes: RayNodes, tmp_path: Path) -> None:
    options = {"address": nodes.address}
    check_engine(engines["ray"], tmp_path, options=options)
    handler = signal.getsignal(signal.SIGTERM)
    with engines["ray"].open(Resources(cpus=0.5), options) as pool:
        assert pool.capacity() == 4
        assert signal.getsignal(signal.SIGTERM) is handler, "the driver keeps its signals"
    with pytest.raises(InputError, match=r"no node of the Ray cluster has 2 cores.*The largest has 1 cores"):
        engines["ray"].open(Resources(cpus=2), options)
    with pytest.raises(InputError, match=r"has 1 cores and 2 GPUs.*The largest has 1 cores, 1 GPUs"):
        engines["ray"].open(Resources(gpus=2), options)
    with engines["ray"].open(Resources(cpus=0.25, gpus=0.5), options) as pool:
        assert pool.capacity() == 4, "two share the GPU of each node"
    # Nodes have a GPU as far as Ray can see; which one a batch uses is Ray's to say.
    assert devices(tmp_path / "study.db", "ray", options, Resources(cpus=0.5, gpus=0.5)) == {"0"}


def test_code_is_sent_to_the_nodes(nodes: RayNodes, tmp_path: Path) -> None:
    folder = tmp_path / "sent_away"
    folder.mkdir()
    (folder / "__init__.py").write_text("def train(spec, report):\n    return 1.0\n", encoding="utf-8")
    grid = Grid({"parameters": (1000,)}, {"learning_rate": (1e-3, 1e-2)})
    study = Study("s", "sent", (grid,), trainer={"function": "sent_away:train"})
    options = {"address": nodes.address, "send": f"scalelaw,{folder}"}
    assert run(study, tmp_path / "study.db", engine="ray", options=options).complete
    with pytest.raises(InputError, match="is not a folder"):
        engines["ray"].open(Resources(), {"address": nodes.address, "send": "no_such_folder"})


def test_a_node_that_fails_loses_no_trial_and_doubles_none(nodes: RayNodes, tmp_path: Path, drives: Drives) -> None:
    drive = drives(tmp_path / "study.db", "ray", {"address": nodes.address})
    drive.wait_for(20)
    assert within(60, lambda: len(drive.trainers) == 2), "both nodes train"
    nodes.kill("n2")
    assert drive.finish().get("complete"), drive.said[-1]
    assert drive.said[0]["workers"] == 2
    assert all("Ray worker ended" in reason for reason in drive.retried)
    drive.check()
    assert drive.wasted <= 2, "only what was being trained there is trained again"


def test_ctrl_c_ends_the_cluster_s_work_within_seconds_and_a_resume_fills_the_holes(
    nodes: RayNodes, tmp_path: Path, drives: Drives
) -> None:
    drive = drives(tmp_path / "study.db", "ray", {"address": nodes.address})
    drive.wait_for(30)
    os.killpg(drive.process.pid, signal.SIGINT)
    assert drive.finish(30)["interrupted"] == "SIGINT"
    assert within(15, lambda: not nodes.workers())
    stored = len(load(tmp_path / "study.db"))
    assert 30 <= stored < TRIALS
    again = drives(tmp_path / "study.db", "ray", {"address": nodes.address})
    assert again.finish().get("complete"), again.said[-1]
    assert again.said[-1]["trained"] <= TRIALS - stored
    again.check_store()


def test_a_driver_that_is_killed_takes_its_workers_along(nodes: RayNodes, tmp_path: Path, drives: Drives) -> None:
    drive = drives(tmp_path / "study.db", "ray", {"address": nodes.address})
    drive.wait_for(30)
    drive.end()
    assert within(30, lambda: not nodes.workers())
    again = drives(tmp_path / "study.db", "ray", {"address": nodes.address})
    assert again.finish().get("complete"), again.said[-1]
    again.check_store()


def test_ray_s_own_test_cluster(tmp_path: Path, drives: Drives) -> None:
    utils = importlib.import_module("ray.cluster_utils")
    cluster = utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    )
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        drive = drives(tmp_path / "study.db", "ray", {"address": cluster.address})
        drive.wait_for(20)
        cluster.remove_node(second, allow_graceful=False)
        assert drive.finish().get("complete"), drive.said[-1]
        drive.check()
    finally:
        cluster.shutdown()


def test_a_cluster_that_is_not_there_is_told_at_once() -> None:
    began = time.monotonic()
    for address in ("127.0.0.1:1", "auto"):
        with pytest.raises(InputError, match=r"no Ray cluster answers.*ray start --head") as told:
            engines["ray"].open(Resources(), {"address": address})
        assert "\n" not in str(told.value)
    assert time.monotonic() - began < 30
