"""Several runs judged by one law: each one's verdict, what counts after looking at all, and the evidence that any is off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._evidence import adjusted
from .errors import RunError
from .estimate import number
from .forecast import Forecast, forecast
from .frontier import frontier
from .laws import Law
from .trial import Trial
from .trials import Trials
from .verdict import Verdict, columns_of, judge, places, settings_of, without

__all__ = ["Batch", "check_all"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Verdicts on several runs.

    Args:
        verdicts: one per run, in their order; each with its own rate of false alarms.
        adjusted: p-values adjusted for their number (Benjamini and Hochberg); 0 where a run diverged.
        off: places of the runs that are off the law with a rate of false discoveries of 1 - level.
        e_value: the mean of the runs' e-values, evidence that any is off: at 1 / alpha or more, chance is below alpha however the
            runs depend on each other through the law. It may be looked at while runs come in, with their number fixed beforehand.
        level: of the tests.
    """

    verdicts: tuple[Verdict, ...]
    adjusted: tuple[float, ...]
    off: tuple[int, ...]
    e_value: float
    level: float

    @property
    def message(self) -> str:
        """The sentence."""
        count, off = len(self.verdicts), len(self.off)
        evidence = f"{self.e_value:.3g}" if math.isfinite(self.e_value) else "without bound"
        rate = f"{100 * (1 - self.level):.2g} % of those so named are chance"
        if not off:
            return f"None of {count} runs is off the law (evidence that any is: {evidence} to 1)."
        return f"{off} of {count} runs are off the law; at most {rate}. Evidence that any is: {evidence} to 1."

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "message": self.message,
            "level": self.level,
            "e_value": number(self.e_value),
            "off": list(self.off),
            "adjusted": list(self.adjusted),
            "runs": [each.to_dict() for each in self.verdicts],
        }


def check_all(
    data: Trials,
    runs: Trials | Sequence[Mapping[str, Any] | Trial],
    *,
    level: float = 0.95,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    law: str | Law | Sequence[str | Law] | None = None,
) -> Batch:
    """Judge several runs by the law of the others; none of them is part of it.

    Args:
        data: other runs; those among the judged are left out. runs: one or more; see `verdict.check`.
        level, over, hyper, law: see `verdict.check`.

    Raises:
        RunError: no run, or one that cannot be judged. DataError: the data carry no law.
    """
    rows = [columns_of(run) for run in (runs.rows() if isinstance(runs, Trials) else runs)]
    if not rows:
        raise RunError("no run to judge", "runs", "Give one or more")
    for row in rows:
        data = without(data, row)
    names = places(data, rows[0], over)[0]
    edge = frontier(data, over=names, hyper=hyper)
    known: dict[tuple[float, ...], Forecast] = {}
    verdicts: list[Verdict] = []
    for row in rows:
        _, at = places(data, row, names)
        key = tuple(at.values())
        if key not in known:
            known[key] = forecast(edge, at, law=law, level=2 * level - 1)
        verdicts.append(judge(known[key], row, settings_of(data, row), level))
    p_values = adjusted([0.0 if each.p_value is None else each.p_value for each in verdicts])
    off = tuple(k for k, p in enumerate(p_values) if p < 1 - level)
    evidence = sum(each.e_value for each in verdicts) / len(verdicts)
    return Batch(tuple(verdicts), tuple(p_values), off, evidence, level)
