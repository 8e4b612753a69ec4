"""The built-in trainer: the networks of `train/` on the tasks of `tasks/`, in JAX."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import spool
from ..errors import InputError, MissingExtraError, StudyError, one_line
from ..train.count import flops, group_size
from ..train.recipe import Recipe
from ..trial import Status, Trial, TrialSpec
from ._base import Order, Trainer

__all__ = ["Builtin"]

# A training step of a tiny network costs its dispatch, not its FLOPs: about what a core does in 50 microseconds.
STEP_FLOPS = 5e6


class Builtin(Trainer):
    """MLPs and transformers of `train/models` on the tasks of `tasks/`."""

    name = "builtin"
    summary = "scalelaw's own networks on its own tasks, in JAX"
    devices = True

    def resolved(self, settings: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """Raises StudyError where there is any setting: its trials say all of it themselves."""
        del folder
        for key in settings:
            if key != "name":
                why = "halving, since it trains the rates of a size side by side" if key == "halving" else f"the key {key!r}"
                mend = "Leave it away, or train with a function or a command of yours"
                raise StudyError(f"the built-in trainer does not take {why}", "trainer", mend)
        return dict(settings)

    def check(self, spec: TrialSpec, settings: Mapping[str, Any]) -> None:
        """Raises SpecError: counting reads every part of the spec."""
        self.flops(spec, settings)

    def flops(self, spec: TrialSpec, settings: Mapping[str, Any]) -> float:
        """Counted from the structure; see `train/count.py`."""
        del settings
        return flops(spec)

    def work(self, spec: TrialSpec, settings: Mapping[str, Any], flops: float | None = None) -> float:
        """FLOPs, and the dispatch of each step."""
        steps = spec.scale.get("steps", 0)
        return (self.flops(spec, settings) if flops is None else flops) + STEP_FLOPS * (
            0.0 if isinstance(steps, str) else float(steps)
        )

    def group(self, spec: TrialSpec, settings: Mapping[str, Any]) -> int:
        """Networks per compiled call on one core."""
        del settings
        return group_size(spec)

    def require(self) -> None:
        """Raises MissingExtraError without JAX."""
        if importlib.util.find_spec("jax") is None:
            raise MissingExtraError("jax", "train", "training")

    def trained(self, specs: Sequence[TrialSpec], order: Order) -> Iterator[Trial]:
        """Trials in groups; long runs keep where they are in the spool's folder `checkpoints`, and go on from there."""
        _use_cache()
        from ..train.loop import Asked, stream

        asked = Asked(order.witnesses, spool.checkpoints(order.folder), order.seconds)
        good: list[TrialSpec] = []
        for spec in specs:
            try:
                Recipe.of(spec).loaded()
                good.append(spec)
            except InputError as error:
                yield Trial(spec=spec, status=Status.FAILED, error=one_line(error))
        left = {spec.id: spec for spec in good}
        try:
            for trial in stream(good, asked):
                del left[trial.id]
                yield trial
        except Exception as error:  # whatever goes wrong in training is a result of its trial
            if len(good) > 1:
                for spec in left.values():
                    yield from self.trained([spec], order)
            else:
                yield from (Trial(spec=spec, status=Status.FAILED, error=one_line(error)) for spec in left.values())


@functools.cache
def _use_cache() -> None:
    """Keep compiled programs between processes in the user's cache folder; without one that can be written, do without."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scalelaw" / "jax" / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return
        import jax
    except (OSError, RuntimeError, ModuleNotFoundError):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _machine() -> str:
    """Tells machines apart by what their processor can do: a home folder may be shared by different ones."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        kinds = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
        return hashlib.sha256("\n".join(kinds).encode()).hexdigest()[:12]
    return hashlib.sha256(f"{platform.node()} {platform.machine()}".encode()).hexdigest()[:12]
