"""What training a spec costs, before it is trained. Standard library and NumPy only: the driver counts without JAX."""

from __future__ import annotations

from ..trial import TrialSpec
from .models import models
from .recipe import Recipe

__all__ = ["COMPUTE_RULE", "flops", "group_size"]

COMPUTE_RULE = (
    "matrix products of the structure, forward and back, multiply and add apart; none into data; attention and vocabulary counted"
)


def flops(spec: TrialSpec) -> float:
    """C of a spec, as its trial will report it: see `Structure.flops`.

    Of its own training alone: what the run it starts from (`init_from`) cost is not in it. One such run serves many trials, and
    is counted as a trial of its own where a study trains it as one.

    Raises:
        SpecError: the trainer cannot train the spec.
    """
    recipe = Recipe.of(spec)
    recipe.loaded()
    return recipe.structure.flops(recipe.examples)


def group_size(spec: TrialSpec) -> int:
    """Networks per compiled call on one core. 1 for a spec that cannot be trained."""
    sizes = {key: value for key, value in spec.scale.items() if not isinstance(value, str)}
    if spec.model not in models or any(value is None and key not in sizes for key, value in models[spec.model].scales.items()):
        return 1
    family = models[spec.model]
    return family.group({key: int(sizes.get(key, value or 0)) for key, value in family.scales.items()})
