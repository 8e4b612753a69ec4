"""Optimisers against their published algorithms in float64, and what clipping, precision and dropout do to a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scalelaw.errors import SpecError
from scalelaw.testing.optimisers import check_optimiser
from scalelaw.train import Recipe, train_batch
from scalelaw.train import train as train_one
from scalelaw.train.models import Kind, dropped
from scalelaw.train.optimisers import Family, optimisers
from scalelaw.train.optimisers.muon import orthogonal
from scalelaw.trial import Status, Trial, TrialSpec

SMALL = {"input_dim": 8, "classes": 4, "teacher_width": 8}
LR, WD, B1, B2, EPS, MU = 0.01, 0.1, 0.8, 0.97, 1e-3, 0.7

Step = Callable[[int, np.ndarray, np.ndarray, list[np.ndarray]], np.ndarray]


def adam(t: int, p: np.ndarray, g: np.ndarray, s: list[np.ndarray], *, coupled: bool = False) -> np.ndarray:
    g = g + WD * p if coupled else g
    s[0], s[1] = B1 * s[0] + (1 - B1) * g, B2 * s[1] + (1 - B2) * g**2
    moved = p if coupled else p - LR * WD * p
    return moved - LR * (s[0] / (1 - B1**t)) / (np.sqrt(s[1] / (1 - B2**t)) + EPS)


def sgd(t: int, p: np.ndarray, g: np.ndarray, s: list[np.ndarray]) -> np.ndarray:
    del t
    s[0] = MU * s[0] + g + WD * p
    return p - LR * s[0]


def lion(t: int, p: np.ndarray, g: np.ndarray, s: list[np.ndarray]) -> np.ndarray:
    del t
    moved = p - LR * (np.sign(B1 * s[0] + (1 - B1) * g) + WD * p)
    s[0] = B2 * s[0] + (1 - B2) * g
    return moved


def muon(t: int, p: np.ndarray, g: np.ndarray, s: list[np.ndarray]) -> np.ndarray:
    del t
    s[0] = MU * s[0] + g
    x = g + MU * s[0]
    x = x / np.linalg.norm(x)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
    return p - LR * WD * p - LR * 0.2 * math.sqrt(max(p.shape)) * x


@pytest.mark.parametrize(
    ("name", "step"),
    [("adamw", adam), ("adam", lambda *a: adam(*a, coupled=True)), ("sgd", sgd), ("lion", lion), ("muon", muon)],
)
def test_an_optimiser_follows_its_published_algorithm(name: str, step: Step) -> None:
    optimiser = optimisers[name]
    generator = np.random.default_rng(0)
    p = generator.standard_normal((3, 5))
    given = {"learning_rate": LR, "weight_decay": WD, "decay": LR * WD, "beta1": B1, "beta2": B2, "epsilon": EPS, "momentum": MU}
    ours, slots = jnp.asarray(p, jnp.float32), (jnp.zeros((3, 5)),) * optimiser.slots
    state = [np.zeros((3, 5)) for _ in range(2)]
    for t in range(1, 6):
        g = generator.standard_normal((3, 5))
        now = {key: jnp.float32(value) for key, value in {**given, "step": t}.items()}
        slots, ours = optimiser.update(now, jnp.asarray(g, jnp.float32), slots, ours)
        p = step(t, p, g, state)
    np.testing.assert_allclose(ours, p, rtol=3e-4, atol=1e-6)


@pytest.mark.parametrize("name", optimisers.names())
def test_an_optimiser_keeps_its_contract(name: str) -> None:
    assert optimisers[name].name == name
    check_optimiser(optimisers[name])


def test_muon_hands_all_but_hidden_matrices_to_adamw() -> None:
    assert optimisers["muon"].of(Kind.HIDDEN).family is Family.SPECTRAL
    assert optimisers["muon"].of(Kind.OUTPUT).family is Family.ENTRYWISE


def test_adam_without_momentum_is_finite_from_the_first_step() -> None:
    now = {"learning_rate": 0.1, "decay": 0.0, "beta1": 0.0, "beta2": 0.0, "epsilon": 1e-8, "step": 1.0}
    arrays = {name: jnp.float32(value) for name, value in now.items()}
    _, moved = optimisers["adamw"].update(arrays, jnp.float32(2.0), (jnp.float32(0), jnp.float32(0)), jnp.float32(1.0))
    assert float(moved) == pytest.approx(0.9)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_orthogonal_keeps_directions_and_evens_sizes(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(1).standard_normal(shape)
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    found = np.asarray(orthogonal(jnp.asarray(matrix, jnp.float32)))
    inner = u.T @ found @ v.T
    assert np.abs(inner - np.diag(np.diag(inner))).max() < 1e-3
    assert np.diag(inner).min() > 0.3
    assert np.diag(inner).max() < 1.3


def run(**settings: float | str) -> TrialSpec:
    scale = {"width": 8, "steps": 60}
    return TrialSpec("teacher_student", scale, {"learning_rate": 3e-3, **settings}, task_options=SMALL)


def same(trial: Trial) -> Trial:
    return replace(trial, seconds=None)


@pytest.mark.parametrize("settings", [{"optimiser": "sgd", "learning_rate": 0.05}, {"optimiser": "lion"}, {"optimiser": "muon"}])
@pytest.mark.parametrize(
    "more", [{}, {"gradient_clip": 0.5}, {"dropout": 0.2}, {"precision": "bfloat16"}, {"precision": "float16"}]
)
def test_every_setting_trains_and_a_trial_is_its_own(settings: dict[str, float | str], more: dict[str, float | str]) -> None:
    rate = float(settings.get("learning_rate", 3e-3))
    asked = [run(**{**settings, **more, "learning_rate": rate * factor}) for factor in (1.0, 0.5, 2.0)]
    together = train_batch(asked)
    for trial in together:
        assert trial.status is Status.COMPLETE, trial
        assert trial.loss is not None
        assert trial.initial_loss is not None
        assert trial.loss < trial.initial_loss
    assert same(train_one(asked[1])) == same(together[1])


def test_the_initial_scale_multiplies_the_start() -> None:
    """ReLU networks of zero bias are homogeneous: with 4 layers the outputs at the start are scale^4 times as large."""
    base, tiny, again = train_batch([run(), run(init_scale=1e-3), run(init_scale=1.0)])
    assert tiny.initial_loss == pytest.approx(math.log(4), abs=1e-6)
    assert base.initial_loss != pytest.approx(math.log(4), abs=1e-2)
    assert again.initial_loss == base.initial_loss


def test_a_clip_above_every_gradient_changes_nothing_and_one_below_all_clips_all() -> None:
    free, loose, tight = (train_one(run(**more)) for more in ({}, {"gradient_clip": 1e6}, {"gradient_clip": 1e-6}))
    assert free.loss == pytest.approx(loose.loss, rel=1e-6)
    assert loose.metrics["clip_fraction"] == 0
    assert tight.metrics["clip_fraction"] == 1
    slow = train_one(run(optimiser="sgd", gradient_clip=1e-6, learning_rate=0.01))
    assert slow.loss == pytest.approx(slow.initial_loss or math.nan, rel=1e-4)


def test_low_precision_ends_near_full_precision() -> None:
    full, brain, half = (train_one(run(precision=name)).loss for name in ("float32", "bfloat16", "float16"))
    assert full is not None
    assert brain == pytest.approx(full, rel=0.03)
    assert brain != full
    assert half == pytest.approx(full, rel=0.01)
    assert half != full


def test_float16_leaves_out_steps_that_overflow_and_goes_on() -> None:
    """Gradients of a loss times 2^15 overflow where the outputs start large: the scale comes down, training goes on."""
    trial = train_one(run(precision="float16", init_scale=4.0))
    assert trial.status is Status.COMPLETE
    assert trial.loss is not None
    assert trial.initial_loss is not None
    assert trial.loss < trial.initial_loss


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    values = jnp.ones((200, 300), jnp.float32)
    found = np.asarray(dropped(values, (0.3, jax.random.key(0)), 1))
    assert (found == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert found.mean() == pytest.approx(1.0, abs=0.02)
    group = np.asarray(dropped(jnp.stack([values, values]), (jnp.array([0.3, 0.0]), jax.random.key(0)), 1))
    np.testing.assert_array_equal(group[0], found)
    np.testing.assert_array_equal(group[1], np.ones((200, 300)))


def test_witnesses_change_no_result_and_tell_what_goes_on() -> None:
    plain, seen = train_one(run()), train_one(run(), witnesses=True)
    assert plain.loss == seen.loss
    assert not plain.metrics
    assert 1e-4 < seen.metrics["update_ratio:weight2"] < 0.3
    assert seen.metrics["activation_rms:output"] > 0
    blunt = train_one(run(epsilon=1.0), witnesses=True)
    assert blunt.metrics["denominator_ratio:weight2"] < 1 < seen.metrics["denominator_ratio:weight2"]
    together = train_batch([run(), run(learning_rate=1e-3)], witnesses=True)
    assert together[0].metrics.keys() == seen.metrics.keys()
    for name, value in together[0].metrics.items():
        assert value == pytest.approx(seen.metrics[name], rel=1e-4), name
    assert together[1].metrics["update_ratio:weight2"] < together[0].metrics["update_ratio:weight2"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"optimiser": "adamm"}, "Did you mean 'adam'?"),
        ({"optimiser": "sgd", "beta1": 0.9}, "unknown hyperparameter 'beta1'"),
        ({"optimiser": "sgd", "momentum": 1.0}, "less than 1"),
        ({"precision": "float8"}, "unknown precision"),
        ({"precision": "float16", "learning_rate": 1e5}, "overflows float16"),
        ({"dropout": 1.0}, "less than 1"),
        ({"gradient_clip": 0}, "trains nothing"),
        ({"parametrisation": "mup"}, "Known: standard"),
        ({"base_width": 0}, "whole number of 1 or more"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(settings: dict[str, float | str], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        Recipe.of(run(**settings))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    small = TrialSpec("teacher_student", {"width": 8, "steps": 5}, {"learning_rate": 1e-3}, task_options={**SMALL, "samples": 64})
    with pytest.raises(SpecError, match="larger than the data"):
        train_one(small)
