"""Result files: whole or not at all, and read back as they were written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw import spool
from scalelaw.errors import StoreError
from scalelaw.trial import Curve, Origin, Status, Trial, TrialSpec

names = st.sampled_from(["width", "depth", "steps"])
values = st.one_of(st.integers(1, 10**6), st.floats(1e-9, 1e9), st.sampled_from(["a", "b"]))
specs = st.builds(
    TrialSpec,
    task=st.text(max_size=10),
    scale=st.dictionaries(names, values, max_size=3),
    hyperparameters=st.dictionaries(st.sampled_from(["learning_rate", "beta1"]), values, max_size=2),
    seed=st.integers(0, 2**31),
)
finite = st.floats(allow_nan=False, allow_infinity=False)
maybe = st.one_of(st.none(), finite)
curves = st.lists(st.tuples(st.integers(1, 10**6), finite), max_size=5).map(
    lambda points: Curve(tuple(step for step, _ in points), tuple(loss for _, loss in points))
)
trials = st.builds(
    Trial,
    spec=specs,
    status=st.sampled_from(Status),
    loss=maybe,
    parameters=st.one_of(st.none(), st.integers(0, 2**50)),
    tokens=maybe,
    compute=maybe,
    compute_rule=st.one_of(st.none(), st.text(max_size=5)),
    curve=st.one_of(st.none(), curves),
    at_chance=st.booleans(),
    diverged_step=st.one_of(st.none(), st.integers(0, 10**9)),
    last_loss=maybe,
    metrics=st.dictionaries(st.text(max_size=5), finite, max_size=3),
    seconds=maybe,
    origin=st.sampled_from(Origin),
    error=st.one_of(st.none(), st.text(max_size=20)),
)

TRIAL = Trial(TrialSpec("t", {"width": 8}, {"learning_rate": 1e-3}), Status.COMPLETE, loss=1.0)


@settings(deadline=None)
@given(trials)
def test_a_trial_comes_back_as_it_went(tmp_path_factory: pytest.TempPathFactory, trial: Trial) -> None:
    folder = tmp_path_factory.mktemp("spool")
    path = spool.write(folder, trial)
    assert spool.read(path) == trial
    assert list(spool.scan(folder)) == [path]
    assert [each.name for each in folder.iterdir()] == [path.name]


def test_writing_twice_leaves_one_file(tmp_path: Path) -> None:
    assert spool.write(tmp_path / "new", TRIAL) == spool.write(tmp_path / "new", TRIAL)
    assert len(list(spool.scan(tmp_path / "new"))) == 1


def test_a_file_being_written_is_not_a_result(tmp_path: Path) -> None:
    (tmp_path / f".{TRIAL.id}.99.part").write_text('{"spec": {"ta', encoding="utf-8")
    assert list(spool.scan(tmp_path)) == []
    assert list(spool.scan(tmp_path / "absent")) == []
    spool.write(tmp_path, TRIAL)
    spool.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{TRIAL.id}.trial.json"]
    spool.read(tmp_path / f"{TRIAL.id}.trial.json")
    (tmp_path / "empty").mkdir()
    spool.sweep(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for folder in (tmp_path / "file" / "spool", Path("/proc/scalelaw")):
        with pytest.raises(StoreError) as caught:
            spool.write(folder, TRIAL)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


# RLIMIT_FSIZE makes every write beyond it fail with EFBIG: a full disk that any user can have.
FULL = """
import json, resource, signal, sys
from pathlib import Path
from scalelaw import spool
from scalelaw.errors import StoreError
from scalelaw.trial import Trial
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    spool.write(Path(sys.argv[1]), Trial.from_dict(json.loads(sys.argv[2])))
except StoreError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", FULL, str(tmp_path), json.dumps(TRIAL.to_dict())]
    done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ, timeout=60, check=True)
    assert done.stdout.startswith(f"{tmp_path}: the disk is full")
    assert list(tmp_path.iterdir()) == []
