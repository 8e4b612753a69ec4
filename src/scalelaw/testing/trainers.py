"""The contract of every trainer. A plug-in's own tests call `check_trainer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import spool
from ..errors import StudyError
from ..trainers import Order, Trainer
from ..trial import Status, Trial, TrialSpec

__all__ = ["check_trainer"]


def check_trainer(trainer: Trainer, settings: Mapping[str, Any], spec: TrialSpec, folder: Path) -> Trial:
    """Assert what workers and the driver rely on, by training a trial twice.

    Args:
        trainer: the member. settings: a `[trainer]` table for it, with paths relative to `folder`.
        spec: a small trial that it can train; its seed decides its result.
        folder: a folder in which a spool can be made.

    Returns:
        The trial.

    Raises:
        AssertionError: the trainer breaks the contract; the message says how.
    """
    assert trainer.name, "a trainer has a name, its file's"
    assert trainer.summary, "a trainer says what it trains"
    resolved = trainer.resolved(settings, folder)
    assert trainer.resolved(resolved, folder / "elsewhere") == resolved, "resolved settings are resolved once and for all"
    assert _refuses(trainer, {**settings, "no_such_key": 1}, folder), "an unknown key is told as a StudyError"
    trainer.require()
    trainer.check(spec, resolved)
    cost = trainer.flops(spec, resolved)
    assert cost is None or cost > 0, "a trial's FLOPs are above 0, or None where they cannot be told"
    work = trainer.work(spec, resolved)
    assert work is None or work >= (cost or 0), "a trial's work is its FLOPs and the overhead of its steps"
    assert trainer.group(spec, resolved) >= 1, "a trainer trains at least one trial at once"
    order = Order(folder / "spool", resolved, seconds=0.0)
    other = replace(spec, seed=spec.seed + 1)
    found = list(trainer.trained([spec, other], order))
    assert {trial.id for trial in found} == {spec.id, other.id}, "every spec has one result"
    (again,) = trainer.trained([spec], order)
    first = next(trial for trial in found if trial.id == spec.id)
    assert first.status in (Status.COMPLETE, Status.DIVERGED), f"the trial can be trained: {first.error}"
    assert first.loss == again.loss, "a spec decides its result"
    assert (first.compute is None) == (first.compute_rule is None), "a trial says how its FLOPs were counted"
    assert cost is None or first.compute == cost, "the driver counts as the trainer does"
    spool.write(order.folder, first)
    assert spool.read(next(spool.scan(order.folder))) == first, "a result survives its file"
    return first


def _refuses(trainer: Trainer, settings: Mapping[str, Any], folder: Path) -> bool:
    try:
        trainer.resolved(settings, folder)
    except StudyError:
        return True
    return False
