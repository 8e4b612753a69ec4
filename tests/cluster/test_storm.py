"""Forty SIGKILLs over four hundred trials on sixteen workers: every trial is there once, and who looks holds up nobody."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import descendants
from ray_nodes import RayNodes
from storm import TRIALS, Storm

pytestmark = pytest.mark.cluster

STRIKES = 40


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


@pytest.fixture
def storms() -> Iterator[Callable[..., Storm]]:
    made: list[Storm] = []

    def start(*arguments: object) -> Storm:
        made.append(Storm(*arguments))  # pyright: ignore[reportArgumentType]
        return made[-1]

    yield start
    for storm in made:
        storm.end()


def check(storm: Storm) -> str:
    assert storm.finish()["complete"], storm.said[-1]
    assert storm.contents() == ("ok", TRIALS, TRIALS, {"COMPLETE": TRIALS})
    assert storm.longest < 4.0, "a reader that looks for five seconds at a time has held up the driver"
    spool = storm.store.with_name(f"{storm.store.name}.spool")
    assert not list(spool.glob("*.trial.json"))
    return f"{dict(storm.struck)}; longest write {storm.longest:.3f} s; the reader saw {len(storm.seen)} states"


def test_workers_and_the_driver_are_killed(
    tmp_path: Path, storms: Callable[..., Storm], capsys: pytest.CaptureFixture[str]
) -> None:
    storm, chance = storms(tmp_path, "local", {}, 1), random.Random(1)
    while storm.strikes < STRIKES and storm.wait(STRIKES):
        if chance.random() < 0.25:
            storm.cut_power()
        else:
            storm.strike_worker(descendants(storm.driver.pid))
    told = check(storm)
    assert storm.strikes == STRIKES, told
    with capsys.disabled():
        print(f"\nlocal: {told}")


def test_workers_nodes_and_the_driver_are_killed_on_ray(
    short: Path, tmp_path: Path, storms: Callable[..., Storm], capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = RayNodes(short / "ray", cpus=8)
    try:
        nodes.start()
        storm, chance = storms(tmp_path, "ray", {"address": nodes.address}, 2, 2.0), random.Random(2)
        while storm.strikes < STRIKES and storm.wait(STRIKES):
            whom = chance.choices(("worker", "driver", "node"), (32, 5, 3))[0]
            if whom == "node":
                nodes.kill("n2")
                storm.struck["node"] += 1
                nodes.add("n2", f"--address={nodes.address}")
            elif whom == "driver":
                storm.cut_power()
            else:
                storm.strike_worker(nodes.workers())
        told = check(storm)
        with capsys.disabled():
            print(f"\nray: {told}")
        assert storm.strikes == STRIKES, told
    finally:
        nodes.stop()
