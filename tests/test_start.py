"""Fine-tuning: trials that start where another run ends, and the runs they start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scalelaw.engines._base import shape
from scalelaw.errors import SpecError, StudyError
from scalelaw.study import Study, parse_study
from scalelaw.train import Recipe, train, train_batch, weights
from scalelaw.train.count import flops
from scalelaw.train.loop import Asked
from scalelaw.train.population import stream_population
from scalelaw.trainers import BUILTIN, Order, trainers
from scalelaw.trial import Status, TrialSpec
from scalelaw.trials import Trials

OPTIONS = {"input_dim": 8, "classes": 4, "teacher_width": 8}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights._ended.cache_clear()


def spec(rate: float = 3e-3, seed: int = 0, steps: int = 40, parent: TrialSpec | None = None, **options: int) -> TrialSpec:
    hyperparameters = {"learning_rate": rate, "batch_size": 64, "schedule": "linear"}
    scale = {"width": 8, "depth": 1, "steps": steps}
    return TrialSpec("teacher_student", scale, hyperparameters, seed, "mlp", {**OPTIONS, **options}, parent)


PARENT = spec(1e-2)


def test_a_run_starts_where_its_parent_ended() -> None:
    parent = train(PARENT)
    child, fresh = train_batch([spec(parent=PARENT), spec()])
    assert child.initial_loss == pytest.approx(parent.loss, rel=1e-5)
    assert fresh.initial_loss != pytest.approx(parent.loss, rel=1e-2)
    assert child.loss is not None
    assert parent.loss is not None
    assert child.loss < parent.loss
    (there,) = stream_population([spec(parent=PARENT)], Asked())
    assert there.initial_loss == pytest.approx(parent.loss, rel=1e-4)
    assert there.loss == pytest.approx(child.loss, rel=1e-4)


def test_a_parent_ends_as_its_own_trial_does() -> None:
    """The tensors kept are those of the trial itself, to the bit: trained in the same call."""
    kept = weights.of(PARENT)
    recipe = Recipe.of(PARENT)
    assert {tensor.name: tensor.shape for tensor in recipe.structure.tensors} == {name: each.shape for name, each in kept.items()}
    data, net = recipe.loaded(), recipe.net
    logits = np.asarray(recipe.family.outputs(kept, data.test_inputs, net), dtype=np.float64)
    loss = (np.log(np.exp(logits).sum(axis=1)) - (logits * data.test_targets).sum(axis=1)).mean()
    assert train(PARENT).loss == pytest.approx(loss, rel=1e-5)


def test_layers_of_another_shape_start_afresh() -> None:
    other = spec(parent=PARENT, classes=3)
    assert train(other).status is Status.COMPLETE
    recipe, kept = Recipe.of(other), weights.of(PARENT)
    from scalelaw.train.program import starts

    started, _ = starts(recipe, [1.0], grouped=False, first=kept)
    drawn = recipe.structure.initial(recipe.seed)
    np.testing.assert_array_equal(started["weight1"], kept["weight1"])
    np.testing.assert_array_equal(started["weight2"], drawn["weight2"])
    assert started["bias2"].shape == (3,)
    assert not np.shares_memory(started["weight1"], kept["weight1"]), "training may overwrite what it is handed"


def test_a_parent_is_trained_once_and_a_damaged_file_is_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = weights.of(PARENT)
    path = weights.folder() / f"{PARENT.id}.npz"
    assert [each.name for each in weights.folder().glob("*.npz")] == [path.name]
    from scalelaw.train import loop

    trained: list[object] = []
    train_group = loop.train_group
    monkeypatch.setattr(loop, "train_group", lambda *given: trained.append(given) or train_group(*given))
    content = path.read_bytes()
    for damaged in (None, content[: len(content) // 2], b"", b"no arrays"):
        weights._ended.cache_clear()
        trained.clear()
        if damaged is not None:
            path.write_bytes(damaged)
        again = weights.of(PARENT)
        assert len(trained) == (damaged is not None)
        assert again.keys() == first.keys()
        for name, values in first.items():
            np.testing.assert_array_equal(again[name], values)
    assert path.read_bytes() == content


def test_a_parent_that_diverges_fails_its_children_with_one_line(tmp_path: Path) -> None:
    wild = spec(1e30)
    asked = [spec(1e-3, parent=wild), spec(1e-2, parent=wild), spec(1e-3)]
    trials = {trial.spec: trial for trial in trainers[BUILTIN].trained(asked, Order(tmp_path))}
    for one in asked[:2]:
        assert trials[one].status is Status.FAILED
        assert trials[one].error == "init_from: the run to start from diverges. Give it a lower learning rate."
    assert trials[asked[2]].status is Status.COMPLETE
    assert not list(weights.folder().glob("*.npz"))


def test_a_childs_cost_is_its_own_and_its_shape_holds_its_parents() -> None:
    child = spec(parent=PARENT)
    assert flops(child) == flops(spec())
    assert shape(child) != shape(spec())
    assert shape(child) == shape(spec(1e-4, seed=3, parent=PARENT))
    assert child.id != spec().id
    assert TrialSpec.from_dict(child.to_dict()) == child


@pytest.mark.parametrize(
    ("parent", "says"),
    [
        (replace(PARENT, hyperparameters={"learning_rte": 1e-3}), "init_from: "),
        (replace(PARENT, task="fashion_mnst"), "init_from: unknown task"),
        (replace(PARENT, model="cnn"), "init_from: "),
        (replace(PARENT, task_options={"classes": 1}), "init_from: task teacher_student"),
    ],
)
def test_a_parent_that_cannot_be_trained_is_one_line_before_anything_is_trained(parent: TrialSpec, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        flops(spec(parent=parent))
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


# In a study


def study(**parent: object) -> Study:
    grid = {"scale": {"width": [4, 8], "steps": 20}, "hyperparameters": {"learning_rate": [1e-3, 1e-2]}, "seeds": 2}
    return parse_study({"name": "s", "task": "teacher_student", **grid, "init_from": parent}, "s.toml")


def test_a_study_names_the_run_to_start_from() -> None:
    specs = study(
        task="fashion_mnist", scale={"steps": 5}, hyperparameters={"learning_rate": 0.1}, task_options={"pixels": 7}
    ).specs
    assert len(specs) == 8
    for one in specs:
        first = one.init_from
        assert first is not None
        assert first.scale == {"width": one.scale["width"], "steps": 5}
        assert (first.task, first.seed, dict(first.hyperparameters)) == ("fashion_mnist", 0, {"learning_rate": 0.1})
        assert first.task_options == {"pixels": 7}
    assert len({one.init_from for one in specs}) == 2, "one run for each scale"


def test_grids_may_start_from_different_runs_and_rows_tell_them_apart() -> None:
    file = {
        "name": "s",
        "task": "teacher_student",
        "scale": {"width": 4, "steps": 5},
        "hyperparameters": {"learning_rate": 1e-3},
        "grid": [{"init_from": {"task": "fashion_mnist", "hyperparameters": {"learning_rate": 1e-3}}}],
    }
    scratch, tuned = parse_study(file, "s.toml").specs
    assert scratch.init_from is None
    assert tuned.init_from is not None
    from scalelaw.trial import Trial

    table = Trials.from_trials([Trial(one, Status.COMPLETE, loss=1.0) for one in (scratch, tuned)], "s")
    assert table["init_from"].tolist() == ["", "fashion_mnist"]
    assert "init_from" not in table.hyper


@pytest.mark.parametrize(
    ("parent", "says"),
    [
        ({}, "the key 'init_from.task' is missing"),
        ({"tsk": "x"}, "unknown key 'tsk'. Did you mean 'task'?"),
        ({"task": "x", "scale": {"steps": [1, 2]}}, "init_from: steps has 2 values"),
        ({"task": "x", "scale": {"step": 1}}, "Did you mean 'steps'?"),
        ({"task": "x", "hyperparameters": {"learning_rate": "a"}}, "init_from.hyperparameters.learning_rate: learning_rate is a"),
        ({"task": "x", "seed": -1}, "init_from.seed"),
    ],
)
def test_a_start_that_is_wrong_is_one_line(parent: dict[str, object], says: str) -> None:
    with pytest.raises(StudyError) as caught:
        study(**parent)
    assert says in str(caught.value)
    assert str(caught.value).startswith("s.toml: ")
    assert "\n" not in str(caught.value)
