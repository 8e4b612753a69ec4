"""Words and ticks for axes: short numbers, round steps, and which quantity a column is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..notation import QUANTITIES
from ._base import Axis, Tick

__all__ = ["name_of", "number", "point_text", "rate_axis", "round_axis", "size_axis", "size_ticks", "spread_ticks"]

_SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def number(value: float, digits: int = 2) -> str:
    """A number as people type it: 8192, 1.5M, 0.04, 3e-4."""
    if not math.isfinite(value):
        return "?"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e15 or size < 0.01:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(power)}"
    if size >= 1e5:
        unit, suffix = next((unit, suffix) for unit, suffix in _SUFFIXES if size >= unit)
        return f"{value / unit:.{digits if value / unit < 100 else 3}g}{suffix}"
    if value == round(value):
        return f"{value:.0f}"
    return f"{value:.{max(digits, len(str(int(size))))}g}"


def name_of(column: str) -> str:
    """A column's name in running text: `learning_rate` is "learning rate"."""
    return column.replace("_", " ")


def point_text(names: Sequence[str], values: Sequence[float]) -> str:
    """A point in the scale columns: "width 64", or "parameters 210M, tokens 10B"."""
    return ", ".join(f"{name_of(name)} {number(value, 3)}" for name, value in zip(names, values, strict=True))


def size_ticks(sizes: Iterable[float], most: int = 7) -> tuple[Tick, ...]:
    """Ticks at the sizes themselves; every second, third, ... of them, counted from the largest, where there are many."""
    values = sorted(set(sizes))
    step = -(-len(values) // most) if values else 1
    return tuple(Tick(value, number(value, 3)) for value in values[::-1][::step][::-1])


def size_axis(column: str, sizes: Iterable[float], room: float = 0.06) -> Axis:
    """A log axis over sizes; `room` is the share of its length that is left free at each end."""
    values = sorted(set(sizes))
    low, high = _widen(values[0], values[-1], room)
    known = QUANTITIES.get(column)
    unit = f" ({known.unit})" if known is not None and known.unit not in ("1", "", "units", "layers", column) else ""
    return Axis(f"{name_of(column)}{unit}", low, high, "log", size_ticks(values))


def rate_axis(column: str, rates: Iterable[float], room: float = 0.06) -> Axis:
    """A log axis over a hyperparameter."""
    values = sorted(set(rates))
    low, high = _widen(values[0], values[-1], room)
    return Axis(name_of(column), low, high, "log", log_ticks(low, high))


def round_axis(label: str, values: Iterable[float], room: float = 0.06, below: float = 0.06, most: int = 7) -> Axis:
    """A linear axis that spans `values` with `room` above and `below` them, as shares of its length, and ticks at round steps."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    width = (high - low) or abs(high) or 1.0
    low, high = low - below * width, high + room * width
    return Axis(label, low, high, "linear", spread_ticks(low, high, most))


def spread_ticks(low: float, high: float, most: int = 7) -> tuple[Tick, ...]:
    """At most `most` ticks at steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(Tick(each * step, f"{each * step:.{places}f}") for each in range(first, last + 1))


def log_ticks(low: float, high: float, most: int = 7) -> tuple[Tick, ...]:
    """Ticks at 1, 3 (or 1, 2, 5) times powers of ten where there is room, else at the powers alone."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        places = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        inside = [place for place in places if low * 0.999 <= place <= high * 1.001]
        if len(inside) <= most:
            return tuple(Tick(place, number(place)) for place in inside)
    step = -(-(last - first) // most)
    return tuple(Tick(10.0**power, number(10.0**power)) for power in range(first, last + 1, step) if low <= 10.0**power <= high)


def _widen(low: float, high: float, room: float) -> tuple[float, float]:
    if low == high:
        return low / 2, high * 2
    part = room * np.log(high / low)
    return float(low * np.exp(-part)), float(high * np.exp(part))
