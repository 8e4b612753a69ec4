"""When a loop of planning and running may stop: the condition of `--until`. Re-exported by `until.py`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import InputError

__all__ = ["Condition", "condition"]

_WORDS = {
    "regret": "the expected share of the target's loss that its predicted settings lose",
    "interval": "half the width of the forecast's 90 % interval, relative",
    "spend": "FLOPs spent",
    "runs": "runs made",
}


@dataclass(frozen=True)
class Condition:
    """One comparison: a quantity that is to fall below, or rise above, a limit."""

    name: str
    below: bool
    limit: float
    text: str

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether it holds; a quantity that is not known yet does not."""
        value = values.get(self.name, math.nan)
        return value < self.limit if self.below else value > self.limit


def condition(text: str) -> Condition:
    """Read `regret < 0.2 %`, `interval < 1 %`, `spend > 1e15` or `runs > 200`.

    Raises:
        InputError: it reads otherwise.
    """
    found = re.fullmatch(r"\s*([a-z_]+)\s*(<=|>=|<|>)\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(%?)\s*", text)
    try:
        if found is None or found[1] not in _WORDS:
            raise ValueError
        limit = float(found[3]) * (0.01 if found[4] else 1.0)
    except ValueError:
        known_names = ", ".join(_WORDS)
        raise InputError(f"cannot read {text!r}", "--until", f'Write "regret < 0.2 %"; known are {known_names}') from None
    return Condition(found[1], found[2].startswith("<"), limit, " ".join(text.split()))
