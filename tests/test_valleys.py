"""Fits whose minimum lies at the end of a long curved valley, or beyond every number."""

from __future__ import annotations

import numpy as np
import pytest

from scalelaw.fit import FitStatus, LeastSquares, fit
from scalelaw.laws import laws
from scalelaw.testing.laws import Points


@pytest.mark.parametrize("seed", range(6))
def test_a_curved_valley_is_followed_to_its_floor(seed: int) -> None:
    """M3 far from x = 1: ln A + alpha ln g hardly moves along a bent valley, which straight steps leave at once."""
    x = np.geomspace(2.6e9, 1.3e11, 19)
    loss = laws["m3"].predict({"A": 1.2e8, "g": 4e-9, "alpha": 1.0}, {"x": x})
    loss = loss * np.exp(0.002 * np.random.default_rng(seed).standard_normal(19))
    found = fit("m3", Points({"width": x, "loss": loss}), over="width", objective=LeastSquares())
    assert found.status in (FitStatus.CONVERGED, FitStatus.AT_BOUND), found.message

    def profile(g: float) -> float:
        line = np.log(g + 1 / x)
        slope = min(float(np.polyfit(line, np.log(loss), 1)[0]), 20.0)
        rest = np.log(loss) - slope * line
        return 0.5 * float(np.sum((rest - rest.mean()) ** 2))

    least = min(profile(g) for g in np.geomspace(1e-11, 1e-6, 4001))
    assert profile(found.theta["g"]) <= least * (1 + 1e-9)
    assert found.value == pytest.approx(profile(found.theta["g"]), rel=1e-9)


def test_an_infimum_at_an_infinite_exponent_is_at_the_bound() -> None:
    """exp(t / x) is M3 with alpha without end, A g^alpha and alpha / g held."""
    x = np.geomspace(2.6e9, 1.3e11, 19)
    loss = 0.9 * np.exp(1.1e9 / x + 1e-3 * np.random.default_rng(0).standard_normal(19))
    found = fit("m3", Points({"width": x, "loss": loss}), over="width", objective=LeastSquares())
    assert found.status is FitStatus.AT_BOUND
    assert found.certificate.active == ("alpha",)
    assert found.theta["alpha"] / found.theta["g"] == pytest.approx(1.1e9, rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_a_tiny_coefficient_in_another_unit_is_not_zero(seed: int) -> None:
    """M4's A is in loss^(1 - a): 1e-24 at a = 20 is no vanishing one, and the law predicts what was fitted."""
    x = np.geomspace(1e5, 1e9, 12)
    loss = laws["m4"].predict({"E": 0.3, "S": 20.0, "a": 20.0, "A": 300.0 * 20.0**-20, "alpha": 0.4}, {"x": x})
    loss = loss * np.exp(0.003 * np.random.default_rng(seed).standard_normal(12))
    found = fit("m4", Points({"width": x, "loss": loss}), over="width", objective=LeastSquares())
    assert found.status in (FitStatus.CONVERGED, FitStatus.AT_BOUND), found.message
    assert found.theta["A"] > 0
    squares = 0.5 * float(np.sum(np.log(found.predict({"width": x}) / loss) ** 2))
    assert found.value == pytest.approx(squares, rel=1e-6)
