"""What is known beforehand of exponents: where it applies, that it fills what runs leave open, and that runs overrule it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalelaw._exponents import PUBLISHED, known_exponents
from scalelaw.optimum import optimum
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.trials import Trials

TWO = {"over": ("parameters", "tokens"), "smallest": (1e7, 1e9)}
# Two standard deviations from what is published, in all four exponents.
AGAINST = {"learning_rate": {"exponents": (0.4, -0.7)}, "batch_size": {"exponents": (0.5, 0.0)}}


def test_named_pairs_have_their_prior_whatever_the_column_is_called() -> None:
    mean, sd = known_exponents(("lr", "batch_size"), ("n_params", "tokens"), 0.5)
    pairs = [
        [("learning_rate", "parameters"), ("learning_rate", "tokens")],
        [("batch_size", "parameters"), ("batch_size", "tokens")],
    ]
    assert mean.tolist() == [[PUBLISHED[each][0] for each in row] for row in pairs]
    assert sd.tolist() == [[PUBLISHED[each][1] for each in row] for row in pairs]


def test_other_pairs_lean_nowhere_and_width_counts_twice() -> None:
    mean, sd = known_exponents(("learning_rate", "weight_decay"), ("width", "tokens"), 0.5)
    assert mean.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert sd.tolist() == [[1.0, PUBLISHED["learning_rate", "tokens"][1]], [1.0, 0.5]]


def test_a_scale_that_did_not_vary_moves_as_published() -> None:
    """One number of tokens says nothing of the exponent in tokens: the answer is the prior's, with the prior's width."""
    trials, _ = Surface(axes(2), **TWO, sizes=5, horizons=1, tau=0.02).draw(np.random.default_rng(0))
    found = optimum(trials, over=("parameters", "tokens"), hyper=("learning_rate", "batch_size"))
    told = found["batch_size"].exponent("tokens")
    assert told.value == pytest.approx(PUBLISHED["batch_size", "tokens"][0], abs=1e-6)
    assert told.stderr == pytest.approx(PUBLISHED["batch_size", "tokens"][1], rel=1e-6)


def test_runs_overrule_what_is_published() -> None:
    trials, _ = Surface(axes(2, **AGAINST), **TWO, sizes=6, horizons=4, ratio=4.0, tau=0.02).draw(np.random.default_rng(1))
    found = optimum(trials, over=("parameters", "tokens"), hyper=("learning_rate", "batch_size"))
    for name, expected in AGAINST.items():
        for column, truth in zip(("parameters", "tokens"), expected["exponents"], strict=True):
            told = found[name].exponent(column)
            assert told.low <= truth <= told.high
            assert told.value == pytest.approx(truth, abs=0.05)


def test_units_do_not_matter() -> None:
    trials, _ = Surface(axes(2), **TWO, sizes=3, horizons=2).draw(np.random.default_rng(2))
    columns = {name: trials.numbers(name) for name in ("parameters", "tokens", "learning_rate", "batch_size", "loss")}
    scaled = {**columns, "tokens": columns["tokens"] / 1e9, "batch_size": columns["batch_size"] * 2048}
    one, other = (
        optimum(Trials.from_columns(each), over=("parameters", "tokens"), hyper=("learning_rate", "batch_size"))
        for each in (columns, scaled)
    )
    at = {"parameters": 1e9, "tokens": 1e11}
    here, there = one["batch_size"].at(at), other["batch_size"].at({**at, "tokens": 1e2})
    assert math.log(there.value / here.value) == pytest.approx(math.log(2048), abs=1e-6)
