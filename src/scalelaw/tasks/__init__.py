"""What a network is trained on: one file is one task. Workers import this: standard library and NumPy only."""

from __future__ import annotations

from ..registry import OpenSet
from ._base import Task, TaskData

__all__ = ["Task", "TaskData", "tasks"]

tasks = OpenSet("scalelaw.tasks", __path__, "task", Task)
