"""What trains a trial: one file is one kind of trainer. A study's `[trainer]` table chooses; without one it is the built-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import StudyError, near
from ..registry import OpenSet
from ._base import Order, Trainer
from ._record import Record, Report, Stopped
from ._rules import Rules, rules

__all__ = ["BUILTIN", "Order", "Record", "Report", "Rules", "Stopped", "Trainer", "rules", "trainer_of", "trainers"]

trainers = OpenSet("scalelaw.trainers", __path__, "trainer", Trainer)

BUILTIN = "builtin"


def trainer_of(settings: Mapping[str, Any], where: str = "trainer") -> Trainer:
    """The trainer that a study's `[trainer]` table means.

    Its key `name` names a member; without that the key that is a member's name does: `command = [...]`, `function = "..."`.
    An empty table means the built-in trainer.

    Raises:
        StudyError: the table names none, or two. UnknownNameError: no such trainer.
    """
    if not settings:
        return trainers[BUILTIN]
    if "name" in settings:
        return trainers[str(settings["name"])]
    named = [key for key in settings if key in trainers]
    if len(named) != 1:
        none = f"names no trainer, and the built-in one takes no {', '.join(settings)}"
        told = "names two trainers: " + " and ".join(named) if named else none
        close = None if named else next((each for key in settings if (each := near(key, trainers.names()))), None)
        hint = f"Did you mean {close!r}? " if close else ""
        raise StudyError(told, where, f'{hint}Give one: command = ["python", "train.py", ...] or function = "train.py:train"')
    return trainers[named[0]]
