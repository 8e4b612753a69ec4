"""Long runs keep where they are: whatever ends a worker, its trial goes on from there to the same bits."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelaw import spool
from scalelaw.train import checkpoint
from scalelaw.train.checkpoint import Checkpoint, Reached
from scalelaw.train.device import environment_of
from scalelaw.train.loop import Asked, chunks, run_all, stream
from scalelaw.train.population import stream_population
from scalelaw.trial import Status, Trial, TrialSpec

OPTIONS = {"input_dim": 8, "classes": 4, "teacher_width": 8}


def spec(rate: float = 3e-3, seed: int = 0, steps: int = 40, width: int = 6) -> TrialSpec:
    hyperparameters = {"learning_rate": rate, "batch_size": 16, "gradient_clip": 1.0}
    return TrialSpec("teacher_student", {"width": width, "depth": 1, "steps": steps}, hyperparameters, seed, task_options=OPTIONS)


def numbers(trial: Trial) -> Trial:
    return replace(trial, seconds=None)


def test_a_worker_that_is_killed_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    asked, folder = spec(steps=4000), tmp_path / "spool"
    line = json.dumps({"batch": 1, "specs": [asked.to_dict()]}) + "\n"
    command = [sys.executable, "-m", "scalelaw.worker", "--spool", str(folder), "--checkpoint-seconds", "0"]
    environment = {**environment_of("cpu"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdin is not None
        first.stdin.write(line)
        first.stdin.flush()
        until = time.monotonic() + 120
        while not (kept := list(spool.checkpoints(folder).glob("*.npz"))) and time.monotonic() < until:
            time.sleep(0.002)
        os.kill(first.pid, signal.SIGKILL)
    assert list(spool.scan(folder)) == []
    with np.load(kept[0]) as arrays:
        assert 1 <= int(arrays["chunks"]) < len(chunks(4000))
    done = subprocess.run(command, input=line, capture_output=True, text=True, env=environment, timeout=120, check=True)
    assert json.loads(done.stdout)["trials"] == [asked.id]
    (result,) = map(spool.read, spool.scan(folder))
    assert result.status is Status.COMPLETE
    assert numbers(result) == numbers(run_all([asked])[0])
    spool.sweep(folder)
    assert [path.name for path in folder.iterdir()] == [f"{asked.id}.trial.json"]


class InterruptedHere(Exception):
    """Stands for whatever ends a process."""


def interrupted(monkeypatch: pytest.MonkeyPatch, saves: int) -> list[int]:
    """Let the next run end after so many checkpoints; gives, as they come, the chunks at which runs go on."""
    went_on: list[int] = []
    save, load, count = Checkpoint.save, Checkpoint.load, [0]

    def saving(self: Checkpoint, reached: Reached) -> None:
        save(self, reached)
        count[0] += 1
        if count[0] == saves:
            raise InterruptedHere

    def loading(self: Checkpoint, like: Any) -> Reached | None:
        found = load(self, like)
        went_on.append(0 if found is None else found.chunks)
        return found

    monkeypatch.setattr(checkpoint, "SHARE", math.inf)  # every chunk, however long writing takes
    monkeypatch.setattr(Checkpoint, "save", saving)
    monkeypatch.setattr(Checkpoint, "load", loading)
    return went_on


@pytest.mark.parametrize("trainer", [stream, stream_population])
@pytest.mark.parametrize("saves", [3, 33, 40])
def test_a_run_resumes_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: Any, saves: int) -> None:
    """Curves, metrics and what witnesses saw before the interruption included; also after the last chunk."""
    asked = [spec(1e-3), spec(1e30), spec(1e-2)]
    whole = [numbers(trial) for trial in trainer(asked, Asked(witnesses=True))]
    went_on = interrupted(monkeypatch, saves)
    kept = Asked(witnesses=True, checkpoints=tmp_path, seconds=0)
    with pytest.raises(InterruptedHere):
        list(trainer(asked, kept))
    assert len(list(tmp_path.iterdir())) == 1
    assert [numbers(trial) for trial in trainer(asked, kept)] == whole
    assert went_on == [0, saves]
    assert all("update_ratio:weight1" in trial.metrics for trial in whole if trial.status is Status.COMPLETE)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_dropped_when_the_trial_ends_and_not_written_too_often(tmp_path: Path) -> None:
    keep = Checkpoint(tmp_path, ["a"], seconds=3600)
    assert not keep.due
    run_all([spec()], Asked(checkpoints=tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert not Checkpoint(None, ["a"], seconds=0).due


def test_a_damaged_checkpoint_is_as_none(tmp_path: Path) -> None:
    keep = Checkpoint(tmp_path, ["a", "b"], seconds=0)
    leaves = [np.arange(6.0).reshape(2, 3), np.zeros(())]
    assert keep.load(leaves) is None
    keep.save(Reached(5, leaves, np.zeros((5, 2), np.float32), np.zeros((0,)), {"step": np.ones((1, 2))}))
    found = keep.load(leaves)
    assert found is not None
    assert found.chunks == 5
    assert found.seen["step"].shape == (1, 2)
    np.testing.assert_array_equal(found.leaves[0], leaves[0])
    assert keep.load(leaves[:1]) is None
    assert keep.load([np.zeros((3, 2)), np.zeros(())]) is None
    assert Checkpoint(tmp_path, ["b", "a"]).load(leaves) is None, "another group has another file"
    assert keep.path is not None
    content = keep.path.read_bytes()
    for length in (0, 1, 50, len(content) // 2, len(content) - 1):
        keep.path.write_bytes(content[:length])
        assert keep.load(leaves) is None, length
    keep.path.write_bytes(content.replace(b"\x93NUMPY", b"\x93NUMBY"))
    assert keep.load(leaves) is None


def test_a_place_that_cannot_be_written_costs_no_trial(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = Asked(checkpoints=tmp_path / "file" / "checkpoints", seconds=0)
    assert numbers(run_all([spec()], asked)[0]) == numbers(run_all([spec()])[0])


def test_checkpoints_are_swept_when_a_study_is_complete_and_kept_while_it_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "study.db.spool"
    spool.checkpoints(folder).mkdir(parents=True)
    (spool.checkpoints(folder) / "0123.npz").touch()
    (spool.checkpoints(folder) / "0123.99.part").touch()
    spool.sweep(folder)
    assert [path.name for path in folder.rglob("*")] == ["checkpoints", "0123.npz"]
    spool.forget(folder)
    spool.sweep(folder)
    assert not folder.exists()
    spool.forget(folder)
    spool.sweep(folder)
