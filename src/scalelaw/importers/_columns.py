"""From the columns of any source to a table of trials: which column is which quantity, and whether every cell makes sense."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import DataError, near, printable
from ..notation import HYPERPARAMETERS, QUANTITIES, SCALES, match_columns, quantity
from ..trial import Status
from ..trials import Trials
from ._units import COUNTS, count_in, header_unit, mapped_unit

__all__ = ["Source", "as_number", "names_in", "number_in", "parse_mapping", "tabulate"]

MISSING = frozenset({"", "-", "na", "n/a", "<na>", "null", "none", "missing"})
NOT_FINITE = frozenset({"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Columns that are taken for their quantity only if they hold a number; `warmup` is a share in one table and 'long' in another.
LENIENT = frozenset(HYPERPARAMETERS) - {"learning_rate", "batch_size"}
# What trackers call the ways a run can end.
STATES: Mapping[str, Status] = {
    **{each.name.lower(): each for each in Status},
    **dict.fromkeys(("completed", "finished", "success", "succeeded", "done", "ok"), Status.COMPLETE),
    **dict.fromkeys(("crashed", "fail", "error", "errored"), Status.FAILED),
    **dict.fromkeys(("killed", "preempted", "timeout", "cancelled", "canceled"), Status.LOST),
    **dict.fromkeys(("running", "stopped", "unfinished"), Status.PRUNED),
}


@dataclass(frozen=True)
class Source:
    """Cells as a file holds them.

    Args:
        columns: cells by column name, all of one length: text, numbers, or None where a cell is empty.
        path: for messages.
        lines: the line of the file on which each row begins; empty where rows have no lines.
        decimal_comma: numbers in text may be written 0,5.
        units: what a number in a column is to be multiplied with, where that is not 1.
    """

    columns: Mapping[str, Sequence[Any]]
    path: str
    lines: Sequence[int] = ()
    decimal_comma: bool = False
    units: Mapping[str, float] = field(default_factory=dict[str, float])

    def at(self, row: int, column: str) -> str:
        """Where a cell stands, for messages. `row` counts from 0."""
        line = f" (line {self.lines[row]})" if self.lines else ""
        return f"{self.path}: row {row + 1}{line}, column {column!r}"


def tabulate(source: Source, mapping: Mapping[str, str] | None = None, keep: Collection[str] = ()) -> Trials:
    """The table of trials in `source`.

    A loss that is NaN or infinite is a DIVERGED run, an empty one a FAILED run; both rows are kept. Rows that are equal in every
    column of the source are one run that was written down twice: one is kept, and a note says how many were not.

    Raises:
        DataError: no rows, no loss column, a mapped column that does not exist, or a cell that its quantity cannot be.
    """
    rows = len(next(iter(source.columns.values()), ()))
    if not rows:
        raise DataError("the file holds no row of measurements", source.path, "Give a table with one row per run")
    found, ignored, units = _claims(source, mapping or {})
    source, notes = _once(replace(source, units=units))
    notes = (*notes, *(f"{column!r} is read in units of {factor:g}." for column, factor in units.items()))
    table: dict[str, Any] = {}
    for name, column in found.items():
        cells = source.columns[column]
        if name in QUANTITIES and QUANTITIES[name].text:
            table[name] = [None if _missing(cell) else printable(str(cell)) for cell in cells]
        elif name in LENIENT and name not in (mapping or {}) and _all_words(cells):
            ignored = (*ignored, column)
            notes = (*notes, f"The column {column!r} holds words, so it is not taken for {name}.")
        else:
            table[name] = [_number(source, row, column, name) for row in range(len(cells))]
    for column in keep:
        if column in source.columns and column not in table:
            table[column] = _guess(source, column)
            ignored = tuple(name for name in ignored if name != column)
    _judge(source, table, found)
    return replace(Trials.from_columns(table, source.path, ignored), notes=notes)


def parse_mapping(given: Mapping[str, str] | str | Path) -> dict[str, str]:
    """The columns by quantity that `--map` gives: `loss=final_loss,parameters=params`, or a TOML, JSON or text file of those.

    `tokens=seen:B` is a column of billions. `step` is known here besides the quantities: the step of a record.

    Raises:
        DataError: it cannot be read, or a name on the left is no quantity.
    """
    if isinstance(given, Mapping):
        pairs: Mapping[Any, Any] = given
    elif "=" in str(given) and not _is_file(str(given)):
        pairs = _pairs(re.split(r"[,\n]", str(given)), "--map")
    else:
        pairs = _read_mapping(Path(given))
    named: dict[str, str] = {}
    for key, column in pairs.items():
        known = quantity(str(key))
        if known is None and key != "step":
            close = near(str(key), QUANTITIES)
            hint = f"Did you mean {close!r}?" if close else f"Known: {', '.join(QUANTITIES)}"
            raise DataError(f"{key!r} is no quantity", "--map", f"Write quantity=column. {hint}")
        if not isinstance(column, str) or not column:
            raise DataError(f"no column is given for {key!r}", "--map", "Write quantity=column, for example loss=final_loss")
        name = known.column if known else "step"
        if other := next((each for each, given in named.items() if given == column and each != name), None):
            mend = "Give each quantity a column of its own"
            raise DataError(f"the column {column!r} cannot be both {other} and {name}", "--map", mend)
        named[name] = column
    return named


def names_in(where: str) -> set[str]:
    """The names that a row filter mentions; none where it does not parse, which `Trials.where` then says."""
    try:
        tree = ast.parse(where.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


# ---- which column is which ----------------------------------------------------------------------------------------------


def _claims(source: Source, mapping: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...], dict[str, float]]:
    """(column by quantity, columns nobody claimed, units). What `mapping` says goes before what names suggest."""
    names = list(source.columns)
    explicit = {name: _resolve(column, name, source) for name, column in mapping.items()}
    units = {
        explicit[name]: header_unit(column)[1] if column in source.columns else mapped_unit(column)[1]
        for name, column in mapping.items()
        if name in COUNTS
    }
    stems: dict[str, str] = {}
    for name in names:
        stem, factor = header_unit(name)
        if name not in explicit.values() and stems.setdefault(stem, name) == name:
            units[name] = factor
    matched = {name: stems[stem] for name, stem in match_columns(stems)[0].items()}
    found = {**{name: column for name, column in matched.items() if name not in explicit}, **explicit}
    if "loss" not in found:
        guess = next((name for name in names if "loss" in name.lower()), "final_loss")
        listed = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
        raise DataError("there is no loss column", source.path, f"Name it with --map loss={guess}. The columns are: {listed}")
    order = [name for name in QUANTITIES if name in found]
    claimed = {found[name] for name in order} | {explicit[name] for name in explicit}
    ignored = tuple(name for name in names if name not in claimed)
    used = {column: factor for column, factor in units.items() if factor != 1.0 and column in claimed}
    return {name: found[name] for name in order}, ignored, used


def _resolve(column: str, name: str, source: Source) -> str:
    """The source's column that a mapping means: by its exact name, else by the quantity it is a name of."""
    if column not in source.columns and name in COUNTS:
        column, _ = mapped_unit(column)
    if column in source.columns:
        return column
    known = quantity(column)
    for each in source.columns:
        if known is not None and quantity(each) is known:
            return each
    close = near(column, source.columns)
    hint = f"Did you mean {close!r}? The columns are" if close else "The columns are"
    raise DataError(f"there is no column {column!r} to take as {name}", source.path, f"{hint}: {', '.join(source.columns)}")


def _once(source: Source) -> tuple[Source, tuple[str, ...]]:
    """The source with rows that are equal in every column once, and the note that says so."""
    first: dict[tuple[str, ...], int] = {}
    for row, cells in enumerate(zip(*source.columns.values(), strict=True)):
        first.setdefault(tuple(map(str, cells)), row)
    rows = list(first.values())
    more = len(next(iter(source.columns.values()))) - len(rows)
    if not more:
        return source, ()
    columns = {name: [cells[row] for row in rows] for name, cells in source.columns.items()}
    lines = [source.lines[row] for row in rows] if source.lines else ()
    note = f"{more} row{'s' if more > 1 else ''} equal to another in every column {'are' if more > 1 else 'is'} counted once."
    return replace(source, columns=columns, lines=lines), (note,)


# ---- cells --------------------------------------------------------------------------------------------------------------


def _missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING)


def _read(cell: Any, decimal_comma: bool) -> float | None:
    """The number in a cell, which may be NaN; None where it is not a number."""
    if isinstance(cell, bool):
        return float(cell)
    number = as_number(cell)
    if number is not None:
        return number
    text = str(cell).strip()
    if decimal_comma and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    if NUMBER.fullmatch(text) or text.lower() in NOT_FINITE:
        return float(text)
    return {"true": 1.0, "false": 0.0}.get(text.lower())


def as_number(value: Any) -> float | None:
    """A value from JSON as a number, one that float64 cannot hold as infinite; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def number_in(cell: Any) -> float | None:
    """The number in a cell, which may be NaN; None where it is empty or no number."""
    return None if _missing(cell) else _read(cell, False)


def _all_words(cells: Sequence[Any]) -> bool:
    return all(_missing(cell) or _read(cell, True) is None for cell in cells)


def _number(source: Source, row: int, column: str, name: str) -> float | None:
    """A cell as its quantity: None where it is empty. Only a loss may be NaN or infinite."""
    cell = source.columns[column][row]
    if _missing(cell):
        return None
    value = _read(cell, source.decimal_comma)
    if value is None and name in COUNTS:
        value = count_in(str(cell))
    if value is None:
        mend = "Write it as a plain number such as 125000000 or 1.25e8, or leave the cell empty"
        raise DataError(f"{str(cell)[:40]!r} is text where a number belongs", source.at(row, column), mend)
    counted = name in SCALES or name in HYPERPARAMETERS
    if counted and math.isinf(value):
        raise DataError("an infinite value", source.at(row, column), "Write a finite number, or leave the cell empty")
    if counted and value < 0:
        raise DataError(f"{name} is negative ({cell})", source.at(row, column), "Write a positive number, or leave it empty")
    value *= source.units.get(column, 1.0)
    return value if name == "loss" or math.isfinite(value) else None


def _guess(source: Source, column: str) -> list[Any]:
    """A column that no quantity claims: numbers if every cell is one, else words."""
    cells = source.columns[column]
    values = [None if _missing(cell) else _read(cell, source.decimal_comma) for cell in cells]
    if all(value is not None or _missing(cell) for value, cell in zip(values, cells, strict=True)):
        return values
    return ["" if _missing(cell) else str(cell) for cell in cells]


def _judge(source: Source, table: dict[str, Any], found: Mapping[str, str]) -> None:
    """Give every row its status: what the source says, as far as the loss bears it out. Only a COMPLETE run keeps its loss."""
    losses = table["loss"]
    words = table.get("status") or [None] * len(losses)
    statuses: list[str] = []
    for row, (word, loss) in enumerate(zip(words, losses, strict=True)):
        status = Status.COMPLETE if word is None else STATES.get(word.strip().lower())
        if status is None:
            known = ", ".join(each.name for each in Status)
            raise DataError(f"unknown status {word!r}", source.at(row, found["status"]), f"Use one of {known}")
        if status is Status.COMPLETE and (loss is None or not math.isfinite(loss)):
            status = Status.FAILED if loss is None else Status.DIVERGED
        statuses.append(status.name)
    table["status"] = statuses
    complete = [name == Status.COMPLETE.name for name in statuses]
    if any(not kept and loss is not None and math.isfinite(loss) for kept, loss in zip(complete, losses, strict=True)):
        last = table.get("last_loss") or [None] * len(losses)
        pairs = zip(complete, losses, last, strict=True)
        table["last_loss"] = [old if kept or loss is None or not math.isfinite(loss) else loss for kept, loss, old in pairs]
    table["loss"] = [loss if kept else None for kept, loss in zip(complete, losses, strict=True)]


# ---- --map --------------------------------------------------------------------------------------------------------------


def _pairs(parts: Sequence[str], where: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in parts:
        text = part.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, column = text.partition("=")
        if not equals:
            raise DataError(f"{text!r} is not quantity=column", where, "Write for example loss=final_loss,parameters=params")
        pairs[name.strip()] = column.strip().strip("\"'")
    return pairs


def _is_file(text: str) -> bool:
    """Whether the text names a file; a long list of pairs is no name that a file can have."""
    with contextlib.suppress(OSError, ValueError):
        return Path(text).is_file()
    return False


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        mend = "Give a file, or write for example --map loss=final_loss,parameters=params"
        raise DataError("there is no such file", f"--map {path}", mend) from error
    except (OSError, ValueError) as error:
        mend = "Give a text file with lines quantity=column"
        raise DataError(f"the file cannot be read ({error})", f"--map {path}", mend) from error
    try:
        if text.lstrip().startswith("{"):
            return dict(json.loads(text))
        if path.suffix.lower() == ".toml":
            return tomllib.loads(text)
    except ValueError as error:
        raise DataError(f"the file is not valid ({error})", f"--map {path}", "Mend that line") from error
    return _pairs(text.splitlines(), f"--map {path}")
