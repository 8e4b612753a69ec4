"""Adam (Kingma and Ba, 2015) with decoupled weight decay (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._adam import ADAM, adam_step
from ._base import Optimiser, Slots

__all__ = ["AdamW"]


class AdamW(Optimiser):
    """Adam whose weight decay shrinks the weights by itself.

        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
        p = (1 - lr wd) p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Symbols: lr learning_rate, b1 beta1, b2 beta2, eps epsilon, wd weight_decay, t step, g gradient, (m, v) slots, p parameter.
    """

    name = "adamw"
    summary = "Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019)"
    knobs: Mapping[str, float] = ADAM
    slots = 2

    def update(self, now: Mapping[str, Any], gradient: Any, slots: Slots, parameter: Any) -> tuple[Slots, Any]:
        """See the class."""
        slots, step = adam_step(now, gradient, slots)
        return slots, (1 - now["decay"]) * parameter - step
