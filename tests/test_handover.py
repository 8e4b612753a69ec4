"""Trials handed to other tools: each arrives once, with the numbers it has, and the real libraries take them."""

from __future__ import annotations

import importlib.util
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelaw._study_text import study_text
from scalelaw.cli import main
from scalelaw.cli._app import execute
from scalelaw.errors import InputError, MissingExtraError
from scalelaw.handover import boxes, enqueue_optuna, settings_of, sweeps, write_sweeps
from scalelaw.study import Grid, Study
from scalelaw.trial import TrialSpec

LADDER = Study(
    "ladder",
    "mine",
    (
        Grid({"width": (64, 128), "steps": (100,)}, {"learning_rate": (1e-4, 1e-3, 1e-2), "schedule": ("cosine",)}, (0, 1)),
        Grid({"width": (256,), "steps": (400,)}, {"learning_rate": (1e-4, 3e-4), "schedule": ("cosine",)}, (0,)),
    ),
    trainer={"command": ["python", "train.py", "--lr", "{learning_rate}"]},
)


def trials_of(configurations: list[dict[str, Any]]) -> Counter[str]:
    """The trials that W&B's grid would run."""
    found: Counter[str] = Counter()
    for each in configurations:
        axes = {name: given.get("values", [given.get("value")]) for name, given in each["parameters"].items()}
        for values in itertools.product(*axes.values()):
            found[json.dumps(dict(zip(axes, values, strict=True)), sort_keys=True)] += 1
    return found


def asked(study: Study) -> Counter[str]:
    return Counter(json.dumps(settings_of(spec), sort_keys=True) for spec in study.specs)


def test_a_grid_is_one_sweep_and_a_ladder_is_one_for_each_of_its_grids() -> None:
    made = sweeps(LADDER)
    assert len(made) == 2
    assert made[0]["program"] == "train.py"
    assert trials_of(made) == asked(LADDER)
    assert len(sweeps(Study("one", "mine", LADDER.grids[:1]), "other.py")) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from((16, 32, 64)), st.sampled_from((1e-4, 1e-3, 0.01)), st.integers(0, 2)),
        min_size=1,
        max_size=20,
        unique=True,
    )
)
def test_every_trial_is_in_one_box(chosen: list[tuple[int, float, int]]) -> None:
    specs = [TrialSpec("t", {"width": width}, {"learning_rate": rate}, seed) for width, rate, seed in chosen]
    held = Counter(
        tuple(values) for box in boxes(specs) for values in itertools.product(box["width"], box["learning_rate"], box["seed"])
    )
    assert held == Counter(chosen)


def test_no_sweep_is_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(study_text(LADDER), encoding="utf-8")
    (tmp_path / "sweep-2.yaml").write_text("precious", encoding="utf-8")
    command = ["handover", str(tmp_path / "study.toml"), "-o", str(tmp_path / "sweep.yaml")]
    assert main(command) == 2
    assert (tmp_path / "sweep-2.yaml").read_text(encoding="utf-8") == "precious"
    assert not (tmp_path / "sweep-1.yaml").exists(), "none is written where not all can be"
    assert main([*command, "--force"]) == 0
    assert "width" in (tmp_path / "sweep-2.yaml").read_text(encoding="utf-8")


def test_the_files_are_yaml_with_numbers_as_numbers(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml") if importlib.util.find_spec("yaml") else None
    paths = write_sweeps(LADDER, tmp_path / "sweep.yaml")
    assert [path.name for path in paths] == ["sweep-1.yaml", "sweep-2.yaml"]
    text = paths[0].read_text()
    assert "values: [0.0001, 0.001, 0.01]" in text
    tiny = Study("tiny", "mine", (Grid({"width": (4,)}, {"learning_rate": (1e-7, 1e-6)}),))
    (path,) = write_sweeps(tiny, tmp_path / "tiny.yaml", "train.py", "val/loss")
    assert "[1.0e-07, 1.0e-06]" in path.read_text()
    (path,) = write_sweeps(Study("\U0001f600", "mine", tiny.grids), tmp_path / "odd.yaml", "train.py")
    assert 'name: "\U0001f600"' in path.read_text(encoding="utf-8")
    if yaml is not None:
        assert trials_of([yaml.safe_load(each.read_text()) for each in paths]) == asked(LADDER)
        assert yaml.safe_load(path.read_text())["metric"]["name"] == "val/loss"


def test_the_command_writes_sweeps_and_says_how_to_start_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "next.toml"
    path.write_text(study_text(LADDER), encoding="utf-8")
    assert main(["handover", str(path), "-o", str(tmp_path / "sweep.yaml"), "--program", "train.py"]) == 0
    assert "wandb sweep" in capsys.readouterr().out
    assert main(["handover", str(path), "-o", str(tmp_path / "sweep.yaml"), "--program", "train.py", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == len(LADDER.specs)


@pytest.mark.parametrize("output", [".", "..", "/", "sweep.txt"])
def test_what_is_no_file_for_sweeps_is_told(tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "next.toml"
    path.write_text(study_text(LADDER), encoding="utf-8")
    assert execute(["handover", str(path), "-o", output, "--program", "train.py"]) == 2
    assert "End it in one of .yaml, .yml." in capsys.readouterr().err


def test_without_a_program_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--program"):
        sweeps(Study("bare", "mine", LADDER.grids))
    with pytest.raises(InputError, match="cannot be written"):
        write_sweeps(LADDER, tmp_path / "no" / "sweep.yaml")


class Queue:
    """What Optuna's study answers here."""

    def __init__(self) -> None:
        self.trials: list[Any] = []

    def get_trials(self, deepcopy: bool = True) -> list[Any]:
        del deepcopy
        return self.trials

    def enqueue_trial(self, params: dict[str, Any], user_attrs: dict[str, Any]) -> None:
        self.trials.append(type("Frozen", (), {"params": params, "user_attrs": user_attrs})())


def test_a_queue_holds_each_trial_once_however_often_it_is_filled() -> None:
    queue = Queue()
    assert enqueue_optuna(LADDER, queue) == len(LADDER.specs)
    assert enqueue_optuna(LADDER, queue) == 0
    assert Counter(json.dumps(trial.params, sort_keys=True) for trial in queue.trials) == asked(LADDER)


def test_the_real_optuna_runs_what_was_queued(tmp_path: Path) -> None:
    if importlib.util.find_spec("optuna") is None:
        with pytest.raises(MissingExtraError, match="optuna"):
            enqueue_optuna(LADDER, str(tmp_path / "optuna.db"))
        return
    import optuna

    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    assert enqueue_optuna(LADDER, url) == len(LADDER.specs)
    study = optuna.load_study(study_name="ladder", storage=url)
    seen: Counter[str] = Counter()

    def objective(trial: Any) -> float:
        settings = {
            "width": trial.suggest_int("width", 1, 4096),
            "steps": trial.suggest_int("steps", 1, 10**6),
            "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1.0, log=True),
            "schedule": trial.suggest_categorical("schedule", ["cosine", "constant"]),
            "seed": trial.suggest_int("seed", 0, 100),
        }
        seen[json.dumps(settings, sort_keys=True)] += 1
        return 1.0

    study.optimize(objective, n_trials=len(LADDER.specs))
    assert seen == asked(LADDER)
    with pytest.raises(InputError, match="Optuna's storage cannot be used"):
        enqueue_optuna(LADDER, "mysql://nowhere/none")
