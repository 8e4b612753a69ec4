"""The layout for accelerators, forced on the processor: the same losses up to rounding, every trial once, and no room is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.train import Recipe, loop, population
from scalelaw.train.loop import Asked, Member, run_all
from scalelaw.train.population import blocks, network_bytes, stream_population
from scalelaw.trainers import BUILTIN, Order, trainers
from scalelaw.trial import Status, Trial, TrialSpec

SMALL = {"input_dim": 8, "classes": 4, "teacher_width": 8}
FIXED = {**SMALL, "samples": 256}


def spec(rate: float, seed: int = 0, width: int = 6, options: dict[str, int] = SMALL, **more: float | str) -> TrialSpec:
    hyperparameters = {"learning_rate": rate, "batch_size": 16, **more}
    scale = {"width": width, "depth": 2, "steps": 40}
    return TrialSpec("teacher_student", scale, hyperparameters, seed, task_options=options)


def agree(one: Trial, other: Trial) -> None:
    """Equal but for rounding."""
    assert (one.spec, one.status, one.diverged_step) == (other.spec, other.status, other.diverged_step)
    for name in ("loss", "initial_loss", "last_loss", "compute", "tokens", "parameters"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert (ours is None and theirs is None) or ours == pytest.approx(theirs, rel=1e-4), name
    assert (one.curve is None) == (other.curve is None)
    if one.curve is not None and other.curve is not None:
        assert one.curve.steps == other.curve.steps
        np.testing.assert_allclose(one.curve.losses, other.curve.losses, rtol=1e-4)
    assert set(one.metrics) == set(other.metrics)
    for name, value in one.metrics.items():
        assert value == pytest.approx(other.metrics[name], rel=2e-3), name


# Ragged: three rates of the first seed, one of the second, two of the third; one of them explodes at once.
RAGGED = [(1e-3, 0), (1e30, 0), (1e-2, 0), (3e-3, 7), (1e-3, 2), (2e-2, 2)]


@pytest.mark.parametrize(("options", "witnesses"), [(SMALL, False), (FIXED, True)], ids=["drawn", "rows, watched"])
def test_a_population_trains_what_one_core_trains(options: dict[str, int], witnesses: bool) -> None:
    asked = [spec(rate, seed, options=options, gradient_clip=1.0) for rate, seed in RAGGED[: 4 if witnesses else 6]]
    ours = Asked(witnesses=witnesses)
    together = {trial.id: trial for trial in stream_population(asked, ours)}
    assert len(together) == len(asked)
    for trial in run_all(asked, ours):
        agree(together[trial.id], trial)
        if trial.status is Status.COMPLETE:
            assert "clip_fraction" in trial.metrics
            assert ("activation_rms:output" in trial.metrics) == witnesses
    assert [trial.status for trial in together.values()].count(Status.DIVERGED) == 1


def test_a_population_follows_schedules_and_keeps_shapes_apart() -> None:
    asked = [spec(3e-3, 0, width=5, schedule="cosine"), spec(3e-3, 1, width=5, schedule="cosine"), spec(3e-3, width=4)]
    together = {trial.id: trial for trial in stream_population(asked, Asked())}
    for trial in run_all(asked):
        agree(together[trial.id], trial)


def members(seeds: list[int]) -> list[Member]:
    asked = [spec(1e-3 * (place + 1), seed) for place, seed in enumerate(seeds)]
    return [(one, Recipe.of(one)) for one in asked]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=25), st.integers(1, 30))
def test_blocks_hold_every_member_once_within_the_limit(seeds: list[int], most: int) -> None:
    cut = blocks(members(seeds), most)
    assert Counter(spec for block in cut for spec, _ in block) == Counter(spec for spec, _ in members(seeds))
    for block in cut:
        rows = Counter(recipe.seed for _, recipe in block)
        assert len(rows) * max(rows.values()) <= most, "copies that fill a row take memory too"
    if len(seeds) <= most and len(set(Counter(seeds).values())) == 1:
        assert len(cut) == 1


# Memory


def crowded(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """A device that holds `room` networks; returns the sizes of the calls that were tried."""
    tried: list[int] = []
    train = population.train_population

    def careful(seeds: list[list[Recipe]], *rest: Any) -> loop.Ran:
        tried.append(len(seeds) * max(map(len, seeds)))
        if tried[-1] > room:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9876543210 bytes.")
        return train(seeds, *rest)

    monkeypatch.setattr(population, "train_population", careful)
    return tried


def test_a_call_without_room_is_halved_and_the_rest_is_cut_as_small(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = crowded(monkeypatch, 2)
    asked = [spec(rate, seed) for seed in (0, 1) for rate in (1e-3, 2e-3, 4e-3, 8e-3)]
    done = list(stream_population(asked, Asked(), limit=6))
    assert {trial.spec for trial in done} == set(asked)
    assert all(trial.loss is not None for trial in done if trial.status is Status.COMPLETE)
    assert tried == [4, 2, 2, 2, 2]


def test_a_network_without_room_fails_with_one_line_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.jax, "default_backend", lambda: "gpu")
    crowded(monkeypatch, 0)
    first, second = list(trainers[BUILTIN].trained([spec(1e-3), spec(2e-3)], Order(tmp_path)))
    for trial in (first, second):
        assert trial.status is Status.FAILED
        assert (trial.error or "").startswith("batch_size 16: one network does not fit the device's memory (about ")
        assert "\n" not in (trial.error or "")


def test_another_error_is_not_taken_for_a_lack_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> loop.Ran:
        raise jax.errors.JaxRuntimeError("INTERNAL: the device is gone")

    monkeypatch.setattr(population, "train_population", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="the device is gone"):
        list(stream_population([spec(1e-3), spec(2e-3)], Asked()))


@pytest.mark.parametrize(("width", "batch"), [(64, 16), (8, 256)])
def test_the_memory_of_a_network_is_about_what_the_compiler_plans(width: int, batch: int) -> None:
    recipe = replace(Recipe.of(spec(1e-3, width=width)), batch_size=batch)

    def planned(networks: int) -> float:
        calls: list[Any] = []

        def keep(_recipe: Recipe, call: loop.Call, *_: Any) -> Any:
            x, y = next(iter(call.batches))
            calls.append(call.run.lower(call.given, call.carry, x, y, np.ones(len(x[0]), np.float32)).compile())
            return calls[0]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(population, "follow", keep)
            with pytest.raises(AttributeError):
                population.train_population([[recipe] * networks], loop.Checkpoint(None, ()))
        memory = calls[0].memory_analysis()
        if memory is None:
            pytest.skip("this backend does not tell what it plans")
        return (
            memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes - memory.alias_size_in_bytes
        )

    slope = (planned(9) - planned(1)) / 8
    assert network_bytes(recipe.structure, 2, batch) == pytest.approx(slope, rel=0.5), slope
