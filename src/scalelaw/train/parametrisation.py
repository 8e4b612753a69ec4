"""How rates and initial weights go with the width. Standard library only: it can be asked about where JAX is not installed."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from .models import Kind, Scaling
from .optimisers import Family

__all__ = ["Parametrisation"]

_KEPT: Mapping[Kind, float] = dict.fromkeys(Kind, 0.0)
# Powers of the width in the rate of each kind of tensor that keep every layer's change per step the same at every width.
_LAYERS: Mapping[Family, Mapping[Kind, float]] = {
    Family.ENTRYWISE: {**_KEPT, Kind.HIDDEN: -1.0, Kind.OUTPUT: -1.0},
    Family.GRADIENT: {Kind.EMBEDDING: 1.0, Kind.INPUT: 1.0, Kind.VECTOR: 1.0, Kind.HIDDEN: 0.0, Kind.OUTPUT: -1.0},
    Family.SPECTRAL: {**_KEPT, Kind.HIDDEN: -0.5, Kind.OUTPUT: -1.0},
}


class Parametrisation(enum.Enum):
    """Powers of the width by which a tensor's rate, or its initial weights, are scaled away from the base width.

    An entrywise optimiser moves every entry by about its rate. A unit fed by n others adds up n such moves in step with its
    inputs, so its change grows as rate x n where n is the width (hidden and output matrices) and stays where n is not (input
    matrix, embeddings, biases). SGD moves by the gradient, whose size goes with the width itself. Muon's step of size rate
    in every entry is as large in every direction, sqrt(n) in spectral norm. With r = width / base width:

        MAXIMAL_UPDATE       | entrywise | SGD  | Muon   | start, beside He's   | decay taken off per step
        input, biases        | 1         | r    | 1      | 1                    | rate x weight_decay, the
        embeddings           | 1         | r    | 1      | 1                    | rate without its factor
        hidden               | 1/r       | 1    | r^-1/2 | 1                    |
        output               | 1/r       | 1/r  | 1/r    | r^-1/2 / 16          |
        tied output          | the embedding's, and the logits times 1/r
        attention            | scores times (head width / base head width)^-1/2, beside 1 / sqrt(head width)

    Sources: Yang et al. 2022 (arXiv 2203.03466), table 3; Everett et al. 2024 (arXiv 2407.05872); decay: Wang and Aitchison 2024
    (arXiv 2405.13698). The row of Muon follows from its step (Liu et al. 2025, arXiv 2502.16982) by the spectral condition (Yang,
    Simon and Bernstein 2023, arXiv 2310.17813).
    """

    STANDARD = "He initialisation and one rate at every width"
    SCALED_RATE = "He initialisation and one rate for all tensors, scaled as 1/width"
    LAYER_RATES = "He initialisation; the rate of each kind of tensor scaled as in MAXIMAL_UPDATE"
    MAXIMAL_UPDATE = "as LAYER_RATES, with small initial output weights that go as 1/width (Yang et al. 2022)"

    def rate(self, kind: Kind, family: Family, ratio: float) -> float:
        """Factor on the rate of a kind of tensor at `ratio` times the base width."""
        if self is Parametrisation.STANDARD:
            return 1.0
        return ratio ** (-1.0 if self is Parametrisation.SCALED_RATE else _LAYERS[family][kind])

    def start(self, kind: Kind, ratio: float) -> float:
        """Factor on a kind of tensor's weights at the start, at `ratio` times the base width.

        Maximal update takes ratio^(-1/2) / 16 for the output matrix. The sixteenth makes the initial logits, which vanish with
        the width, small from the first: they would drive the first updates at small widths only, and their dying out looks
        like a trend.
        """
        return ratio**-0.5 / 16 if self is Parametrisation.MAXIMAL_UPDATE and kind is Kind.OUTPUT else 1.0

    def scaling(self, ratio: float, heads_kept: bool) -> Scaling:
        """Factors of the forward pass at `ratio` times the base width; `heads_kept`: heads grow wider, not more."""
        if self is not Parametrisation.MAXIMAL_UPDATE:
            return Scaling()
        return Scaling(output=1 / ratio, attention=ratio**-0.5 if heads_kept else 1.0)
