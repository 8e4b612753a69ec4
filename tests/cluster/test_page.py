"""The commands of docs/running.md for Ray, SLURM and Dask, as they stand there but for names of machines and partitions."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from ray_nodes import RayNodes
from slurm_nodes import SlurmNodes
from test_dask import DaskNodes

from scalelaw.engines import engines
from scalelaw.store import load

pytestmark = pytest.mark.cluster

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "running.md").read_text(encoding="utf-8")
TRIALS = 64
# What the page asks of a cluster that two nodes of one core do not have.
BEYOND = ("account=lab", "--gpus", "--cpus")


def commands(heading: str) -> list[list[str]]:
    """The `scalelaw run` commands of a section."""
    section = PAGE.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]
    found = [shlex.split(line.split("#")[0]) for line in section.splitlines() if line.startswith("    scalelaw run ")]
    assert found, heading
    return found


def within_reach(words: list[str], instead: Mapping[str, str]) -> list[str]:
    """The command with names of this cluster, and without what it does not have."""
    kept: list[str] = []
    left = iter(words)
    for word in left:
        if word in BEYOND:
            next(left)
        elif word == "--option" and (value := next(left)).split("=")[0] in ("account",):
            assert value in BEYOND
        else:
            kept += [word, value] if word == "--option" else [word]
    text = shlex.join(kept)
    for old, new in instead.items():
        text = text.replace(old, new)
    return shlex.split(text)


@pytest.fixture
def works(tmp_path: Path) -> Callable[[list[str]], None]:
    """Runs a command on the walk's study and looks at what is stored."""
    for name, content in re.findall(r"```(?:python|toml)\n# (\w+\.(?:py|toml))\n(.*?)```", PAGE, re.S):
        (tmp_path / name).write_text(content, encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}

    def run(words: list[str]) -> None:
        for name in (value.split("=")[0] for flag, value in itertools.pairwise(words) if flag == "--option"):
            assert name in engines[words[words.index("--engine") + 1]].options
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
        assert f"{TRIALS} of {TRIALS} trials are done (0 were before), 8 of them diverged" in done.stdout
        assert len(load(tmp_path / "study.db")) == TRIALS
        (tmp_path / "study.db").unlink()

    return run


def test_ray(short: Path, works: Callable[[list[str]], None]) -> None:
    nodes = RayNodes(short / "ray")
    try:
        nodes.start()
        for words in commands("A Ray cluster"):
            works(within_reach(words, {"HEAD:6379": nodes.address}))
    finally:
        nodes.stop()


def test_slurm(short: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    nodes = SlurmNodes(short / "slurm")
    for name, value in nodes.environment.items():
        monkeypatch.setenv(name, value)
    works = request.getfixturevalue("works")  # with the cluster in its environment
    try:
        nodes.start()
        for words in commands("A SLURM cluster"):
            works(within_reach(words, {"partition=gpu": "partition=work"}))
    finally:
        nodes.stop()


def test_dask(tmp_path_factory: pytest.TempPathFactory, works: Callable[[list[str]], None]) -> None:
    nodes = DaskNodes(tmp_path_factory.mktemp("dask"))
    try:
        nodes.start()
        for words in commands("Dask, and executors of your own"):
            works(within_reach(words, {"tcp://HEAD:8786": nodes.address}))
    finally:
        nodes.stop()
