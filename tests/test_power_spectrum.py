"""A power-law spectrum: the lowest loss of a width is that of least squares, and falls with the exponent that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from scalelaw.errors import SpecError
from scalelaw.tasks import Loss, tasks
from scalelaw.tasks.power_spectrum import expected_loss, lowest_loss

SPECTRUM = tasks["power_spectrum"]
WIDTHS = (16, 32, 64, 128)


def test_the_lowest_loss_is_that_of_least_squares() -> None:
    options = {"input_dim": 60, "outputs": 3}
    data = SPECTRUM.data(options)
    assert data.loss is Loss.SQUARED_ERROR
    features = np.random.default_rng(0).standard_normal((60, 9))
    shown = data.test_inputs.astype(np.float64) @ features
    readout, *_ = np.linalg.lstsq(shown, data.test_targets.astype(np.float64))
    by_squares = np.square(data.test_targets - shown @ readout).sum(axis=1).mean()
    # The held-out inputs have their population's covariance exactly.
    assert by_squares == pytest.approx(lowest_loss(features, options), rel=1e-5)
    assert lowest_loss(np.eye(60), options) < 1e-10


def test_the_spectrum_is_that_of_the_options() -> None:
    options = {"input_dim": 200, "spectrum": 2.0, "exponent": 1.5, "outputs": 5}
    data = SPECTRUM.data(options)
    variances = np.square(data.test_inputs, dtype=np.float64).mean(axis=0)
    np.testing.assert_allclose(variances, (np.arange(1, 201) - 0.5) ** -2.0, rtol=1e-4)
    covariance = data.test_inputs.astype(np.float64).T @ data.test_targets / len(data.test_inputs)
    strengths = np.square(covariance).sum(axis=1) / variances
    np.testing.assert_allclose(strengths[:-1], (np.arange(1, 200) - 0.5) ** -2.5, rtol=1e-3)
    # The last direction stands for all the rest: together they are the whole series, zeta(2.5, 1/2) = (2^2.5 - 1) zeta(2.5).
    assert strengths.sum() == pytest.approx((2**2.5 - 1) * 1.341487257250917, rel=1e-4)
    assert data.chance_loss == pytest.approx(strengths.sum(), rel=1e-4)
    drawn, answers = next(SPECTRUM.data(options).batches(0, 4000, [1]))
    np.testing.assert_allclose(drawn[0, :, :20].std(axis=0), np.sqrt(variances[:20]), rtol=0.06)
    exact = np.linalg.lstsq(drawn[0, :, :].astype(np.float64), answers[0].astype(np.float64))[0]
    assert np.square(answers[0] - drawn[0] @ exact).sum() < 1e-3 * np.square(answers[0]).sum()


@pytest.mark.parametrize(("exponent", "spectrum"), [(1.0, 4.0), (0.5, 4.0), (1.5, 4.0), (1.0, 3.0)])
def test_the_expected_loss_falls_with_the_known_exponent(exponent: float, spectrum: float) -> None:
    options = {"exponent": exponent, "spectrum": spectrum}
    expected = [expected_loss(width, options) for width in WIDTHS]
    slope = -np.polyfit(np.log(WIDTHS), np.log(expected), 1)[0]
    assert slope == pytest.approx(exponent, rel=0.005)


def test_random_features_reach_the_expected_loss() -> None:
    for width in (16, 64):
        found = [lowest_loss(np.random.default_rng([seed, width]).standard_normal((1024, width))) for seed in range(16)]
        error = np.std(found, ddof=1) / 4
        expected = expected_loss(width)
        assert np.mean(found) == pytest.approx(expected * (1 + 0.3 / width), abs=3.5 * error)
        assert min(found) > 0.8 * expected


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_dim": 1}, "2 to 4096"),
        ({"outputs": 0}, "1 or more"),
        ({"spectrum": 0}, "more than 0"),
        ({"exponent": 4.0}, "less than the spectrum's"),
    ],
)
def test_a_bad_option_is_one_line_with_the_mend(options: dict[str, int | float | str], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        SPECTRUM.data(options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
