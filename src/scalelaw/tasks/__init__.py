"""What a network is trained on: one file is one task. Workers import this: standard library and NumPy only."""

from __future__ import annotations

from ..registry import OpenSet
from ._base import Loss, Task, TaskData

__all__ = ["Loss", "Task", "TaskData", "tasks"]

tasks = OpenSet("scalelaw.tasks", __path__, "task", Task)
