"""What training speed aims at, and whether what was measured reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scalelaw.train.count import flops
from scalelaw.trial import TrialSpec

from .contestants import BATCH, DEPTH

__all__ = ["Target", "step_flops"]


def step_flops(width: int) -> float:
    """FLOPs of one model-step as the trainer counts them: matrix products forward and back, none into the data."""
    scale = {"width": width, "depth": DEPTH, "steps": 50}
    return flops(TrialSpec("fashion_mnist", scale, {"learning_rate": 1e-3, "batch_size": BATCH})) / 50


@dataclass(frozen=True)
class Target:
    """A number that every width of some has to reach.

    Args:
        name: what is aimed at. least: the number. values: what was measured, by width.
    """

    name: str
    least: float
    values: Mapping[int, float]

    @property
    def told(self) -> str:
        """One line: met, missed with the widths that miss it, or not measured."""
        known = {width: value for width, value in self.values.items() if value == value}
        head = f"Target: {self.name}, at least {self.least:g}: "
        if not known:
            return f"{head}not measured."
        missed = [f"{value:.3g} at {width}" for width, value in known.items() if value < self.least]
        lowest = min(known, key=lambda width: known[width])
        ending = f"missed ({', '.join(missed)})" if missed else f"met (lowest {known[lowest]:.3g} at {lowest})"
        unknown = (
            f"; not measured at {', '.join(map(str, self.values.keys() - known.keys()))}" if len(known) < len(self.values) else ""
        )
        return f"{head}{ending}{unknown}."
