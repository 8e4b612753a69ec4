"""`Figure` and `FigureData`: what a figure shows, as numbers and words; how it looks is the painter's business.

A mark says what it stands for (its `Role`) and, where colour carries a quantity, the value of that quantity; the painter owns
colours, line widths and fonts. All of it is plain numbers and text: `to_dict` gives JSON that a web page or a test can read.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = [
    "Axis",
    "Band",
    "CellState",
    "Cells",
    "Figure",
    "FigureData",
    "Line",
    "Mark",
    "Note",
    "Panel",
    "Points",
    "Ramp",
    "Role",
    "Rule",
    "Shape",
    "Tick",
]

Numbers: TypeAlias = tuple[float, ...]


class Role(enum.Enum):
    """What a mark stands for. The painter maps a role to colour, weight and marker."""

    RUN = "training runs: the mean over seeds at one setting"
    BEST = "the best case of a size: the loss, or the rate, when the hyperparameter is tuned"
    UNSEEN = "the best case of a size that no law was fitted to"
    TUNED_LAW = "the law of the best cases"
    FIXED_LAW = "the law of the runs at one fixed setting"
    FORECAST = "what the law says about the target, with its interval"
    MISSED = "a run that is off the law"
    JUDGED = "a run that was judged and is not off the law"
    KEPT = "the setting that was kept from the small runs"
    CLIFF = "where half the runs fail"
    IDEAL = "what forecasts would show whose intervals hold as often as they say"
    OTHER = "another method, for comparison"
    FAILED = "settings that diverged, stayed at chance, or ended far above the best case"
    OFFER = "runs that might be made, coloured by what they are worth"
    CHOSEN = "runs that a plan makes next, and where it ends"


class Shape(enum.Enum):
    """How one point of a set differs from the others."""

    CLOSED = "measured"
    OPEN = "measured, but not used by the law"
    LOW = "at the low edge of its grid: the true value is at most this"
    HIGH = "at the high edge of its grid: the true value is at least this"


class CellState(enum.Enum):
    """What is known of one cell of a heat map."""

    MEASURED = "every run finished"
    CHANCE = "no run left the loss of guessing"
    PARTLY = "some seeds diverged; the value is the mean of the others"
    DIVERGED = "every run diverged"
    MISSING = "no run has been made, or none left a result"


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Axis:
    """One axis: what it measures, its limits, and `scale`, which is linear, log or cells (0, 1, 2, ... are cell centres)."""

    label: str
    low: float
    high: float
    scale: str = "linear"
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True)
class Ramp:
    """The quantity that colour carries in a panel.

    Args:
        name: which of the painter's ramps: `rate`, `size`, `loss` or `gain`. One quantity keeps one ramp in every panel.
        label: what it measures.
        low, high: the values at its ends.
        scale: linear or log.
        ticks: labelled values.
    """

    name: str
    label: str
    low: float
    high: float
    scale: str = "linear"
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True)
class Points:
    """Points, with intervals `low` to `high` in y where these are given; NaN where a point has none.

    `values` are the values on the panel's ramp that colour them; empty where the role alone decides.
    """

    kind: ClassVar[str] = "points"
    role: Role
    x: Numbers
    y: Numbers
    low: Numbers = ()
    high: Numbers = ()
    values: Numbers = ()
    shapes: tuple[Shape, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class Line:
    """A line through its points, broken at NaN. `value` colours it on the panel's ramp."""

    kind: ClassVar[str] = "line"
    role: Role
    x: Numbers
    y: Numbers
    value: float | None = None
    label: str = ""


@dataclass(frozen=True)
class Band:
    """The region between `low` and `high`."""

    kind: ClassVar[str] = "band"
    role: Role
    x: Numbers
    low: Numbers
    high: Numbers
    label: str = ""


@dataclass(frozen=True)
class Cells:
    """A heat map: `values[row][column]` with its state and the number of runs behind it; NaN where there is no loss."""

    kind: ClassVar[str] = "cells"
    role: Role
    columns: Numbers
    rows: tuple[Numbers, ...]
    values: tuple[Numbers, ...]
    states: tuple[tuple[CellState, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    label: str = ""


@dataclass(frozen=True)
class Rule:
    """A straight line across the panel where `axis` ("x" or "y") equals `at`."""

    kind: ClassVar[str] = "rule"
    role: Role
    axis: str
    at: float
    label: str = ""


@dataclass(frozen=True)
class Note:
    """Words at a point: on its `side` (left, right, above or below)."""

    kind: ClassVar[str] = "note"
    role: Role
    x: float
    y: float
    text: str
    side: str = "right"


Mark: TypeAlias = Points | Line | Band | Cells | Rule | Note


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Args:
        name: which panel.
        title: its message, in words.
        x, y: the axes.
        marks: from the back to the front.
        ramp: what colour carries, if anything.
        legend: the corner that is free for a legend of the labelled marks, such as `lower left`; empty for none.
        letter: a, b, c, ... where a figure has several.
    """

    name: str
    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    ramp: Ramp | None = None
    legend: str = ""
    letter: str = ""

    def marks_of(self, role: Role, kind: type[Any] | None = None) -> list[Any]:
        """The marks of one role, and of one type where it is given."""
        return [mark for mark in self.marks if mark.role is role and (kind is None or isinstance(mark, kind))]


@dataclass(frozen=True)
class FigureData:
    """A figure as numbers: panels in reading order, `columns` of them abreast.

    `description` says in one or two sentences what is to be seen, for those who cannot see it.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    columns: int = 1
    description: str = ""

    def panel(self, name: str) -> Panel:
        """The panel of that name.

        Raises:
            KeyError: the figure has none.
        """
        for each in self.panels:
            if each.name == name:
                return each
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: enums by name, every mark with its `kind`, a number that is not finite as None."""
        plain: dict[str, Any] = _plain(self)
        return plain


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kind: dict[str, Any] = {"kind": value.kind} if isinstance(value, Mark) else {}
        return kind | {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


class Figure(ABC):
    """Base of every figure. A member sets `name` (its file's name) and `summary`, and computes its numbers in `data`."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def data(self, trials: Trials, *, forecast: Forecast | None = None, verdicts: Iterable[Verdict] = ()) -> FigureData:
        """The numbers of the figure.

        Args:
            trials: every run to show, including those at sizes that no law was fitted to.
            forecast: what was inferred from the smaller runs; its laws are drawn where it is given.
            verdicts: on runs at the target; a run that is off the law is drawn in red.

        Raises:
            DataError: the trials lack what the figure is about, for example a learning rate that varies.
        """
