"""Adam as first published, with weight decay as part of the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._adam import ADAM, adam_step
from ._base import Optimiser, Slots

__all__ = ["Adam"]


class Adam(Optimiser):
    """Adam on the gradient of the loss and of wd |p|^2 / 2.

        g' = g + wd p,   then m, v and the step as `adamw` has them without decay

    Symbols: wd weight_decay, g gradient, p parameter.
    """

    name = "adam"
    summary = "Adam, weight decay added to the gradient (Kingma and Ba, 2015)"
    knobs: Mapping[str, float] = ADAM
    slots = 2

    def update(self, now: Mapping[str, Any], gradient: Any, slots: Slots, parameter: Any) -> tuple[Slots, Any]:
        """See the class."""
        slots, step = adam_step(now, gradient + now["weight_decay"] * parameter, slots)
        return slots, parameter - step
