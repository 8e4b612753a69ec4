"""Quantiles of Student's t without scipy are scipy's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from scalelaw._student import quantile


@given(st.floats(1e-5, 1 - 1e-5), st.floats(0, 6).map(lambda power: 10**power))
def test_quantiles_are_those_of_scipy(probability: float, degrees: float) -> None:
    assert quantile(probability, degrees) == pytest.approx(float(stdtrit(degrees, probability)), rel=1e-9, abs=1e-9)


def test_known_values() -> None:
    """A Cauchy distribution has tan(pi (p - 1/2)); two degrees of freedom have a closed form; many are normal."""
    assert quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-13)
    assert quantile(0.95, 2) == pytest.approx(0.9 / math.sqrt(2 * 0.95 * 0.05), rel=1e-13)
    assert quantile(0.975, 1e15) == pytest.approx(1.959963984540054, rel=1e-12)
    assert quantile(0.025, 7) == -quantile(0.975, 7)


def test_edges() -> None:
    assert quantile(0.5, 3) == 0
    assert quantile(1.0, 3) == math.inf
    assert quantile(0.0, 3) == -math.inf
    assert math.isnan(quantile(1.5, 3))
    assert math.isnan(quantile(0.9, 0))
