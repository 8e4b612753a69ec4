"""The base of every optimiser."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from ..models import Kind

__all__ = ["Family", "Optimiser", "Slots"]

Slots = tuple[Any, ...]


class Family(enum.Enum):
    """How large a step is: what decides how its rate must go with the width."""

    ENTRYWISE = "about the rate in every entry, however large the gradient: Adam, AdamW, Lion"
    GRADIENT = "in proportion to the gradient: SGD"
    SPECTRAL = "about the rate in every entry, and as large in every direction: Muon"


class Optimiser(ABC):
    """One optimiser: a pure update of one tensor. A member sets:

    name: its file's name. summary: one line, with the paper.
    knobs: its own numbers beside learning_rate and weight_decay, with defaults; they are arguments of the compiled step, so
    networks that differ in them train in one call.
    slots: how many arrays of the tensor's shape it keeps; they start at 0.
    """

    name: str
    summary: str
    knobs: Mapping[str, float]
    slots: int
    family: Family = Family.ENTRYWISE

    @abstractmethod
    def update(self, now: Mapping[str, Any], gradient: Any, slots: Slots, parameter: Any) -> tuple[Slots, Any]:
        """One step for one tensor of one network.

        Args:
            now: `learning_rate` (of this step and tensor), `weight_decay`, `decay` (the step's rate, before the tensor's own
                factor, times weight_decay: what decoupled decay takes off), `step` from 1, and the knobs. Scalars.
            gradient, slots, parameter: of one shape, float32.

        Returns:
            (slots, parameter) after the step.
        """

    def of(self, kind: Kind) -> Optimiser:
        """The optimiser that tensors of this kind get: itself, or another where it is not made for them."""
        del kind
        return self
