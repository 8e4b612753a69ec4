"""The rule for the final loss: which number of a curve is what the run reached."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["DEFAULT", "FinalRule", "parse_final"]

_RULE = re.compile(r"(last|min|mean|ema)(?:[:= ]\s*([0-9.]+)\s*(%?))?")


@dataclass(frozen=True)
class FinalRule:
    """How a curve becomes one number.

    - `last`: the last record.
    - `min`: the lowest record. Of a noisy curve that is luck, the more the longer the curve.
    - `mean`: the mean of the records in the last `amount` of the steps; the last record alone where the curve is sparse.
    - `ema`: the exponential moving average m_i = amount * m_(i-1) + (1 - amount) * y_i of all records, m_1 = y_1.

    A curve that ends in a loss that is not finite has no final loss: NaN, whatever the rule.
    """

    kind: str = "mean"
    amount: float = 0.02

    def __str__(self) -> str:
        if self.kind == "mean":
            return f"mean of the last {100 * self.amount:g} % of the steps"
        return {"last": "last record", "min": "lowest record"}.get(self.kind, f"moving average, decay {self.amount:g}")

    def of(self, steps: NDArray[np.float64], values: NDArray[np.float64]) -> float | None:
        """The final value of a curve with ascending steps; NaN where it ends non-finite, None where it has no record."""
        if not len(values):
            return None
        if not np.isfinite(values[-1]):
            return float("nan")
        good = np.isfinite(values)
        steps, values = steps[good], values[good]
        if self.kind == "last":
            return float(values[-1])
        if self.kind == "min":
            return float(values.min())
        if self.kind == "mean":
            return float(values[steps >= (1 - self.amount) * steps[-1]].mean())
        weights = self.amount ** np.arange(len(values) - 1, -1, -1, dtype=np.float64)
        weights[1:] *= 1 - self.amount
        return float(weights @ values)


DEFAULT = FinalRule()


def parse_final(text: str) -> FinalRule:
    """`last`, `min`, `mean:5%` or `ema:0.99`.

    Raises:
        InputError: anything else, a share outside 0 to 100 %, or a decay outside 0 to 1.
    """
    found = _RULE.fullmatch(text.strip().lower())
    mend = "Write last, min, mean:5% or ema:0.99"
    if found is None:
        raise InputError(f"{text!r} is no rule for the final loss", "--final", mend)
    kind, number, percent = found.groups()
    default = {"mean": DEFAULT.amount, "ema": 0.99}
    if kind not in default:
        if number is not None:
            raise InputError(f"{kind} takes no number", "--final", mend)
        return FinalRule(kind, 0.0)
    try:
        amount = default[kind] if number is None else float(number) * (0.01 if percent else 1.0)
    except ValueError as error:
        raise InputError(f"{number!r} is no number", "--final", mend) from error
    if not 0 < amount <= (1 if kind == "mean" else 0.99999):
        raise InputError(f"{amount:g} is not between 0 and 1", "--final", mend)
    return FinalRule(kind, amount)
