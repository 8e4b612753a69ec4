"""The templates in examples/: each trains its study to the end and finds a best rate. Torch's run where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from scalelaw.optimum import optimum
from scalelaw.run import run
from scalelaw.store import Store, load
from scalelaw.study import read_study
from scalelaw.trial import Status

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {
    "command": (),
    "jax": ("jax",),
    "pytorch": ("torch",),
    "hf_trainer": ("transformers", "accelerate"),
    "lightning": ("lightning",),
}


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_trains(name: str, tmp_path: Path) -> None:
    for package in NEEDS[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; see make test-examples")
    study = read_study(EXAMPLES / f"{name}.toml")
    summary = run(study, tmp_path / "study.db", max_parallel=1)
    with Store(tmp_path / "study.db", read_only=True) as store:
        trials = store.trials()
    assert summary.complete, [trial.error for trial in trials]
    assert {trial.status for trial in trials} <= {Status.COMPLETE, Status.DIVERGED}
    for trial in trials:
        assert (trial.parameters and trial.compute) or trial.status is Status.DIVERGED
        assert trial.curve is not None
        assert len(trial.curve.steps) >= 2 or trial.status is Status.DIVERGED
    found = optimum(load(tmp_path / "study.db"), at={"width": 128})
    rates = [value for grid in study.grids for value in grid.hyperparameters["learning_rate"] if not isinstance(value, str)]
    assert min(rates) < found.estimates({"width": 32})["learning_rate"].value < max(rates)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_a_template_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
