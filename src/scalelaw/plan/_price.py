"""What FLOPs are paid in: FLOPs themselves, GPU-hours, or money."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..trials import Trials

__all__ = ["Price", "price_of"]

_RATE = re.compile(r"(?P<amount>[0-9.]+(?:e[+-]?[0-9]+)?)\s*(?P<currency>[A-Za-z$€£¥]*)\s*/\s*gpu-?h(?:our)?", re.IGNORECASE)


@dataclass(frozen=True)
class Price:
    """How FLOPs turn into what is paid.

    Args:
        unit: "FLOPs", "GPU-hours", or the currency.
        per: units per FLOP.
        rule: how that follows, a sentence.
    """

    unit: str = "FLOPs"
    per: float = 1.0
    rule: str = "Prices are in FLOPs."

    def of(self, flops: float) -> float:
        """What so many FLOPs cost."""
        return self.per * flops

    def words(self, flops: float) -> str:
        """The same as text: `3.1e+15 FLOPs`, `12.4 GPU-hours`, `31 $`."""
        return f"{self.of(flops):.3g} {self.unit}"


def price_of(
    text: str | None = None, *, peak_flops: float | None = None, mfu: float | None = None, trials: Trials | None = None
) -> Price:
    """A price from the options of `scalelaw plan`.

    GPU-hours = C / (peak x MFU) / 3600; money = that times the rate. Without an MFU (model FLOPs utilisation) the speed of the
    runs themselves is taken, their compute over their seconds; it is what a run on the same machine would reach.

    Args:
        text: money per GPU-hour, `2.5/gpu-hour` or `2.5 EUR/gpu-hour`; None for GPU-hours alone.
        peak_flops: FLOP/s of one device. mfu: the share of it that training reaches.

    Raises:
        InputError: a price or a number that cannot be read, or no speed to go by.
    """
    if text is None and peak_flops is None and mfu is None:
        return Price()
    amount, currency = _rate(text)
    for name, value, most in (("--peak-flops", peak_flops, math.inf), ("--mfu", mfu, 1.0)):
        if value is not None and not 0 < value <= most:
            raise InputError(f"{value:g} is out of range", name, f"Give a number above 0{'' if most > 1 else ' and at most 1'}")
    measured = _measured(trials)
    if peak_flops is not None and mfu is not None:
        speed, how = peak_flops * mfu, f"{mfu:.0%} of {peak_flops:.3g} FLOP/s"
    elif measured is not None and mfu is None:
        share = f", {measured / peak_flops:.1%} of the peak" if peak_flops else ""
        speed, how = measured, f"{measured:.3g} FLOP/s, as these runs were measured{share}"
    else:
        raise InputError("no speed to turn FLOPs into hours", "--price", "Give --peak-flops and --mfu, or data with seconds")
    per_hour = 1.0 / (speed * 3600.0)
    if text is None:
        return Price("GPU-hours", per_hour, f"A GPU-hour is {how}.")
    return Price(currency, amount * per_hour, f"{amount:g} {currency} a GPU-hour of {how}.")


def _rate(text: str | None) -> tuple[float, str]:
    if text is None:
        return 1.0, ""
    found = _RATE.fullmatch(text.strip())
    if found is None or not float(found["amount"]) > 0:
        raise InputError(
            f"cannot read the price {text!r}", "--price", "Write money per GPU-hour: 2.5/gpu-hour, or 2.5EUR/gpu-hour"
        )
    return float(found["amount"]), found["currency"] or "$"


def _measured(trials: Trials | None) -> float | None:
    """FLOP/s of the costliest half of the runs, the median."""
    if trials is None or "compute" not in trials or "seconds" not in trials:
        return None
    compute, seconds = trials.numbers("compute"), trials.numbers("seconds")
    whole = np.isfinite(compute) & np.isfinite(seconds) & (compute > 0) & (seconds > 0)
    if not whole.any():
        return None
    large = compute[whole] >= np.median(compute[whole])
    return float(np.median(compute[whole][large] / seconds[whole][large]))
