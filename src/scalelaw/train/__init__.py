"""The built-in trainer (extra `train`): JAX on one thread per worker. Importing this package does not import JAX."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import MissingExtraError
from ..trial import Trial, TrialSpec
from .recipe import Recipe

__all__ = ["Recipe", "train", "train_batch"]


def train(spec: TrialSpec, *, witnesses: bool = False) -> Trial:
    """Train one trial. See `train_batch`."""
    return train_batch([spec], witnesses=witnesses)[0]


def train_batch(specs: Sequence[TrialSpec], *, witnesses: bool = False) -> list[Trial]:
    """Train trials and give their results in the order of `specs`.

    Trials that differ only in numbers of the step (learning_rate, weight_decay, gradient_clip, dropout, init_scale and the
    optimiser's own) see the same data and are trained side by side in one compiled call where that is faster. On the processor
    a trial's result does not depend on which others share the call: it is the same to the bit alone, in any company and in any
    order, on one machine. On an accelerator it is the same up to rounding.

    Args:
        specs: what to train.
        witnesses: whether to look inside while training: `Trial.metrics` then holds update ratios, activation sizes, how far
            Adam's denominators are above epsilon (see `train/witness.py`).

    Raises:
        SpecError: a spec that cannot be trained; nothing has been trained then.
        MissingExtraError: JAX is not installed.
    """
    try:
        from .loop import Asked, run_all
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("jax", "jaxlib"):
            raise
        raise MissingExtraError("jax", "train", "training") from error
    return run_all(specs, Asked(witnesses=witnesses))
