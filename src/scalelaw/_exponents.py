"""What is known beforehand of how best settings move: normal priors on the exponents of their laws.

    d ln best / d ln scale ~ N(mean, sd^2)

A learning rate and a batch size over parameters, tokens or compute have been measured often enough to lean on; every other pair
has N(0, 0.5^2) per nat of parameters, for published exponents are 0 to 0.75 in size. The values stand for these sources, each of
another group, data set and model; Step Law's grid, on which the estimator is tested, is none of them:

    rate over N     -0.23 (Bjorck et al. 2024, arXiv:2409.19913), -0.32 (the rates of Brown et al. 2020, arXiv:2005.14165, from
                    125M to 175B at one number of tokens), -0.25 to -0.5 by theory (Everett et al. 2024, arXiv:2407.05872); with
                    tokens in proportion -0.36 (Porian et al. 2024, arXiv:2406.19146)
    rate over D     -0.32 at a fixed batch (Bjorck); about +0.3 beside a tuned batch (table of Lingle, lucaslingle.substack.com)
    batch over N    about 0 (Zhang et al. 2024, arXiv:2410.21676; Bergsma et al. 2025, arXiv:2505.13738)
    batch over D    0.38 (Bergsma), 0.47 (Zhang, the critical batch), about 0.65 (Lingle); with parameters in proportion 0.70
                    (Porian)
    over compute    rate -0.125, batch 0.33 (Bi et al. 2024, arXiv:2401.02954); -0.18 and 0.35 (Porian)

Every source lies within one standard deviation of the mean. (`_drifting.py` has a prior of its own for settings that were kept,
of the rate over parameters *with tokens in proportion*, for the excess alone.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .notation import quantity

__all__ = ["PUBLISHED", "known_exponents"]

Array: TypeAlias = NDArray[np.float64]

# ln parameters per ln of a scale column; 1 where none is named.
_NATS = {"width": 2.0}
# (hyperparameter, scale column) -> mean and standard deviation.
PUBLISHED = {
    ("learning_rate", "parameters"): (-0.3, 0.35),
    ("learning_rate", "tokens"): (0.0, 0.35),
    ("learning_rate", "compute"): (-0.15, 0.2),
    ("batch_size", "parameters"): (0.0, 0.25),
    ("batch_size", "tokens"): (0.5, 0.25),
    ("batch_size", "compute"): (0.3, 0.2),
}


def known_exponents(hyper: Sequence[str], over: Sequence[str], sd: float) -> tuple[Array, Array]:
    """Mean and standard deviation of every exponent's prior, each `(hyperparameters, scale columns)`.

    Args:
        sd: per nat of parameters, of the pairs of which nothing is published.
    """
    pairs = [[PUBLISHED.get((_column(name), _column(size)), (0.0, sd * _NATS.get(size, 1.0))) for size in over] for name in hyper]
    found = np.array(pairs, dtype=np.float64).reshape(len(hyper), len(over), 2)
    return found[..., 0], found[..., 1]


def _column(name: str) -> str:
    known = quantity(name)
    return known.column if known else name
