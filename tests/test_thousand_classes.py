"""A thousand classes: pictures are what their prototypes are, every class alike, and new at every step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.errors import SpecError
from scalelaw.tasks import tasks

THOUSAND = tasks["thousand_classes"]


def test_without_jitter_a_world_is_its_prototypes() -> None:
    data = THOUSAND.data({"views": 1, "jitter": 0.0, "noise": 0.0, "contrast": 0.0, "samples": 20_000})
    assert data.labels == data.classes == 1000
    classes, first = np.unique(data.targets, return_index=True)
    assert len(classes) == 1000
    pictures = data.inputs[first]
    # Every picture is its class's one prototype, to rounding, and no two classes share one.
    np.testing.assert_allclose(data.inputs, pictures[data.targets], atol=1e-4)
    assert len(np.unique(pictures.round(2), axis=0)) == 1000
    # Pictures of one group of a hundred classes are nearer to each other than to another group's.
    by_class = pictures.reshape(10, 100, -1)
    middles = by_class.mean(axis=1)
    inside = np.square(by_class - middles[:, None]).sum(axis=-1).mean()
    whole = np.square(by_class - by_class.mean(axis=(0, 1))).sum(axis=-1).mean()
    # Groups hold 1 of a variance of 1 + 0.7^2 + 0.7^2 + 1 in the latent space, and less where it is folded.
    assert 0.1 < 1 - inside / whole < 0.4


def test_a_world_is_scaled_balanced_and_new_at_every_step() -> None:
    data = THOUSAND.data()
    assert float(data.test_inputs.mean()) == pytest.approx(0, abs=0.05)
    assert float(data.test_inputs.std()) == pytest.approx(1, abs=0.03)
    assert data.draw is not None
    pictures, labels = data.draw(np.random.default_rng(0), np.arange(50_000) % 7)
    counts = np.bincount(labels, minlength=1000)
    # Chi-square with 999 degrees of freedom, mean 999 and deviation 45.
    assert (np.square(counts - 50) / 50).sum() < 999 + 5 * 45
    assert len(np.unique(pictures, axis=0)) == 50_000
    other = THOUSAND.data({"world_seed": 1})
    assert other.provenance["sha256"] != data.provenance["sha256"]


@settings(max_examples=10, deadline=None)
@given(pixels=st.integers(1, 12), views=st.integers(1, 4), scale=st.floats(0, 3), seed=st.integers(0, 9))
def test_every_world_is_finite(pixels: int, views: int, scale: float, seed: int) -> None:
    options = {"pixels": pixels, "views": views, "gain": scale, "noise": scale, "world_seed": seed, "samples": 50}
    data = THOUSAND.data(options)
    assert data.inputs.shape == (50, pixels**2)
    assert np.isfinite(data.inputs).all()
    assert np.isfinite(data.test_inputs).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pixels": 0}, "1 to 32"),
        ({"views": 0}, "1 to 1024"),
        ({"noise": -1}, "0 to 10"),
    ],
)
def test_a_bad_option_is_one_line_with_the_mend(options: dict[str, int | float | str], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        THOUSAND.data(options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
