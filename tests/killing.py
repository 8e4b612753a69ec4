"""A real run in a process of its own, SIGKILLs at random moments of it, and what its store then holds."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["TRIALS", "Contents", "children", "contents", "finish", "kill_within", "start"]

Contents = dict[str, list[tuple[object, ...]]]

# Prints how many trials are in the store after each one.
DRIVER = """
import sys
from scalelaw.run import run
from scalelaw.study import Grid, Study, log_spaced
rates = {"learning_rate": log_spaced(1e-3, 30.0, 8), "batch_size": (32,)}
grid = Grid({"width": (4, 8, 16), "depth": (2,), "steps": (200,)}, rates, (0, 1, 2))
study = Study("kill", "teacher_student", (grid,))
summary = run(study, sys.argv[1], on_event=lambda event: print(event.progress.done, flush=True))
sys.exit(0 if summary.complete else 1)
"""
TRIALS = 72


def start(store: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def finish(driver: subprocess.Popen[str]) -> None:
    _, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, err
    assert not err


def children(pid: int) -> list[int]:
    """The live child processes of `pid`."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


def contents(store: Path) -> Contents:
    """Every row of every table, without the seconds that training took."""
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: Contents = {}
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "seconds"]
            found[table] = sorted(connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall())
    return found


def kill_within(store: Path, environment: dict[str, str], generator: random.Random, kills: int) -> list[str]:
    """Run a study to its end with up to `kills` SIGKILLs on the way, at random moments; returns what was killed and when."""
    told: list[str] = []
    driver = start(store, environment)
    for goal in sorted(generator.choices(range(TRIALS - 8), k=kills)):
        delay, whom = generator.uniform(0, 0.2), generator.choice(["driver", "worker"])
        if goal < 8:
            time.sleep(5 * delay)  # while it opens the store and starts its workers
        else:
            assert driver.stdout is not None
            while (line := driver.stdout.readline()) and int(line) < goal:
                pass
            time.sleep(delay)
        workers = children(driver.pid)
        if driver.poll() is not None:
            break
        victim = generator.choice(workers) if workers and whom == "worker" else driver.pid
        os.kill(victim, signal.SIGKILL)
        told.append(f"{'driver' if victim == driver.pid else 'worker'} after {stored(store)} of {TRIALS} trials")
        if victim == driver.pid:
            driver.communicate()
            driver = start(store, environment)
    finish(driver)
    return told


def stored(store: Path) -> int:
    """Trials in the store; 0 where it has not been made yet."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
