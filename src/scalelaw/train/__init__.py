"""The built-in trainer (extra `train`): JAX on one thread per worker. Importing this package does not import JAX."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import MissingExtraError
from ..trial import Trial, TrialSpec
from .recipe import Recipe

__all__ = ["Recipe", "train", "train_batch"]


def train(spec: TrialSpec) -> Trial:
    """Train one trial. See `train_batch`."""
    return train_batch([spec])[0]


def train_batch(specs: Sequence[TrialSpec]) -> list[Trial]:
    """Train trials and give their results in the order of `specs`.

    Trials that differ only in their rates (learning_rate, beta1, beta2, epsilon, weight_decay) see the same data and are
    trained side by side in one compiled call where that is faster. A trial's result does not depend on which others share
    the call: it is the same to the bit alone, in any company and in any order, on one machine.

    Raises:
        SpecError: a spec that cannot be trained; nothing has been trained then.
        MissingExtraError: JAX is not installed.
    """
    try:
        from .loop import run_all
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("jax", "jaxlib"):
            raise
        raise MissingExtraError("jax", "train", "training") from error
    return run_all(specs)
