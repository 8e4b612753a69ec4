"""The worker process: its answers, its result files, what it imports, and that it never outlives its parent."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scalelaw import spool, worker
from scalelaw.errors import StoreError
from scalelaw.train import device, loop
from scalelaw.trainers import BUILTIN, Order, trainers
from scalelaw.trial import Status, Trial, TrialSpec

OPTIONS = {"input_dim": 8, "classes": 4, "teacher_width": 8}


def spec(width: int = 8, rate: float = 3e-3, seed: int = 0, **scale: int) -> TrialSpec:
    return TrialSpec(
        "teacher_student", {"width": width, "steps": 40, **scale}, {"learning_rate": rate}, seed, task_options=OPTIONS
    )


def line(batch: int, specs: list[TrialSpec]) -> str:
    return json.dumps({"batch": batch, "specs": [one.to_dict() for one in specs]}) + "\n"


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, **device.single_thread_environment(), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def start(folder: Path, tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scalelaw.worker", "--spool", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )


def without_time(trial: Trial) -> dict[str, Any]:
    return {**trial.to_dict(), "seconds": None}


def test_a_worker_trains_writes_and_answers(tmp_path: Path) -> None:
    asked = [spec(rate=1e-3), spec(rate=1e-2), spec(width=200)]
    bad = spec(widht=4)
    with start(tmp_path / "spool", tmp_path) as process:
        output, complaints = process.communicate(line(7, [*asked, bad]) + "junk\n\n" + line(8, asked[:1]), timeout=120)
    assert process.returncode == 0
    answers = [json.loads(text) for text in output.splitlines()]
    assert answers[0] == {"done": 7, "trials": [one.id for one in [*asked, bad]]}
    assert answers[1]["error"].startswith("not a batch")
    assert answers[2] == {"done": 8, "trials": [asked[0].id]}
    assert complaints == ""
    found = {trial.id: trial for trial in map(spool.read, spool.scan(tmp_path / "spool"))}
    assert len(found) == 4
    assert found[bad.id].status is Status.FAILED
    assert "'width'" in (found[bad.id].error or "")
    for one in asked:
        assert found[one.id].status is Status.COMPLETE
        # One thread in the worker, several here, another company: the same result to the bit.
        assert without_time(found[one.id]) == without_time(loop.run_all([one])[0])


DOORS = {
    "process": "import io; from scalelaw import worker; worker.serve(io.StringIO(line), io.StringIO(), Path(folder))",
    "function": "from scalelaw.engines._remote import call; call({}, ('elsewhere', 0), json.loads(line), folder, '')",
    "job": "from scalelaw.engines.slurm import Work; Work({}, ('elsewhere', 0), [json.loads(line)], folder, '')()",
}


@pytest.mark.parametrize("door", DOORS)
def test_a_worker_imports_only_what_a_bare_machine_has(tmp_path: Path, door: str) -> None:
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        f"line, folder = {line(1, [spec()])!r}, {str(tmp_path / 'spool')!r}\n"
        f"{DOORS[door]}\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}))\n"
        "print(sorted(name for name in sys.modules if name.startswith('scalelaw')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment(tmp_path))
    top, ours = done.stdout.splitlines()
    # What JAX itself requires is allowed; nothing else from outside the standard library is.
    needed, waiting = {"numpy", "jax"}, ["numpy", "jax"]
    while waiting:
        for requirement in importlib.metadata.requires(waiting.pop()) or []:
            name = re.split(r"[^A-Za-z0-9_.-]", requirement)[0].replace("-", "_")
            if "extra ==" not in requirement and name not in needed:
                needed.add(name)
                waiting.append(name)
    outside = {"polars", "narwhals", "sqlalchemy", "pydantic", "typer", "rich", "matplotlib", "jinja2", "pandas", "torch"}
    assert not outside & set(json.loads(top.replace("'", '"'))) - needed
    allowed = ("errors", "registry", "notation", "trial", "spool", "schedule", "tasks", "train", "trainers", "worker")
    allowed = (*allowed, "engines") if door != "process" else allowed
    assert {name.split(".")[1] for name in json.loads(ours.replace("'", '"')) if "." in name} <= set(allowed)


def test_results_are_written_as_they_come_and_an_error_fails_its_trial_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_group = loop._run_group

    def fragile(members: list[Any], size: int, asked: loop.Asked) -> list[Trial]:
        if any(dict(recipe.rates)["learning_rate"] == 0.5 for _, recipe in members):
            raise MemoryError("no room\nfor the network")
        return train_group(members, size, asked)

    monkeypatch.setattr(loop, "_run_group", fragile)
    asked = [spec(width=9), spec(rate=1e-3), spec(rate=0.5)]
    results = trainers[BUILTIN].trained(asked, Order(tmp_path))
    assert next(results).spec == asked[0]
    rest = {trial.spec: trial for trial in results}
    assert rest[asked[1]].status is Status.COMPLETE
    assert (rest[asked[2]].status, rest[asked[2]].error) == (Status.FAILED, "MemoryError: no room for the network")
    assert len(rest) == 2


def test_a_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, trial: Trial) -> Path:
        raise StoreError("the disk is full", str(folder), f"Free some space for {trial.id}")

    monkeypatch.setattr(spool, "write", full)
    answers = io.StringIO()
    worker.serve(io.StringIO(line(3, [spec()])), answers, tmp_path)
    told = json.loads(answers.getvalue())
    assert told["batch"] == 3
    assert "the disk is full" in told["error"]
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("not a folder")
    answers = io.StringIO()
    worker.serve(io.StringIO(line(3, [spec()])), answers, tmp_path / "spool")
    assert json.loads(answers.getvalue())["batch"] == 3


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    # The parent holds the worker's input open elsewhere, so that only its death can end the worker.
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'scalelaw.worker', '--spool', {str(tmp_path)!r}], stdin=0)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    reading, writing = os.pipe()
    try:
        parent = subprocess.Popen(
            [sys.executable, "-c", code], stdin=reading, stdout=subprocess.PIPE, text=True, env=environment(tmp_path)
        )
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.write(writing, line(1, [spec()]).encode())
        assert select.select([parent.stdout], [], [], 120)[0]
        assert json.loads(parent.stdout.readline())["done"] == 1
        os.write(writing, line(2, [spec(width=300, steps=10**6)]).encode())
        time.sleep(0.5)
        parent.send_signal(how)
        parent.wait()
        assert ended(child, seconds=20)
        parent.stdout.close()
    finally:
        os.close(reading)
        os.close(writing)


def ended(process: int, seconds: float) -> bool:
    """Whether a process that is not our child is gone, or dead and waiting to be collected, within `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        state = Path(f"/proc/{process}/stat")
        if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_environment_asks_for_one_thread_and_keeps_the_users_flags() -> None:
    given = device.single_thread_environment({"XLA_FLAGS": "--xla_dump_to=x"})
    assert given["OMP_NUM_THREADS"] == given["OPENBLAS_NUM_THREADS"] == given["NPROC"] == "1"
    assert given["XLA_FLAGS"].split() == ["--xla_dump_to=x", *device.XLA_FLAGS]
    assert device.single_thread_environment(given)["XLA_FLAGS"] == given["XLA_FLAGS"]
    assert given["JAX_PLATFORMS"] == "cpu"


def test_without_jax_a_worker_says_how_to_install_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "import importlib.util; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'jax' else find(name, *rest)\n"
        "from scalelaw.errors import MissingExtraError\n"
        "import io; from pathlib import Path\n"
        "from scalelaw import worker\n"
        "from scalelaw.train import train_batch\n"
        "from scalelaw.trial import TrialSpec\n"
        "worker.serve(io.StringIO(sys.argv[2]), sys.stdout, Path(sys.argv[1]))\n"
        "try:\n"
        "    train_batch([TrialSpec('fashion_mnist', {'width': 4, 'steps': 2}, {'learning_rate': 1e-3})])\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), line(5, [spec()])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer, raised = done.stdout.splitlines()
    assert json.loads(answer) == {"error": raised, "batch": None}
    assert "pip install 'scalelaw[train]'" in raised
