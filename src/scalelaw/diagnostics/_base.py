"""`Diagnostic`: one question asked of the data before anybody believes a number from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..frontier import Frontier
from ..trials import Trials

__all__ = ["Case", "Diagnostic", "Finding", "listing"]


@dataclass(frozen=True)
class Finding:
    """What a diagnostic found, and what to do about it."""

    name: str
    message: str
    action: str

    def to_dict(self) -> dict[str, str]:
        """Plain values, for JSON."""
        return {"name": self.name, "message": self.message, "action": self.action}


@dataclass(frozen=True, eq=False)
class Case:
    """What a diagnostic looks at.

    Args:
        trials: all runs.
        frontier: what was made of them.
        at: the target, where there is one.
        checked: the largest ratio of sizes over which forecasts from these data were checked; None where none was.
    """

    trials: Trials
    frontier: Frontier
    at: Mapping[str, float] | None = None
    checked: float | None = None

    @property
    def over(self) -> tuple[str, ...]:
        """Scale columns."""
        return self.frontier.over


class Diagnostic(ABC):
    """Base of every diagnostic. A member is stateless.

    Attributes:
        name: the file's name.
        question: what it asks, in one line.
    """

    name: ClassVar[str]
    question: ClassVar[str]

    @abstractmethod
    def find(self, case: Case) -> Finding | None:
        """The finding, or None where there is nothing to say."""

    @abstractmethod
    def example(self) -> Case:
        """Data on which it has something to say."""

    def finding(self, message: str, action: str) -> Finding:
        """A finding in this diagnostic's name."""
        return Finding(self.name, message, action)


def listing(values: Iterable[Any], most: int = 4) -> str:
    """Values in a sentence, cut short."""
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
