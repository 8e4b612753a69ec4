"""The built-in trainer: what it computes, what its statuses mean, and that a trial does not depend on its company."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.errors import InputError, SpecError
from scalelaw.schedule import SCHEDULES, shares
from scalelaw.tasks import tasks
from scalelaw.testing.models import check_model
from scalelaw.train import Recipe, train_batch
from scalelaw.train import train as train_one
from scalelaw.train.loop import chunks, judge
from scalelaw.train.models import Ends, Net, Structure, models
from scalelaw.train.optimisers import optimisers
from scalelaw.train.outcome import Probe, curve, points
from scalelaw.trial import Status, Trial, TrialSpec

SMALL = {"input_dim": 8, "classes": 4, "teacher_width": 8}


def spec(
    width: int, rate: float, *, steps: int = 60, seed: int = 0, task: str = "teacher_student", **options: float
) -> TrialSpec:
    chosen = SMALL if task == "teacher_student" else {"pixels": 7}
    return TrialSpec(task, {"width": width, "steps": steps}, {"learning_rate": rate}, seed, task_options={**chosen, **options})


def numbers(trial: Trial) -> Trial:
    """A trial without the one field that may differ between two runs of it."""
    return replace(trial, seconds=None)


# What is computed


def mlp(width: int, depth: int, inputs: int, outputs: int) -> tuple[Net, Structure]:
    net = Net({"width": width, "depth": depth}, {})
    return net, models["mlp"].structure(net, Ends(inputs, outputs))


def test_a_group_computes_what_its_networks_compute_alone() -> None:
    net, structure = mlp(5, 3, 6, 4)
    family = models["mlp"]
    nets = [structure.initial(seed) for seed in range(3)]
    x = np.random.default_rng(0).standard_normal((7, 6), dtype=np.float32)
    group = {name: np.stack([one[name] for one in nets], axis=family.group_axis(name)) for name in nets[0]}
    together = family.group_outputs(group, jnp.asarray(x), net)
    for place, one in enumerate(nets):
        hidden = x.astype(np.float64)
        for layer in range(1, 5):
            hidden = (np.maximum(hidden, 0) if layer > 1 else hidden) @ one[f"weight{layer}"] + one[f"bias{layer}"]
        np.testing.assert_allclose(together[place], hidden, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(family.outputs(one, jnp.asarray(x), net), hidden, rtol=1e-4, atol=1e-5)


def test_the_mlp_keeps_the_contract_of_models() -> None:
    check_model(models["mlp"], {"width": 6, "depth": 2}, Ends(5, 3))


def test_weights_start_as_he_et_al_say() -> None:
    start = mlp(400, 3, 300, 10)[1].initial(0)
    for layer, fan_in in enumerate((300, 400, 400, 400), start=1):
        assert float(start[f"weight{layer}"].std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)
        assert not start[f"bias{layer}"].any()


def test_the_sizes_follow_from_the_structure() -> None:
    trial = train_one(spec(16, 1e-3, steps=40))
    assert trial.parameters == (8 * 16 + 16) + 2 * (16 * 16 + 16) + (16 * 4 + 4)
    assert trial.embedding_parameters == 0
    assert trial.tokens == 40 * 128
    forward = 2 * 128 * (8 * 16 + 2 * 16 * 16 + 16 * 4)
    assert trial.compute == 40 * (3 * forward - 2 * 128 * 8 * 16)
    assert trial.compute_rule


def test_training_gets_near_the_teachers_floor() -> None:
    options = {**SMALL, "teacher_depth": 1, "sharpness": 1.0}
    asked = TrialSpec("teacher_student", {"width": 32, "depth": 1, "steps": 800}, {"learning_rate": 0.01}, task_options=options)
    data = tasks["teacher_student"].data(options)
    trial = train_one(asked)
    assert trial.status is Status.COMPLETE
    assert trial.loss is not None
    assert data.truths["floor"] < trial.loss < data.truths["floor"] + 0.25 * (data.chance_loss - data.truths["floor"])


# A trial's result is its own


@pytest.mark.parametrize("width", [5, 32])
def test_a_trial_is_the_same_alone_in_company_and_in_any_order(width: int) -> None:
    rates = [1e-3 * 1.7**place for place in range(models["mlp"].group({"width": width}) + 2)]
    asked = [spec(width, rate, steps=30, task="fashion_mnist") for rate in rates]
    together = [numbers(trial) for trial in train_batch(asked)]
    backwards = [numbers(trial) for trial in train_batch(asked[::-1])][::-1]
    alone = [numbers(train_batch([one])[0]) for one in asked]
    assert together == backwards == alone


def test_a_batch_may_mix_widths_seeds_and_repeats() -> None:
    asked = [spec(8, 1e-3), spec(16, 1e-3), spec(8, 1e-3, seed=1), spec(8, 1e-3)]
    trials = train_batch(asked)
    assert [trial.spec for trial in trials] == asked
    assert trials[0] == trials[3]
    assert trials[0].loss != trials[2].loss
    assert numbers(trials[2]) == numbers(train_one(asked[2]))


def test_a_neighbour_that_explodes_changes_nothing() -> None:
    calm = spec(8, 1e-3)
    together = train_batch([spec(8, 1e30), calm, spec(8, 1e4)])
    assert numbers(together[1]) == numbers(train_one(calm))
    assert together[0].status is Status.DIVERGED


# Schedules


def test_a_schedule_is_followed_step_by_step() -> None:
    """Against the plain loop: the group's rate at each step is the peak times the schedule's share."""
    asked = replace(
        spec(8, 3e-3, steps=70),
        hyperparameters={"learning_rate": 3e-3, "schedule": "cosine", "warmup": 0.1, "final_fraction": 0.1, "weight_decay": 0.3},
    )
    data = tasks["teacher_student"].data(SMALL)
    net, structure = mlp(8, 3, 8, 4)
    parameters: Any = structure.initial(0)
    slots: Any = {name: (np.zeros_like(values),) * 2 for name, values in parameters.items()}
    rates = {"weight_decay": 0.3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        outputs = models["mlp"].outputs(parameters, x, net)
        return (jax.nn.logsumexp(outputs, axis=-1) - (outputs * y).sum(axis=-1)).mean()

    seen: list[float] = []
    batches = [pair for x, y in data.batches(0, 128, chunks(70)) for pair in zip(x, y, strict=True)]
    for step, (share, (x, y)) in enumerate(zip(shares("cosine", 70, warmup=0.1, final_fraction=0.1), batches, strict=True), 1):
        value, gradients = jax.value_and_grad(loss)(parameters, x, y)
        given = rates | {"learning_rate": 3e-3 * share, "decay": 3e-3 * share * 0.3, "step": step}
        now = {name: jnp.float32(each) for name, each in given.items()}
        for name in parameters:
            slots[name], parameters[name] = optimisers["adamw"].update(now, gradients[name], slots[name], parameters[name])
        seen.append(float(value))
    trial = train_one(asked)
    path = curve(np.array(seen, dtype=np.float32))
    assert path is not None
    assert trial.curve is not None
    np.testing.assert_allclose(trial.curve.losses, path.losses, rtol=1e-4)
    last = np.mean([float(loss(parameters, data.test_inputs[i::8], data.test_targets[i::8])) for i in range(8)])
    assert trial.loss == pytest.approx(float(last), rel=1e-4)


def test_a_constant_schedule_by_name_is_the_default() -> None:
    named = replace(spec(8, 1e-3), hyperparameters={"learning_rate": 1e-3, "schedule": "constant"})
    assert train_one(named).loss == train_one(spec(8, 1e-3)).loss
    # Specs without a schedule keep the ids that stores know them by.
    assert TrialSpec("teacher_student", {"width": 8, "steps": 130}, {"learning_rate": 1e-3}).id == "6373b23554111245"


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    steps=st.integers(1, 3000),
    warmup=st.floats(0, 0.9),
    final=st.floats(0, 1),
)
def test_every_schedule_rises_to_one_and_never_rises_again(name: str, steps: int, warmup: float, final: float) -> None:
    u = shares(name, steps, warmup=warmup, final_fraction=final)
    w = round(warmup * steps)
    assert len(u) == steps
    assert ((u > 0) | (final == 0)).all()
    assert u.max() == pytest.approx(1)
    assert (np.diff(u[:w]) > 0).all()
    assert (np.diff(u[w:]) <= 1e-12).all()
    if w < steps:
        assert u[w] == 1
        assert u.min() >= min(final, u[0]) - 1e-12


def test_schedules_have_their_published_values() -> None:
    cosine = shares("cosine", 1000, final_fraction=0.1)
    assert cosine[500] == pytest.approx(0.55)
    assert cosine[250] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert shares("linear", 1000)[250] == pytest.approx(0.75)
    wsd = shares("wsd", 1000)
    assert (wsd[:800] == 1).all()
    assert wsd[900] == pytest.approx(0.5)
    root = shares("inverse_square_root", 1000, warmup=0.01)
    assert root[39] == pytest.approx(math.sqrt(10 / 40), abs=0.01)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"schedule": "cosin"}, "unknown schedule 'cosin'"),
        ({"schedule": 3}, "unknown schedule"),
        ({"warmup": 1.0}, "whole run is warmup"),
        ({"warmup": 0.1, "warmup_steps": 3}, "both warmup"),
        ({"schedule": "cosine", "final_fraction": 1.5}, "final_fraction"),
        ({"final_fraction": 0.1}, "constant rate"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_one_line(settings: dict[str, float | str], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        Recipe.of(TrialSpec("fashion_mnist", {"width": 8, "steps": 20}, {"learning_rate": 1e-3, **settings}))


def test_schedules_of_one_call_keep_to_themselves() -> None:
    plans = [{}, {"schedule": "cosine"}, {"schedule": "wsd", "warmup": 0.1}, {"schedule": "linear", "warmup_steps": 6}]
    asked = [replace(spec(8, 1e-3), hyperparameters={"learning_rate": 1e-3, **plan}) for plan in plans]
    together = train_batch(asked)
    assert [numbers(trial) for trial in together] == [numbers(train_one(one)) for one in asked]
    assert len({trial.loss for trial in together}) == 4


# What an ending means


@pytest.mark.parametrize("width", [8, 64, 160])
def test_both_ends_of_the_rates_are_told_apart(width: int) -> None:
    low, high = [1e-8, 1e-6, 1e-5], [1.0, 10.0, 1e3, 1e30]
    good = 3e-3
    asked = [spec(width, rate, steps=40, seed=seed, task="fashion_mnist") for seed in (0, 1) for rate in (*low, good, *high)]
    for trial in train_batch(asked):
        rate = float(trial.spec.hyperparameters["learning_rate"])
        if rate == good:
            assert (trial.status, trial.at_chance) == (Status.COMPLETE, False)
        elif rate < good:
            assert (trial.status, trial.at_chance) == (Status.COMPLETE, True)
            assert trial.loss is not None
            assert trial.loss <= 1.001 * (trial.initial_loss or 0)
        else:
            assert (trial.status, trial.at_chance, trial.loss) == (Status.DIVERGED, False, None)
            assert trial.diverged_step
            assert trial.last_loss is not None
            assert math.isfinite(trial.last_loss)


def test_a_network_that_died_at_chance_is_diverged_even_below_its_start() -> None:
    trials = train_batch([spec(16, rate, steps=60, seed=1, task="fashion_mnist") for rate in (0.4, 1.0, 3.0)])
    below = [trial for trial in trials if (trial.last_loss or math.inf) < (trial.initial_loss or 0)]
    assert below, "the case this test is about did not come up"
    assert all(trial.status is Status.DIVERGED for trial in trials)


CHANCE = math.log(10)
ALIVE = Probe(2.8, 1.0)


@pytest.mark.parametrize(
    ("losses", "end", "status", "at_chance"),
    [
        ([2.8, 2.0, 1.0, 0.9], Probe(0.9, 2.0), Status.COMPLETE, False),
        ([2.8, 2.79, 2.78, 2.77], Probe(2.77, 1.0), Status.COMPLETE, True),
        ([2.8, 2.6, 2.4, 2.31], Probe(2.30, 0.9), Status.COMPLETE, True),
        ([2.8, 2.81, 2.79, 2.8], Probe(2.8002, 1.0), Status.COMPLETE, True),
        ([2.8, 60.0, 9.0, 2.4], Probe(2.31, 0.5), Status.DIVERGED, False),
        ([2.8, 1.0, 1.0, 2.4], Probe(2.31, 0.5), Status.DIVERGED, False),
        ([2.8, 2.31, 2.31, 2.31], Probe(2.31, 1e-7), Status.DIVERGED, False),
        ([2.8, 60.0, 9.0, 3.1], Probe(3.1, 1.0), Status.DIVERGED, False),
        ([2.8, 60.0, 2.0, 1.5], Probe(1.5, 1.0), Status.COMPLETE, False),
    ],
)
def test_judgement(losses: list[float], end: Probe, status: Status, at_chance: bool) -> None:
    told = judge(np.array(losses, dtype=np.float32), ALIVE, end, CHANCE)
    assert (told["status"], told.get("at_chance", False)) == (status, at_chance)
    if status is Status.DIVERGED:
        assert (told["diverged_step"], told["last_loss"]) == (len(losses), end.loss)


def test_a_loss_that_is_not_finite_keeps_its_step_and_the_loss_before() -> None:
    told = judge(np.array([2.5, 3.5, np.inf, 1.0], dtype=np.float32), ALIVE, Probe(1.0, 1.0), CHANCE)
    assert told == {"status": Status.DIVERGED, "diverged_step": 3, "last_loss": 3.5}
    trial = train_one(spec(8, 1e30))
    assert trial.status is Status.DIVERGED
    assert trial.diverged_step == 2
    assert trial.curve is not None
    assert trial.curve.losses == (trial.last_loss,)


# The curve


@settings(deadline=None)
@given(steps=st.integers(1, 20_000))
def test_the_curve_has_about_a_hundred_points_and_keeps_the_mean(steps: int) -> None:
    ends = points(steps)
    assert ends[0] == 1
    assert ends[-1] == steps
    assert len(ends) <= 100
    assert len(ends) >= 0.4 * min(steps, 100)
    losses = np.random.default_rng(steps).random(steps).astype(np.float32)
    path = curve(losses)
    assert path is not None
    weights = np.diff(path.steps, prepend=0)
    assert np.dot(weights, path.losses) / steps == pytest.approx(float(losses.mean(dtype=np.float64)))


@given(steps=st.integers(1, 5000))
def test_chunks_add_up_and_have_at_most_two_lengths(steps: int) -> None:
    lengths = chunks(steps)
    assert sum(lengths) == steps
    assert min(lengths) >= 1
    assert len(set(lengths)) <= 2


# What is asked for


@pytest.mark.parametrize(
    ("scale", "hyperparameters", "says"),
    [
        ({"width": 8, "steps": 10, "heigth": 3}, {"learning_rate": 1e-3}, "unknown scale 'heigth'"),
        ({"widht": 8, "steps": 10}, {"learning_rate": 1e-3}, "'width'"),
        ({"width": 8}, {"learning_rate": 1e-3}, "steps is missing"),
        ({"width": 8, "steps": 10}, {}, "learning_rate is missing"),
        ({"width": 8, "steps": 10}, {"learning_rte": 1e-3}, "'learning_rate'"),
        ({"width": -8, "steps": 10}, {"learning_rate": 1e-3}, "width = -8"),
        ({"width": 8.5, "steps": 10}, {"learning_rate": 1e-3}, "whole number"),
        ({"width": 8, "steps": 0}, {"learning_rate": 1e-3}, "steps = 0"),
        ({"width": 8, "steps": 10}, {"learning_rate": -1e-3}, "learning_rate = -0.001"),
        ({"width": 8, "steps": 10}, {"learning_rate": 0}, "trains nothing"),
        ({"width": 8, "steps": 10}, {"learning_rate": math.nan}, "finite"),
        ({"width": 8, "steps": 10}, {"learning_rate": "fast"}, "'fast'"),
        ({"width": 8, "steps": 10}, {"learning_rate": 1e-3, "beta2": 1.0}, "less than 1"),
        ({"width": 8, "steps": 10}, {"learning_rate": 1e-3, "batch_size": 0}, "batch_size = 0"),
    ],
)
def test_a_spec_that_cannot_be_trained_is_one_line(
    scale: dict[str, float], hyperparameters: dict[str, float | str], says: str
) -> None:
    with pytest.raises(SpecError) as caught:
        Recipe.of(TrialSpec("fashion_mnist", scale, hyperparameters))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_models_tasks_and_seeds_are_refused_before_anything_is_trained() -> None:
    good = spec(8, 1e-3)
    for bad in (replace(good, model="cnn"), replace(good, task="fashion_mnst"), replace(good, seed=-1)):
        with pytest.raises(InputError):
            train_batch([good, bad])


def test_every_rate_takes_part() -> None:
    plain = TrialSpec("teacher_student", {"width": 8, "steps": 60}, {"learning_rate": 3e-3}, task_options=SMALL)
    others = [("learning_rate", 2e-3), ("beta1", 0.5), ("beta2", 0.9), ("epsilon", 1e-2), ("weight_decay", 1.0)]
    changed = [replace(plain, hyperparameters={"learning_rate": 3e-3, name: value}) for name, value in others]
    losses = {trial.loss for trial in train_batch([plain, *changed])}
    assert len(losses) == 6
    defaults = {"learning_rate": 3e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0, "batch_size": 128}
    assert train_one(replace(plain, hyperparameters=defaults)).loss == train_one(plain).loss
