"""The tensors a trial ends with, for runs that start from them. Trained again where they are not at hand: a spec decides them."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..trial import TrialSpec
from .checkpoint import Checkpoint
from .recipe import Recipe

__all__ = ["folder", "of"]

Tensors = dict[str, NDArray[np.float32]]


def folder() -> Path:
    """Where tensors are kept between runs: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scalelaw" / "weights"


def of(spec: TrialSpec) -> Tensors:
    """Every tensor of the network that `spec` ends with, by name.

    Raises:
        SpecError: the run diverges, so that there is nothing to start from.
    """
    from .loop import train_group

    path = folder() / f"{spec.id}.npz"
    with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile), np.load(path) as kept:
        return {name: kept[name] for name in kept.files}
    recipe = Recipe.of(spec)
    ran = train_group([recipe], 1, Checkpoint(None, ()))
    found = {name: np.asarray(values) for name, values in ran.parameters.items()}
    if not all(np.isfinite(values).all() for values in found.values()):
        raise SpecError("the run to start from diverges", "init_from", "Give it a lower learning rate")
    with contextlib.suppress(OSError):  # a cache that cannot be written is done without
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **found)
        part.replace(path)
    return found
