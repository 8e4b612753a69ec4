"""What every trainer of other people's code takes in `[trainer]`, beside what it is: time, costs, names, when to stop.

timeout = "2h"                            # of one trial; seconds, or a number with s, m, h or d
flops = "6 * parameters * tokens"         # C of a trial, from its own numbers
names = ["z_loss"]                        # hyperparameters that notation does not know
final = "10 %"                            # a trial that gives no loss: the mean of the reports over the last share of steps
stop = false                              # let runs that are certain to diverge go on
halving = { keep = 3, first = 100 }       # stop the worst of the runs of one size, see _rungs.py
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import StudyError, near
from ._formula import Formula, formula
from ._rungs import Halving

__all__ = ["Rules", "known_keys", "rules"]

SHARED = ("name", "timeout", "flops", "names", "final", "stop", "halving")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Rules:
    """The shared settings, read.

    Args:
        timeout: seconds of a trial; None lets it run. timeout_text: as it was written.
        formula: of C; None where none is given.
        share: of the steps over which reports are averaged where a trial gives no loss itself; 0 takes the last report.
        stop: whether runs that are certain to diverge are stopped.
        halving: which of the runs of one size are stopped; None: none.
    """

    timeout: float | None = None
    timeout_text: str = ""
    formula: Formula | None = None
    share: float = 0.0
    stop: bool = True
    halving: Halving | None = None


def known_keys(settings: Mapping[str, Any], own: Iterable[str], where: str = "trainer") -> None:
    """Raises StudyError where a key is neither one of `own` nor a shared one; the near one is offered."""
    known = (*own, *SHARED)
    for key in settings:
        if key not in known:
            close = near(key, known)
            hint = f"Did you mean {close!r}?" if close else f"Known: {', '.join(known)}"
            raise StudyError(f"unknown key {key!r}", where, hint)


def rules(settings: Mapping[str, Any], where: str = "trainer") -> Rules:
    """Read the shared settings. Raises StudyError: a value will not do."""
    timeout, flops, stop = settings.get("timeout"), settings.get("flops"), settings.get("stop", True)
    if flops is not None and not isinstance(flops, str):
        raise StudyError(f"a formula is text, not {flops!r}", f"{where}.flops", 'For example flops = "6 * parameters * tokens"')
    if not isinstance(stop, bool):
        raise StudyError(f"this is true or false, not {stop!r}", f"{where}.stop", "Write stop = false to let every run end")
    return Rules(
        timeout=None if timeout is None else seconds(timeout, f"{where}.timeout"),
        timeout_text="" if timeout is None else f"{timeout} s" if not isinstance(timeout, str) else timeout.strip(),
        formula=None if flops is None else formula(flops, f"{where}.flops"),
        share=_share(settings.get("final", "last"), f"{where}.final"),
        stop=stop,
        halving=_halving(settings.get("halving"), f"{where}.halving"),
    )


def seconds(given: Any, where: str) -> float:
    """A duration: 90, "90", "90 s", "1.5 h". Raises StudyError."""
    found = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)\s*", str(given).lower())
    value = math.nan
    if found is not None and found[2] in _UNITS and not isinstance(given, bool):
        try:
            value = float(found[1]) * _UNITS[found[2]]
        except ValueError:
            value = math.nan
    if not (0 < value < math.inf):
        raise StudyError(f"{given!r} is no duration", where, 'Give seconds, or a number with s, m, h or d: timeout = "2h"')
    return value


def _share(given: Any, where: str) -> float:
    if given == "last":
        return 0.0
    found = re.fullmatch(r"\s*(?:mean\s*)?([0-9.]+)\s*%\s*", given) if isinstance(given, str) else None
    try:
        value = float(found[1]) / 100 if found else math.nan
    except ValueError:
        value = math.nan
    if not (0 < value <= 1):
        mend = 'Write final = "last" for the last report, or final = "10 %" for the mean over the last tenth of the steps'
        raise StudyError(f"cannot read {given!r}", where, mend)
    return value


def _halving(given: Any, where: str) -> Halving | None:
    if given is None:
        return None
    mend = "Write halving = { keep = 3, first = 100 }: at steps 100, 300, 900 ... the best third goes on"
    if not isinstance(given, Mapping):
        raise StudyError(f"this is a table, not {given!r}", where, mend)
    values: dict[str, int] = {"keep": 3}
    for key, value in given.items():
        if key not in ("keep", "first"):
            raise StudyError(f"unknown key {key!r}", where, "Known: keep, first")
        if isinstance(value, bool) or not isinstance(value, int) or value < (2 if key == "keep" else 1):
            raise StudyError(f"{key} = {value!r} will not do", where, mend)
        values[key] = value
    if "first" not in values:
        raise StudyError("the key 'first' is missing", where, mend)
    return Halving(**values)
