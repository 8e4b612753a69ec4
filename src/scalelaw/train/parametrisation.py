"""How rates and initial weights go with the width. Standard library only: it can be asked about where JAX is not installed."""

from __future__ import annotations

import enum
from collections.abc import Mapping

__all__ = ["Parametrisation"]


class Parametrisation(enum.Enum):
    """Powers of the width by which a tensor's rate, or its initial weights, are scaled away from the smallest width.

    Adam moves every entry by about its rate. A unit fed by n others adds up n such moves in step with its inputs, so its change
    grows as rate x n where n is the width (hidden and output matrices) and stays where n is not (input matrix, biases).
    Sources: Yang et al. 2022 (arXiv 2203.03466), table 8; Everett et al. 2024 (arXiv 2407.05872).
    """

    STANDARD = "He initialisation and one rate at every width, as the built-in trainer has it"
    SCALED_RATE = "He initialisation and one rate for all tensors, scaled as 1/width"
    LAYER_RATES = "He initialisation; the rate of the hidden and output matrices scaled as 1/width, the others kept"
    MAXIMAL_UPDATE = "as LAYER_RATES, with small initial output weights that go as 1/width (Yang et al. 2022)"

    @property
    def rates(self) -> Mapping[str, float]:
        """Power of the width in the rate of each kind of tensor."""
        if self is Parametrisation.STANDARD:
            return {"input": 0.0, "hidden": 0.0, "output": 0.0, "bias": 0.0}
        if self is Parametrisation.SCALED_RATE:
            return {"input": -1.0, "hidden": -1.0, "output": -1.0, "bias": -1.0}
        return {"input": 0.0, "hidden": -1.0, "output": -1.0, "bias": 0.0}

    def output_start(self, ratio: float) -> float:
        """Factor on He's output weights at `ratio` times the smallest width.

        Maximal update takes ratio^(-1/2) / 16. The sixteenth makes the initial logits, which vanish with the width, small from
        the first: they would drive the first updates at small widths only, and their dying out looks like a trend.
        """
        return ratio**-0.5 / 16 if self is Parametrisation.MAXIMAL_UPDATE else 1.0
