"""The table of trials: immutable, honest about what is missing, the same through every door."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.errors import DataError
from scalelaw.trial import Curve, Origin, Status, Trial, TrialSpec
from scalelaw.trials import Trials

NAMES = st.sampled_from(["width", "depth", "steps", "tokens"])
RATES = st.sampled_from(["learning_rate", "batch_size", "weight_decay"])
FINITE = st.floats(1e-9, 1e9)
VALUES = st.one_of(st.integers(1, 10**9), FINITE)


@st.composite
def specs(draw: st.DrawFn) -> TrialSpec:
    return TrialSpec(
        draw(st.sampled_from(["fashion_mnist", "teacher_student"])),
        draw(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)),
        draw(st.dictionaries(RATES, VALUES, max_size=3)),
        draw(st.integers(0, 9)),
        task_options=draw(st.dictionaries(st.sampled_from(["pixels", "images"]), st.one_of(st.integers(1, 28), st.just("full")))),
    )


@st.composite
def finished(draw: st.DrawFn) -> Trial:
    status = draw(st.sampled_from(Status))
    loss = draw(st.one_of(st.none(), FINITE)) if status is Status.COMPLETE else None
    count = draw(st.integers(0, 4))
    curve = Curve(tuple(range(count)), tuple(draw(FINITE) for _ in range(count))) if draw(st.booleans()) else None
    return Trial(
        draw(specs()),
        status,
        loss,
        parameters=draw(st.one_of(st.none(), st.integers(1, 10**12))),
        curve=curve,
        metrics=draw(st.dictionaries(st.just("accuracy"), st.floats(0, 1))),
        origin=draw(st.sampled_from(Origin)),
        at_chance=draw(st.booleans()),
    )


@given(specs())
def test_a_spec_survives_its_dictionary_with_its_id(spec: TrialSpec) -> None:
    again = TrialSpec.from_dict(spec.to_dict())
    assert again == spec
    assert again.id == spec.id
    assert hash(again) == hash(spec)


@given(specs())
def test_a_spec_is_known_by_its_content_alone(spec: TrialSpec) -> None:
    turned = dict(reversed(spec.scale.items()))
    assert TrialSpec(spec.task, turned, spec.hyperparameters, spec.seed, spec.model, spec.task_options).id == spec.id
    floats = {key: float(value) if isinstance(value, int) else value for key, value in spec.scale.items()}
    assert TrialSpec(spec.task, floats, spec.hyperparameters, spec.seed, spec.model, spec.task_options).id == spec.id
    assert TrialSpec(spec.task, spec.scale, spec.hyperparameters, spec.seed + 1, spec.model, spec.task_options).id != spec.id


def test_a_specs_id_never_changes() -> None:
    # Stores on people's disks are keyed by it.
    spec = TrialSpec("fashion_mnist", {"width": 64, "steps": 1000}, {"learning_rate": 1e-3}, 0)
    assert spec.id == TrialSpec.from_dict(spec.to_dict()).id == "92fb1b9e9232022e"


def test_a_metric_does_not_take_the_place_of_what_a_trial_is() -> None:
    own = {"status": 3.0, "loss": 9.0, "width": 1.0, "learning_rate": 7.0, "id": 5.0, "accuracy": 0.5}
    table = Trials.from_trials([Trial(TrialSpec("t", {"width": 64}, {"learning_rate": 0.1}), Status.COMPLETE, 2.0, metrics=own)])
    assert len(table.finished) == 1
    assert [table[name][0] for name in ("status", "loss", "width", "learning_rate", "accuracy")] == [
        "COMPLETE",
        2.0,
        64,
        0.1,
        0.5,
    ]


def test_a_spec_cannot_be_changed() -> None:
    scale = {"width": 64}
    spec = TrialSpec("fashion_mnist", scale, {})
    scale["width"] = 128
    assert spec.scale["width"] == 64
    with pytest.raises(TypeError):
        spec.scale["width"] = 1  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        spec.seed = 1  # type: ignore[misc]


@given(finished())
def test_a_trial_survives_its_dictionary(trial: Trial) -> None:
    assert Trial.from_dict(trial.to_dict()) == trial


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_trial_has_a_finite_loss_or_none(loss: float) -> None:
    with pytest.raises(ValueError, match="DIVERGED"):
        Trial(TrialSpec("t", {"width": 1}, {}), Status.COMPLETE, loss)


@settings(deadline=None)
@given(st.lists(finished(), max_size=8))
def test_a_table_holds_every_trial_and_invents_nothing(trials: list[Trial]) -> None:
    table = Trials.from_trials(trials)
    assert len(table) == len(trials)
    for row, trial in zip(table.rows(), trials, strict=True):
        assert row["id"] == trial.id
        assert row["status"] == trial.status.name
        assert row["loss"] == trial.loss
        for name, value in {**trial.spec.scale, **trial.spec.hyperparameters}.items():
            assert row[name] == value
        absent = {"width", "depth", "steps", "tokens"} - set(trial.spec.scale)
        assert all(row.get(name) is None for name in absent)
    if trials:
        assert np.isfinite(table.finished["loss"]).all()
        assert len(table.finished) == sum(
            each.status is Status.COMPLETE and each.loss is not None and not each.at_chance for each in trials
        )
        assert len(table.diverged) == sum(each.status is Status.DIVERGED for each in trials)


@settings(deadline=None)
@given(st.lists(finished(), min_size=1, max_size=8))
def test_a_table_survives_a_dataframe(trials: list[Trial]) -> None:
    table = Trials.from_trials(trials)
    again = Trials.from_frame(table.to_frame())
    known = [name for name in table.columns if name in again.columns]
    assert again.ignored == ()
    assert [{key: row[key] for key in known} for row in again.rows()] == [
        {key: row[key] for key in known} for row in table.rows()
    ]


def test_a_loss_that_is_not_there_is_never_zero_and_never_dropped() -> None:
    table = Trials.from_columns({"width": [1, 2, 3, 4], "loss": [1.5, None, math.nan, math.inf]})
    assert len(table) == 4
    assert [row["loss"] for row in table.rows()] == [1.5, None, None, None]
    assert list(table["status"]) == ["COMPLETE", "FAILED", "DIVERGED", "DIVERGED"]
    assert len(table.finished) == 1


def test_a_column_of_nothing_is_a_column_of_missing_numbers() -> None:
    table = Trials.from_columns({"width": [4, 8], "loss": [None, None]})
    assert np.isnan(table.numbers("loss")).all()
    assert len(table.finished) == 0


def test_a_diverged_row_with_a_finite_loss_is_not_finished() -> None:
    table = Trials.from_columns({"width": [1, 2], "loss": [1.0, 9.0], "status": ["COMPLETE", "DIVERGED"]})
    assert table.finished["width"].tolist() == [1.0]


def test_a_run_at_chance_is_not_finished_and_not_diverged() -> None:
    table = Trials.from_columns({"width": [1, 2], "loss": [1.0, 6.9], "at_chance": [0, 1]})
    assert table.finished["width"].tolist() == [1.0]
    assert len(table.diverged) == 0


def test_nothing_in_a_table_can_be_changed() -> None:
    own = np.array([4.0, 8.0])
    table = Trials.from_columns({"width": own, "loss": [2.0, 1.0]})
    digest = table.digest
    with pytest.raises(ValueError, match="read-only"):
        table["width"][0] = 1
    with pytest.raises(TypeError):
        table.columns["width"] = own  # type: ignore[index]
    own[0] = 99.0
    assert table["width"][0] == 4.0
    direct = Trials({"width": own})
    own[0] = -1.0
    assert direct["width"][0] == 99.0
    changed = table.with_column("width", [1, 2])
    assert table.digest == digest != changed.digest


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="differ in length"):
        Trials.from_columns({"width": [1, 2], "loss": [1.0]})


def test_an_unknown_column_is_refused_with_the_near_one() -> None:
    table = Trials.from_columns({"width": [1.0], "loss": [1.0]})
    with pytest.raises(DataError, match="Did you mean 'width'"):
        _ = table["widht"]
    with pytest.raises(DataError, match="holds text"):
        Trials.from_columns({"width": ["big"], "loss": [1.0]}).numbers("width")


def test_columns_are_matched_and_the_rest_is_listed() -> None:
    frame = polars.DataFrame({"hidden_size": [4, 8], "lr": [1e-3, 1e-3], "final_loss": [2.0, None], "colour": ["a", "b"]})
    table = Trials.from_frame(frame)
    assert table.scales == ("width",)
    assert table.hyperparameters == ("learning_rate",)
    assert table.ignored == ("colour",)
    assert table.varying(("width", "learning_rate")) == ("width",)


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["a", "b"])), max_size=20))
def test_groups_part_the_rows_in_order(rows: list[tuple[int, str]]) -> None:
    table = Trials.from_columns({"width": [row[0] for row in rows], "recipe": [row[1] for row in rows]})
    groups = list(table.groups(("width", "recipe")))
    assert [key for key, _ in groups] == sorted(set(rows))
    assert sum(len(group) for _, group in groups) == len(rows)
    for (width, recipe), group in groups:
        assert set(zip(group["width"], group["recipe"], strict=True)) == {(width, recipe)}


def test_runs_whose_scale_is_missing_are_one_group() -> None:
    table = Trials.from_columns({"width": [4, math.nan, math.nan], "loss": [1.0, 2.0, 3.0]})
    assert [len(group) for _, group in table.groups(("width",))] == [1, 2]


@given(st.lists(st.floats(), max_size=10), st.lists(st.floats(), max_size=10))
def test_digests_tell_contents_apart(one: list[float], other: list[float]) -> None:
    same = len(one) == len(other) and np.array_equal(np.array(one), np.array(other), equal_nan=True)
    digests = [Trials.from_columns({"width": values}).digest for values in (one, other)]
    signs = [np.signbit(values).tolist() for values in (one, other)]
    if same and signs[0] == signs[1]:
        assert digests[0] == digests[1]
    if not same:
        assert digests[0] != digests[1]


def test_digests_do_not_confuse_texts() -> None:
    one = Trials.from_columns({"recipe": ["a", "bc"]})
    other = Trials.from_columns({"recipe": ["ab", "c"]})
    assert one.digest != other.digest


def test_a_filter_and_a_mask_select_the_same_rows() -> None:
    table = Trials.from_columns({"width": [1, 2, 3], "loss": [3.0, 2.0, 1.0]})
    assert table.where("width >= 2").digest == table.where(np.array([False, True, True])).digest


def test_a_scale_that_is_counted_as_a_hyperparameter_is_tuned_not_run_over() -> None:
    table = Trials.from_columns({"parameters": [1e6, 1e7], "depth": [2.0, 4.0], "loss": [3.0, 2.5]}).counting(["depth"])
    assert table.scales == ("parameters",)
    assert table.hyperparameters == ("depth",)
    assert table.finished.hyperparameters == ("depth",)
    for name in ("loss", "status", "width"):
        with pytest.raises(DataError):
            table.counting([name])
