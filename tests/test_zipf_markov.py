"""A language of known entropy: the chain is stationary, its text has its entropy rate, and the floor is where it should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.errors import SpecError
from scalelaw.tasks import TaskData, tasks
from scalelaw.tasks.zipf_markov import chain

ZIPF = tasks["zipf_markov"]


def stretches(data: TaskData) -> np.ndarray:
    return np.concatenate([data.test_inputs, data.test_targets[:, -1:]], axis=1)


@pytest.mark.parametrize("order", [1, 2])
def test_the_chain_is_stationary_with_zipfs_frequencies(order: int) -> None:
    language = chain(24, 1.2, order, 2.0, 3)
    frequencies = np.arange(1, 25) ** -1.2
    np.testing.assert_allclose(language.frequencies, frequencies / frequencies.sum(), rtol=1e-12)
    np.testing.assert_allclose(language.pairs.sum(axis=0), language.frequencies, rtol=1e-8)
    np.testing.assert_allclose(language.pairs.sum(axis=1), language.frequencies, rtol=1e-8)
    if order == 2:
        # Two tokens in a row, moved on by one token, are distributed as before.
        triples = language.pairs.T[..., None] * language.given.reshape(24, 24, 24)
        np.testing.assert_allclose(triples.sum(axis=1), language.pairs, rtol=1e-8)
    else:
        np.testing.assert_allclose(language.frequencies @ language.given, language.frequencies, rtol=1e-8)


@pytest.mark.parametrize("order", [1, 2])
def test_drawn_text_has_the_frequencies_and_the_entropy_rate(order: int) -> None:
    language = chain(24, 1.0, order, 2.0, 0)
    text = language.draw(np.random.default_rng(5), 4000, 100)
    for place in (0, 1, 50, 100):
        counts = np.bincount(text[:, place], minlength=24)
        expected = 4000 * language.frequencies
        # Chi-square with 23 degrees of freedom: above 60 once in 30,000 draws.
        assert (np.square(counts - expected) / expected).sum() < 60
    # The entropy rate by counting what follows each context, without the true probabilities. Counting makes it low by about
    # (cells - contexts) / (2 tokens), Miller's correction.
    context, following = text[:, order - 1 : -1].ravel().astype(int), text[:, order:].ravel()
    if order == 2:
        context = context * 24 + text[:, :-2].ravel()
    counts = np.zeros((24**order, 24))
    np.add.at(counts, (context, following), 1)
    seen = counts[counts.sum(axis=1) > 0]
    given = seen / seen.sum(axis=1, keepdims=True)
    counted = -(seen * np.log(np.maximum(given, 1e-300))).sum() / seen.sum() + ((seen > 0).sum() - len(seen)) / (2 * seen.sum())
    assert counted == pytest.approx(language.entropy_rate, rel=0.005)


@settings(max_examples=15, deadline=None)
@given(
    size=st.integers(2, 30),
    exponent=st.floats(0, 2),
    order=st.sampled_from([1, 2]),
    strength=st.floats(0, 3),
    context=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_every_language_is_consistent(size: int, exponent: float, order: int, strength: float, context: int, seed: int) -> None:
    options = {"vocabulary": size, "exponent": exponent, "order": order, "strength": strength, "context": context}
    data = ZIPF.data({**options, "language_seed": seed, "samples": 3})
    truths = data.truths
    assert data.inputs.shape == (3, context)
    assert (data.classes, data.tokens_per_example) == (size, context)
    assert 0 <= truths["entropy_rate"] <= truths["window_entropy"] + 1e-9
    assert truths["window_entropy"] <= truths["unigram_entropy"] + 1e-9 <= math.log(size) + 2e-9
    text = stretches(data)
    assert text.min() >= 0
    assert text.max() < size
    np.testing.assert_array_equal(data.test_inputs[:, 1:], data.test_targets[:, :-1])
    # The floor is a mean over 65,536 tokens or so; its deviation is below 2 / sqrt of their number.
    assert truths["floor"] == pytest.approx(truths["window_entropy"], abs=10 / math.sqrt(text.size))


def test_no_guess_goes_below_the_floor_and_chance_is_far_above() -> None:
    data = ZIPF.data()
    assert data.truths["floor"] < data.truths["unigram_entropy"] < data.chance_loss
    # Knowing one token of the two is worse than knowing both.
    language = chain(64, 1.0, 2, 2.0, 0)
    one = -np.log(language.following[data.test_inputs, data.test_targets]).mean()
    assert data.truths["floor"] + 0.3 < one
    assert one == pytest.approx(language.pair_entropy, abs=0.02)


def test_fresh_text_is_new_and_held_out_text_stays() -> None:
    fresh, fixed = ZIPF.data(), ZIPF.data({"samples": 40})
    assert fixed.draw is None
    assert fixed.examples == 40
    assert fresh.draw is not None
    first, second = (fresh.draw(np.random.default_rng(seed), np.arange(8))[0] for seed in (0, 1))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(fresh.test_inputs, fixed.test_inputs)
    assert not np.array_equal(ZIPF.data({"language_seed": 1}).test_inputs, fresh.test_inputs)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"order": 3}, "1 or 2"),
        ({"vocabulary": 1}, "2 to 128"),
        ({"vocabulary": 500}, "2 to 128"),
        ({"context": 0}, "1 or more"),
        ({"strength": -1.0}, "0 to 5"),
        ({"exponent": 9}, "0 to 3"),
    ],
)
def test_a_bad_option_is_one_line_with_the_mend(options: dict[str, int | float | str], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        ZIPF.data(options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
