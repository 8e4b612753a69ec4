"""Kill the driver or a worker at any moment of a real run: resumed, the store is the one that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from killing import TRIALS, Contents, children, contents, finish, kill_within, start

KILLS = 20


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One compilation cache for all runs of this file."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Contents:
    """The contents of a store that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start(folder / "study.db", environment))
    assert [path.name for path in folder.iterdir()] == ["study.db"], "a store at rest is one file"
    return contents(folder / "study.db")


def test_sigkill_at_any_moment_changes_nothing(
    tmp_path: Path, environment: dict[str, str], undisturbed: Contents, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(undisturbed["trials"]) == TRIALS
    assert len(undisturbed["curves"]) > TRIALS / 2
    generator = random.Random(20)
    told: list[str] = []
    while len(told) < KILLS:
        store = tmp_path / f"{len(told)}.db"
        told += kill_within(store, environment, generator, min(7, KILLS - len(told)))
        assert contents(store) == undisturbed, told
    with capsys.disabled():
        print(f"\nkilled {len(told)} times, every store as undisturbed: {'; '.join(told)}")


def test_workers_end_with_their_driver(tmp_path: Path, environment: dict[str, str]) -> None:
    driver = start(tmp_path / "study.db", environment)
    deadline = time.monotonic() + 30
    while not (workers := children(driver.pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert workers
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    while any(Path(f"/proc/{pid}/cmdline").exists() and "worker" in _command(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlives its driver"
        time.sleep(0.05)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""
