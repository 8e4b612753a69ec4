"""Transfer: whether a best setting settles, what keeping one costs, and whether transfer is fast."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalelaw.settling import Settling, settling

SIZES = 8.0 * 2.0 ** np.arange(8)


def settled(b: float, gap: float = 1.5, noise: float = 0.0, sizes: np.ndarray = SIZES) -> np.ndarray:
    """-7 + gap (n / n_0)^-b, with noise."""
    random = np.random.default_rng(5)
    return -7.0 + gap * (sizes / sizes[0]) ** -b + noise * random.standard_normal(len(sizes))


def found(y: np.ndarray, se: float = 0.01) -> Settling:
    return settling(np.log(SIZES), y, np.full(len(y), se))


@pytest.mark.parametrize("b", [-0.4, 0.3, 0.8, 1.6])
def test_an_exponent_and_its_limit_are_found(b: float) -> None:
    curve = found(settled(b))
    step = curve.exponents[1] - curve.exponents[0]
    assert curve.value == pytest.approx(b, abs=step)
    estimate = curve.estimate()
    assert estimate.low < b < estimate.high
    if b > 0:
        limits = curve.limits(np.full(400, b), np.random.default_rng(0))
        assert np.median(limits) == pytest.approx(-7.0, abs=0.05)


def test_a_straight_line_in_ln_size_has_exponent_zero_and_no_limit() -> None:
    curve = found(-7.0 - 0.35 * np.log(SIZES))
    assert curve.value == pytest.approx(0.0, abs=1e-9)
    assert np.all(np.isinf(curve.limits(np.array([-0.5, 0.0, -math.inf]), np.random.default_rng(0))))


def test_a_constant_says_nothing_about_its_exponent() -> None:
    curve = found(np.full(8, -7.0) + 0.01 * np.array([1, -1, 0.5, 0, -0.5, 1, -1, 0]), se=0.02)
    assert curve.constant > 0.1
    estimate = curve.estimate()
    assert estimate.low == -math.inf
    assert estimate.high == math.inf


def test_a_quantity_that_moves_is_not_constant() -> None:
    assert found(settled(0.8, noise=0.02), se=0.02).constant < 1e-3


def test_the_profile_does_not_depend_on_the_unit_of_size() -> None:
    y = settled(0.5, noise=0.03)
    one, other = found(y), settling(np.log(SIZES * 1e6), y, np.full(8, 0.01))
    assert other.value == pytest.approx(one.value)
    assert other.roots == pytest.approx(one.roots, abs=1e-6)
