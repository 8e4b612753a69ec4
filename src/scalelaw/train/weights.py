"""The tensors a trial ends with, for runs that start from them. Trained again where they are not at hand: a spec decides them."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..trial import Status, TrialSpec
from .checkpoint import Checkpoint, read_arrays, write_arrays
from .recipe import Recipe

__all__ = ["folder", "of"]

Tensors = dict[str, NDArray[np.float32]]


def folder() -> Path:
    """Where tensors are kept between runs: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scalelaw" / "weights"


def of(spec: TrialSpec) -> Tensors:
    """Every tensor of the network that `spec` ends with, by name: the very one that its trial's loss is of.

    Raises:
        SpecError: the run diverges, so that there is nothing to start from.
    """
    found = _ended(spec)
    if found is None:
        raise SpecError("the run to start from diverges", "init_from", "Give it a lower learning rate")
    return found


@functools.lru_cache(maxsize=2)
def _ended(spec: TrialSpec) -> Tensors | None:
    """The tensors, None where the run diverges; those of the last two stay loaded."""
    from .loop import train_group, trials_of

    path, recipe = folder() / f"{spec.id}.npz", Recipe.of(spec)
    kept = read_arrays(path)
    if kept is not None and {tensor.name: tensor.shape for tensor in recipe.structure.tensors} == {
        name: values.shape for name, values in kept.items()
    }:
        return kept
    size, axis = recipe.family.group(dict(recipe.sizes)), recipe.family.group_axis
    keep = Checkpoint(folder() / "checkpoints", [spec.id])
    ran = train_group([recipe], size, keep)
    keep.drop()
    if trials_of([(spec, recipe)], ran, 0.0)[0].status is not Status.COMPLETE:
        return None
    whole = {name: np.asarray(values) for name, values in ran.parameters.items()}
    found = {name: values.take(0, axis(name)) if size > 1 else values for name, values in whole.items()}
    write_arrays(path, found)
    return found
