"""What `compare` finds: arms, gaps between them, where they cross, and what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._balance import Tuning
from .diagnostics import Finding
from .estimate import Estimate, number
from .forecast import Forecast

__all__ = ["Arm", "Comparison", "Crossing", "Gap", "Pairing"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Arm:
    """One recipe.

    Args:
        name: the value of the column that tells arms apart.
        forecast: of one tuned run of it at the target.
        probability: that its best case is the lowest of all arms at the target.
        tuning: how well it was tuned.
    """

    name: str
    forecast: Forecast = field(repr=False)
    probability: float
    tuning: Tuning

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found, edge = self.forecast, self.forecast.frontier
        return {
            "name": self.name,
            "loss": found.loss,
            "low": found.low,
            "high": found.high,
            "probability": self.probability,
            "sizes": len(edge.trials),
            "runs": len(edge.source.finished),
            "tuned": edge.tuned,
            "tuning": self.tuning.to_dict(),
            "findings": [each.name for each in found.findings],
        }


@dataclass(frozen=True)
class Crossing:
    """Where two arms' laws cross: the scale in `column`, infinite or zero where it is beyond reach, and how sure it is.

    Args:
        value, low, high: of the scale; an end that is 0 or inf lies out of reach.
        probability: that they cross between `reach[0]` and `reach[1]`.
        message: the sentence.
    """

    column: str
    value: float
    low: float
    high: float
    probability: float
    reach: tuple[float, float]
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: an end out of reach is None."""
        ends = {name: number(each) or None for name, each in (("value", self.value), ("low", self.low), ("high", self.high))}
        return {
            **ends,
            "column": self.column,
            "probability": self.probability,
            "reach": list(self.reach),
            "message": self.message,
        }


@dataclass(frozen=True, eq=False)
class Gap:
    """One arm against the reference.

    Args:
        name: the arm.
        difference: ln loss less the reference's at the target.
        multiplier: the factor in the currency that it needs to reach the reference's loss at the target; inf where it never does.
        crossing: of the two laws.
        wins: probability that its best case is below the reference's at the target.
        detectable: difference of ln loss that would be told from zero at `level` with power 0.8.
        sizes, low, middle, high: the difference along the scales, for drawing.
    """

    name: str
    difference: Estimate
    multiplier: Estimate
    crossing: Crossing
    wins: float
    detectable: float
    sizes: Array = field(repr=False)
    low: Array = field(repr=False)
    middle: Array = field(repr=False)
    high: Array = field(repr=False)


@dataclass(frozen=True)
class Pairing:
    """What the arms share.

    Args:
        scales, seeds: shared by two arms or more.
        share: part of the variance between seeds that arms with the same seed have in common.
        weight: of the paired prediction in the pool.
        paired, unpaired: rms error of the difference on held-out scales; None where none could be held out.
        laws: weights of the paired law's forms.
        message: the sentence.
    """

    scales: int
    seeds: int
    share: float
    weight: float
    paired: float | None
    unpaired: float | None
    laws: Mapping[str, float]
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("scales", "seeds", "share", "weight", "paired", "unpaired")
        return {**{name: getattr(self, name) for name in names}, "laws": dict(self.laws), "message": self.message}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Arms compared at a target.

    Args:
        by: the column that tells arms apart. at: the target. level: of every interval.
        arms: the reference first, then the others in the order of the data.
        gaps: each other arm against the reference.
        currency: what multipliers count, in a sentence; `column` is its name.
        pairing: what was shared. findings: what to know before believing it.
    """

    by: str
    at: Mapping[str, float]
    level: float
    arms: tuple[Arm, ...]
    gaps: tuple[Gap, ...]
    column: str
    currency: str
    pairing: Pairing
    findings: tuple[Finding, ...]

    @property
    def reference(self) -> str:
        """The arm that the others are measured against."""
        return self.arms[0].name

    @property
    def winner(self) -> Arm:
        """The arm most likely to win."""
        return max(self.arms, key=lambda arm: arm.probability)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw compare`."""
        return {
            "by": self.by,
            "at": dict(self.at),
            "level": self.level,
            "reference": self.reference,
            "arms": [arm.to_dict() for arm in self.arms],
            "multiplier": {gap.name: gap.multiplier.to_dict() for gap in self.gaps},
            "currency": {"column": self.column, "message": self.currency},
            "crossing": {gap.name: gap.crossing.to_dict() for gap in self.gaps},
            "probability": {arm.name: arm.probability for arm in self.arms},
            "difference": {gap.name: gap.difference.to_dict() for gap in self.gaps},
            "detectable": {gap.name: gap.detectable for gap in self.gaps},
            "pairing": self.pairing.to_dict(),
            "findings": [each.to_dict() for each in self.findings],
        }
