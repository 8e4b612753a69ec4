"""What a person reads: sentences, compact tables, findings. No colour where stdout is no terminal or NO_COLOR is set."""

from __future__ import annotations

import functools
import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import typer

from ..errors import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ..frontier import Frontier
    from ..trials import Trials

__all__ = [
    "basis",
    "draw",
    "gap",
    "ignored",
    "interval",
    "note",
    "number",
    "places",
    "say",
    "screen",
    "show_findings",
    "spark",
    "table",
]

PIPED_WIDTH = 120
LONGEST_WORD = 24


class Finding(Protocol):
    """What a diagnostic says."""

    @property
    def name(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def action(self) -> str: ...


@functools.cache
def screen() -> Console:
    """The console on stdout."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, emoji=False, width=PIPED_WIDTH)


def gap() -> None:
    """An empty line, unless the last one is."""
    if not _State.empty:
        draw("")
    _State.empty = True


class _State:
    """Whether the last line on the screen is empty."""

    empty = True


def draw(what: RenderableType) -> None:
    """Print anything that rich can."""
    console = screen()
    _State.empty = False
    if console.is_terminal:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    # Rich fills lines up with spaces, which a file has no use for.
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def say(text: str, style: str = "") -> None:
    """Print a sentence, wrapped at the screen's width; brackets mean brackets."""
    from rich.text import Text

    draw(Text(text, style=style))


def note(text: str) -> None:
    """Tell something on the side, on stderr; wrapped where that is a terminal."""
    text = printable(text)
    wide = shutil.get_terminal_size().columns if sys.stderr.isatty() else 0
    typer.echo(textwrap.fill(text, wide, break_long_words=False) if wide > 0 else text, err=True)


def ignored(trials: Trials) -> None:
    """Tell on stderr what the reader should know of the data: columns that nobody claimed, rows that came twice."""
    for each in trials.notes:
        note(each)
    if trials.ignored:
        note(f"Ignored columns: {', '.join(trials.ignored)} (--map NAME=COLUMN uses one).")


def basis(edge: Frontier, asked: bool) -> None:
    """Say what the numbers stand on: the scale columns and why these, what was tuned, how many runs."""
    why = "as asked" if asked else "the column that varies" if len(edge.over) == 1 else "the columns that vary"
    runs = len(edge.source.finished)
    if edge.tuned:
        how = f"tuned over {', '.join(edge.hyper)}"
    else:
        how = f"at {places(edge.settings)}" if edge.settings else "as the rows stand"
    say(f"Over {', '.join(edge.over)} ({why}), {how}: {len(edge.trials)} sizes, {runs} finished runs.", "dim")


def number(value: Any, digits: int = 4) -> str:
    """A number with `digits` significant digits, plain where that is short; a dash where it is missing."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "-" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    text = f"{value:.{digits}g}"
    if "e" in text:
        if 1 <= abs(value) < 1e6:
            return f"{float(text):.0f}"
        mantissa, _, power = text.partition("e")
        return f"{mantissa}e{int(power)}"
    return text


def interval(low: Any, high: Any, digits: int = 4) -> str:
    """An interval in words; a dash where an end is missing."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "-"
    return f"{number(low, digits)} to {number(high, digits)}"


def spark(values: Sequence[float], width: int = 16) -> str:
    """A curve as a row of bars, each the last value of its part; blank where that is not finite."""
    ends = [values[(place + 1) * len(values) // width - 1] for place in range(width)] if len(values) > width else list(values)
    finite = [each for each in ends if math.isfinite(each)]
    low, span = min(finite, default=0.0), (max(finite, default=0.0) - min(finite, default=0.0)) or 1.0
    return "".join("▁▂▃▄▅▆▇█"[round(7 * (each - low) / span)] if math.isfinite(each) else " " for each in ends)


def places(point: Any) -> str:
    """A point as `width 8192, depth 3`."""
    return ", ".join(f"{name} {number(value)}" for name, value in point.items())


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[str] = (), title: str | None = None) -> None:
    """Print a compact table; numbers sit right, the columns named in `left` sit left."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False, show_edge=False)
    rows = list(rows)
    for place, name in enumerate(head):
        # Numbers stay whole; words may be wrapped, between words.
        words = [word for row in rows for word in row[place].split()] if name in left else []
        least = min(max(map(len, words), default=0), LONGEST_WORD)
        grid.add_column(
            name, justify="left" if name in left else "right", overflow="fold", no_wrap=name not in left, min_width=least
        )
    for row in rows:
        grid.add_row(*(Text(printable(cell)) for cell in row))
    gap()
    draw(grid)
    gap()


def show_findings(findings: Iterable[Finding]) -> None:
    """Print each finding with its next action."""
    from rich.padding import Padding
    from rich.text import Text

    for each in findings:
        line = Text.assemble((f"{each.name}: ", "bold yellow"), each.message, " ", (each.action, "italic"))
        draw(Padding(line, (0, 0, 0, 2)))
