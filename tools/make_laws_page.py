"""Write docs/laws.md and its figures from the laws themselves. `--check` only says whether the page is up to date."""

from __future__ import annotations

import inspect
import math
import re
import sys
from pathlib import Path

import numpy as np

from scalelaw.figures import Axis, FigureData, Line, Mark, Note, Panel, Points, Role, Tick
from scalelaw.figures._scales import log_ticks, name_of, number, round_axis, spread_ticks
from scalelaw.laws import Law, Parameter, laws
from scalelaw.notation import QUANTITIES
from scalelaw.render import inline_svg

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "laws.md"
FIGURES = ROOT / "docs" / "figures" / "laws"

_ROUND = (0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)

HEAD = """# Laws

This page and its figures are made from the laws by `make docs`; a test holds it to the code. `scalelaw laws` lists them.

A law is one file in `src/scalelaw/laws/`, or an entry point `scalelaw.laws` of another package. `scalelaw fit DATA --law NAME`
and `scalelaw.fit(NAME, trials)` fit it. Parameters marked linear are solved for in closed form while the others are searched;
bounds are of the value. In the figures circles are the law's example, from whose predictions its contract test must recover the
parameters to 1e-6, and the lines are the law.

Unless a law says otherwise the fit minimises Hoffmann's Huber loss, {huber}.
"""

TAIL = """## One variable of two

A law over parameters alone means ample data, one over tokens alone ample size, and one over compute the best size for it.
`scalelaw.ample(trials, over="parameters")` leaves out the runs that the other variable holds back: it fits `chinchilla` to all,
and drops every run of whose reducible loss more than a tenth is owed to the other variable (along compute: every run that is more
than a hundredth above the least its compute can buy). What is dropped is counted in `message`; where fewer than four sizes are
left, or the runs cannot say what holds them back, the table is refused. The law over compute that `chinchilla` implies is
`saturating` with exponent alpha beta / (alpha + beta).

`scalelaw fit DATA --law LAW --over parameters` (and `tokens`, `compute`; `scalelaw.best_case` in Python) does so by itself
wherever the table has both variables and both vary, on the best case of each pair of them where something was tuned, and says
how many rows it left out (in JSON: `ample`, with `ground`, `kept`, `dropped`, `share`). Too few ample sizes are refused, with
what would be enough; `--all-rows` keeps every row. Where nothing can be dropped for a reason, nothing is: on one ladder, such
as 20 tokens to every parameter (tokens within a fifth of a power of parameters), a law of one variable is sound along that
ladder and counts what both do; rows that lie scattered and do not identify `chinchilla`, or the ratio of its two parts to a
factor e, are fitted unchecked. Either is said.

## One ladder of two variables

On a ladder with a fixed number of tokens per parameter, D = r N, the terms A N^-alpha and B D^-beta cannot be told apart. A law
of both is then NOT_IDENTIFIED, its message names the parameters that are open, and gives what the runs do identify: the law
E + K N^-a along the ladder with fitted values (in JSON: `certificate.combined`). With one exponent for both, `chinchilla_shared`
or `overtraining`, that exponent is identified and A + B r^-alpha is, but neither coefficient alone.

## Errors

`Fit.stderr` and `Fit.interval` take the sizes as they are: other luck at the same runs. `scalelaw.resample.bootstrap` also counts
which sizes were run, by drawing whole cells, as most published errors do, and `resample.profile` gives intervals that need not be
symmetric. On Chinchilla's 240 points the error of beta is 0.014 by the first, 0.020 by the second.
"""


def text() -> str:
    """The page."""
    parts = [HEAD.format(huber=laws["chinchilla"].objective.name)]
    parts += ["| law | formula | over |", "|---|---|---|"]
    for name in laws.names():
        parts.append(f"| [{name}](#{name}) | `{laws[name].formula}` | {_inputs(laws[name])} |")
    parts.append("")
    parts += [_section(laws[name]) for name in laws.names()]
    return "\n".join(parts) + "\n" + TAIL


def _section(law: Law) -> str:
    named = {item.name for item in law.parameters}
    symbols = ", ".join(f"{symbol}: {meaning}" for symbol, meaning in law.symbols.items() if symbol not in named)
    lines = [
        f"## {law.name}",
        "",
        inspect.cleandoc(type(law).__doc__ or ""),
        "",
        f"```\n{law.formula}\n```",
        "",
        f"{symbols}.",
        "",
        f"Predicts {name_of(law.output)} over {_inputs(law)}; minimises {law.objective.name}. Source: {law.reference}.",
        "",
        "| parameter | meaning | unit | bounds | linear | example |",
        "|---|---|---|---|---|---|",
        *(_row(law, item) for item in law.parameters),
        "",
        f"![{_figure(law).description}](figures/laws/{law.name}.svg)",
        "",
    ]
    return "\n".join(lines)


def _row(law: Law, item: Parameter) -> str:
    low, high = _bound(item.lower), _bound(item.upper)
    linear = "linear" if item.linear else ""
    value = f"{law.example.theta[item.name]:g}"
    return f"| {item.name} | {item.meaning} | {item.unit} | {low} to {high} | {linear} | {value} |"


def _bound(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "-∞" if value < 0 else "∞"


def _inputs(law: Law) -> str:
    return ", ".join("any scale column" if name == "x" else name_of(name) for name in law.inputs)


def _figure(law: Law) -> FigureData:
    """The example and its law: along the first input (tokens where data repeat), a line for each of a few values of another."""
    x = dict(law.example.x)
    first = "tokens" if "dataset_size" in x else next(iter(x))
    others = [name for name in x if name != first]
    # With three inputs the one that is neither drawn along nor coloured keeps its middle value.
    coloured = others[-1] if others else None
    held = {name: float(np.unique(x[name])[len(np.unique(x[name])) // 2]) for name in others if name != coloured}
    keep = np.ones(len(x[first]), dtype=bool)
    for name, value in held.items():
        keep &= np.isclose(x[name], value)
    levels = np.unique(x[coloured][keep]) if coloured else np.array([np.nan])
    levels = levels[[0, len(levels) // 2, -1]] if len(levels) > 3 else levels
    log = law.inputs != ("loss",)
    low, high = float(x[first][keep].min()), float(x[first][keep].max())
    along = np.geomspace(low, high, 49) if log else np.linspace(low, high, 49)
    marks: list[Mark] = []
    heights: list[float] = []
    for level in levels:
        place = {**{name: np.full_like(along, value) for name, value in held.items()}, first: along}
        here = keep.copy()
        if coloured:
            place[coloured] = np.full_like(along, level)
            here &= x[coloured] == level
        line = law.predict(law.example.theta, place)
        points = law.predict(law.example.theta, {name: column[here] for name, column in x.items()})
        marks.append(Line(Role.TUNED_LAW, _plain(along), _plain(line)))
        marks.append(Points(Role.BEST, _plain(x[first][here]), _plain(points)))
        if coloured:
            word = " tokens" if level == levels[0] and coloured == "tokens" else ""
            marks.append(Note(Role.BEST, high, float(line[-1]), f" {number(float(level), 2)}{word}", "right"))
        heights += [*line, *points]
    more = "" if coloured in (None, "tokens") else f", by {name_of(coloured)}"
    title = f"{law.name}{_held(held)}{more}"
    span = high / low
    axis = (
        Axis(_axis_name(first), low / span**0.04, high * span**0.04, "log", log_ticks(low / span**0.04, high * span**0.04))
        if log
        else Axis(_axis_name(first), low, high, "linear", spread_ticks(low, high))
    )
    y = round_axis(_unit(law.output), heights, most=4)
    low, high = min(heights) / 1.1, max(heights) * 1.1
    ticks = tuple(Tick(at, number(at)) for at in _ROUND if low <= at <= high) or log_ticks(low, high)
    if log and high > 2.6 * low > 0:
        y = Axis(y.label, low, high, "log", ticks)
    panel = Panel(law.name, title, axis, y, tuple(marks))
    described = f"{law.name}: {law.formula}, drawn for its example"
    return FigureData(f"law-{law.name}", title, (panel,), description=described)


def _held(held: dict[str, float]) -> str:
    return "".join(f" at {number(value)} {name_of(name)}" for name, value in held.items())


def _axis_name(column: str) -> str:
    return "x, any scale column" if column == "x" else name_of(column)


def _unit(column: str) -> str:
    unit = QUANTITIES[column].unit if column in QUANTITIES else ""
    return f"{name_of(column)} ({unit})" if unit not in ("", "1") else name_of(column)


def _plain(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def figure_text(law: Law) -> str:
    """A law's figure as a small SVG file: a tenth of a point is finer than it is looked at, and comments say nothing."""
    drawn = inline_svg(_figure(law)).replace("<svg ", '<svg width="456" ', 1)
    drawn = re.sub(r"<!--.*?-->", "", drawn, flags=re.DOTALL)
    # The words stand on bare paper, where their halo is not seen.
    drawn = re.sub(r"<path[^>]*stroke: #ffffff; stroke-width: 2\.4\"/>", "", drawn)
    numbers = r' (?:d|x|y)="[^"]*"|translate[(][^)]*[)]'
    drawn = re.sub(numbers, lambda match: re.sub(r"(\d\.\d)\d+", r"\1", re.sub(r"\s+", " ", match[0])), drawn)
    drawn = re.sub(r' style="[^"]*"', lambda match: match[0].replace(": ", ":").replace("; ", ";"), drawn)
    # In path data a letter separates as well as a space does.
    drawn = re.sub(r'(?<= d=")[^"]*', lambda match: re.sub(r" ?([A-Za-z]) ", r"\1", match[0]), drawn)
    return drawn + "\n"


def main() -> int:
    """Write the page and the figures, or with `--check` compare the page and look whether every figure is there."""
    new = text()
    if "--check" in sys.argv:
        missing = [name for name in laws.names() if not (FIGURES / f"{name}.svg").is_file()]
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == new and not missing
        if not same:
            print("docs/laws.md is not what the laws say; run: make docs", file=sys.stderr)
        return not same
    FIGURES.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(new, encoding="utf-8")
    for name in laws.names():
        (FIGURES / f"{name}.svg").write_text(figure_text(laws[name]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
