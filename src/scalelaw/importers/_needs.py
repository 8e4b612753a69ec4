"""What a law needs of every run: N, D and C, each given, derived or missing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..trial import Status
from ..trials import Trials

__all__ = ["Account", "account", "told"]

_NAMES = {"parameters": "N (parameters)", "tokens": "D (tokens)", "compute": "C (compute)"}


@dataclass(frozen=True)
class Account:
    """N, D and C of one run: which were given, which derived by what rule, which are missing."""

    given: tuple[str, ...]
    derived: Mapping[str, str] = field(default_factory=dict[str, str])
    missing: tuple[str, ...] = ()


def account(table: Trials, last: Sequence[float | None] = (), accumulation: Sequence[float] = ()) -> tuple[Trials, list[Account]]:
    """The table with what can be derived filled in, and the account of each row.

    D = steps x batch_size x context (x micro-batches where gradients are accumulated), or D = C / 6N.
    C = 6 N D, N = C / 6D (Kaplan et al. 2020, section 2.1).

    Args:
        table: one row per run.
        last: the last step that each run logged; what a COMPLETE run was long where its steps are not given.
        accumulation: micro-batches that make one batch, of each run.
    """
    accounts: list[Account] = []
    columns: dict[str, list[float | None]] = {name: [] for name in _NAMES}
    for place, row in enumerate(table.rows()):
        known = {name: row[name] for name in _NAMES if _positive(row.get(name))}
        given = tuple(known)
        derived: dict[str, str] = {}
        if "tokens" not in known:
            parts, words = _product(row, last[place] if last else None, accumulation[place] if accumulation else 1.0)
            if parts is not None:
                known["tokens"], derived["tokens"] = parts, words
        n, d, c = (known.get(name) for name in _NAMES)
        if n and c and not d:
            known["tokens"], derived["tokens"] = c / (6 * n), "C / 6N"
        elif d and c and not n:
            known["parameters"], derived["parameters"] = c / (6 * d), "C / 6D"
        elif n and d and not c:
            known["compute"], derived["compute"] = 6 * n * d, "6ND"
        accounts.append(Account(given, derived, tuple(name for name in _NAMES if name not in known)))
        for name, column in columns.items():
            column.append(known.get(name))
    for name, column in columns.items():
        if any(name in each.derived for each in accounts):
            table = table.with_column(name, column)
    return table, accounts


def told(accounts: Sequence[Account]) -> str:
    """The accounts in a sentence or two; what is missing is asked for."""
    runs = len(accounts)
    parts: list[str] = []
    for name, words in _NAMES.items():
        given = sum(name in each.given for each in accounts)
        rules = Counter(each.derived[name] for each in accounts if name in each.derived)
        ways = [f"given in {_of(given, runs)}"] if given else []
        ways += [f"derived in {_of(count, runs)} ({rule})" for rule, count in rules.items()]
        parts.append(f"{words} is {' and '.join(ways) or 'missing'}")
    text = "; ".join(parts) + "."
    lacking = [name for name in ("parameters", "tokens") if any(name in each.missing for each in accounts)]
    if not lacking:
        return text
    maps = ", ".join(f"{name}=COLUMN" for name in lacking)
    more = "; D also follows from steps, batch_size and context" if "tokens" in lacking else ""
    return f"{text} A law over N and D needs {' and '.join(_NAMES[name] for name in lacking)}: name it with --map {maps}{more}."


def _of(count: int, runs: int) -> str:
    return "all runs" if count == runs else f"{count} of {runs} runs"


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _product(row: Mapping[str, Any], last: float | None, accumulation: float) -> tuple[float | None, str]:
    steps = row.get("steps")
    words = "steps x batch_size x context"
    if not _positive(steps) and row.get("status") == Status.COMPLETE.name and _positive(last):
        steps, words = last, "last step x batch_size x context"
    values = (steps, row.get("batch_size"), row.get("context"))
    if not all(_positive(value) for value in values):
        return None, words
    product = math.prod(float(value) for value in values if value is not None)
    return (product * accumulation, f"{words} x accumulation") if accumulation > 1 else (product, words)
