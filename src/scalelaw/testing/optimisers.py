"""The contract of every optimiser. A plug-in's own tests call `check_optimiser`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..train.models import Kind
from ..train.optimisers import Optimiser

__all__ = ["check_optimiser"]


def check_optimiser(optimiser: Optimiser, rate: float = 0.05, steps: int = 400) -> None:
    """Assert what the trainer relies on: it brings a quadratic down, and decay shrinks what no gradient moves.

    Args:
        optimiser: the member. rate, steps: enough to get near the bottom of 1/2 |p|^2 from entries of about 1.

    Raises:
        AssertionError: the optimiser breaks the contract; the message says how.
    """
    assert optimiser.name, "an optimiser has a name, its file's"
    assert optimiser.summary, "an optimiser says what it is"
    assert optimiser.slots >= 0, "an optimiser says how many arrays it keeps"
    for kind in Kind:
        own = optimiser.of(kind)
        assert set(own.knobs) <= set(optimiser.knobs), "an optimiser names the knobs of those it hands tensors to"
        start = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
        end = _walk(own, {**optimiser.knobs, "learning_rate": rate, "weight_decay": 0.0}, start, steps, pull=1.0)
        assert np.isfinite(end).all(), "steps are numbers"
        assert float(np.square(end).sum()) < 0.2 * float(np.square(start).sum()), "an optimiser goes downhill"
        shrunk = _walk(own, {**optimiser.knobs, "learning_rate": rate, "weight_decay": 0.1}, start, 50, pull=0.0)
        assert float(np.square(shrunk).sum()) < float(np.square(start).sum()), "weight decay shrinks weights"


def _walk(optimiser: Optimiser, rates: dict[str, float], start: Any, steps: int, pull: float) -> Any:
    import jax
    import jax.numpy as jnp

    arrays = {name: jnp.float32(value) for name, value in rates.items()}
    decay = arrays["learning_rate"] * arrays["weight_decay"]

    def step(carry: Any, count: Any) -> tuple[Any, None]:
        slots, parameter = carry
        return optimiser.update({**arrays, "decay": decay, "step": count}, pull * parameter, slots, parameter), None

    carry: Any = ((jnp.zeros_like(start),) * optimiser.slots, jnp.asarray(start))
    (_, end), _ = jax.lax.scan(step, carry, jnp.arange(1, steps + 1, dtype=jnp.float32))
    return np.asarray(end)
