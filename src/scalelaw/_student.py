"""Quantiles of Student's t from the standard library alone: importing them from elsewhere takes longer than fitting a law.

The logarithm of the upper tail is a concave, falling function of ln t, and c t^-n bounds the tail from above, so Newton's method
from the t at which that bound is the asked probability comes down to the quantile without ever passing it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["cdf", "quantile"]

# From here on the expansion in 1 / degrees (Hill 1970) is exact to a double, for tails above e^-12.
_MANY = 2000.0


def quantile(probability: float, degrees: float) -> float:
    """t with P(T < t) = probability, for `degrees` > 0; infinite at 0 and 1, NaN outside."""
    if not 0 <= probability <= 1 or not degrees > 0:
        return math.nan
    tail = min(probability, 1 - probability)
    sign = -1.0 if probability < 0.5 else 1.0
    if tail == 0:
        return sign * math.inf
    if tail == 0.5:
        return 0.0
    if degrees > _MANY and tail > 6e-6:
        z = _down(lambda t: 0.5 * math.erfc(t / math.sqrt(2)), _normal, tail, 8.0)
        return sign * _expanded(z, degrees)
    ratio = _gamma_ratio(0.5 * degrees)
    start = math.exp((ratio - 0.5 * math.log(math.pi) + 0.5 * (degrees - 2) * math.log(degrees) - math.log(tail)) / degrees)

    def density(t: float) -> float:
        return math.exp(ratio - 0.5 * math.log(math.pi * degrees) - 0.5 * (degrees + 1) * math.log1p(t * t / degrees))

    return sign * _down(lambda t: _upper(t, degrees, ratio), density, tail, start)


def cdf(t: float, degrees: float) -> float:
    """P(T < t) for `degrees` > 0."""
    if t == 0 or math.isnan(t):
        return 0.5 if t == 0 else math.nan
    size = abs(t)
    if degrees > _MANY:
        # The normal's tail at the t that the expansion maps to, to first order: 1e-7 apart at 2,000 degrees.
        upper = 0.5 * math.erfc((size - size * (size * size + 1) / (4 * degrees)) / math.sqrt(2))
    else:
        upper = 0.0 if math.isinf(size) else _upper(size, degrees, _gamma_ratio(0.5 * degrees))
    return upper if t < 0 else 1 - upper


def _down(upper: Callable[[float], float], density: Callable[[float], float], tail: float, start: float) -> float:
    """Newton's method for ln upper(t) = ln tail in ln t, from above."""
    t = start
    for _ in range(200):
        now = upper(t)
        if now <= 0:
            t *= 0.5
            continue
        step = math.log(now / tail) * now / (density(t) * t)
        t *= math.exp(step)
        if abs(step) < 1e-15:
            break
    return t


def _upper(t: float, degrees: float, ratio: float) -> float:
    """P(T > t) for t > 0: half the regularised incomplete beta function I_x(n / 2, 1 / 2) at x = n / (n + t^2)."""
    a, x, y = 0.5 * degrees, degrees / (degrees + t * t), t * t / (degrees + t * t)
    # ln of x^a y^(1/2) / B(a, 1/2)
    front = math.exp(ratio - 0.5 * math.log(math.pi) - a * math.log1p(t * t / degrees) + 0.5 * math.log(y))
    if x < (a + 1) / (a + 2.5):
        return 0.5 * front * _fraction(a, 0.5, x) / a
    return 0.5 * (1 - front * _fraction(0.5, a, y) / 0.5)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (Lentz's method)."""
    small = 1e-300
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1), small)
    result = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _apart(1 + term * d, small)
            c = _apart(1 + term / c, small)
            result *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return result


def _apart(value: float, small: float) -> float:
    return value if abs(value) > small else small


def _gamma_ratio(a: float) -> float:
    """ln Gamma(a + 1/2) - ln Gamma(a), by its series where the two are large."""
    if a < 30:
        return math.lgamma(a + 0.5) - math.lgamma(a)
    return 0.5 * math.log(a) - 1 / (8 * a) + 1 / (192 * a**3) - 1 / (640 * a**5) + 17 / (14336 * a**7)


def _normal(t: float) -> float:
    """The normal density."""
    return math.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)


def _expanded(z: float, n: float) -> float:
    """Student's quantile from the normal one, for many degrees of freedom."""
    s = z * z
    first = z * (s + 1) / 4
    second = z * ((5 * s + 16) * s + 3) / 96
    third = z * (((3 * s + 19) * s + 17) * s - 15) / 384
    fourth = z * ((((79 * s + 776) * s + 1482) * s - 1920) * s - 945) / 92160
    return z + (first + (second + (third + fourth / n) / n) / n) / n
