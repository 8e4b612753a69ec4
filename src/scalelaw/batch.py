"""Several runs judged by one law: each one's verdict, what counts after looking at all, and the evidence that any is off."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ._evidence import adjusted, check_level
from .errors import DataError, RunError
from .estimate import number
from .forecast import Forecast, forecast
from .frontier import Frontier, frontier, frontier_at
from .laws import Law
from .trial import Trial
from .trials import Trials
from .verdict import Ruling, Verdict, columns_of, judge, places, settings_of, without

__all__ = ["Batch", "check_all"]

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Batch:
    """Verdicts on several runs.

    Args:
        names: what each run is called: its id, else its row.
        verdicts: one per run, in their order; each with its own rate of false alarms.
        adjusted: p-values adjusted for their number (Benjamini and Hochberg); 0 where a run diverged.
        off: places of the runs that are off the law with a rate of false discoveries of 1 - level.
        e_value: the mean of the runs' e-values, evidence that any is off: at 1 / alpha or more, chance is below alpha however the
            runs depend on each other through the law. It may be looked at while runs come in, with their number fixed beforehand.
        level: of the tests.
    """

    names: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    adjusted: tuple[float, ...]
    off: tuple[int, ...]
    e_value: float
    level: float

    @property
    def rulings(self) -> tuple[Ruling, ...]:
        """What is ruled of each among all: a run that is off the law by itself and not among so many is undecided."""
        return tuple(
            Ruling.OFF_LAW if k in self.off else Ruling.UNDECIDED if each.verdict is Ruling.OFF_LAW else each.verdict
            for k, each in enumerate(self.verdicts)
        )

    @property
    def verdict(self) -> Ruling:
        """OFF_LAW where any run is, ON_LAW where all are."""
        if self.off:
            return Ruling.OFF_LAW
        return Ruling.ON_LAW if all(each is Ruling.ON_LAW for each in self.rulings) else Ruling.UNDECIDED

    @property
    def message(self) -> str:
        """The sentence."""
        count, off = len(self.verdicts), len(self.off)
        evidence = f"{self.e_value:.3g}" if math.isfinite(self.e_value) else "without bound"
        rate = f"{100 * (1 - self.level):.2g} % of those so named are chance"
        if not off:
            return f"None of {count} runs is off the law (evidence that any is: {evidence} to 1)."
        return f"{off} of {count} runs are off the law; at most {rate}. Evidence that any is: {evidence} to 1."

    def worst_first(self) -> list[int]:
        """Places of the runs: diverged ones, then by how rare a tuned run so bad is."""
        return sorted(range(len(self.verdicts)), key=lambda k: -1.0 if (p := self.verdicts[k].p_value) is None else p)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw check` for several runs: each as for one, ruled among all and with `p_adjusted`."""
        runs = zip(self.names, self.verdicts, self.rulings, self.adjusted, strict=True)
        return {
            "verdict": self.verdict.name,
            "message": self.message,
            "level": self.level,
            "e_value": number(self.e_value),
            "off": list(self.off),
            "runs": [
                {
                    "run": name,
                    **each.to_dict(),
                    "verdict": ruled.name,
                    "message": _told(each, ruled, len(self.names)),
                    "p_adjusted": p,
                }
                for name, each, ruled, p in runs
            ],
        }


def _told(each: Verdict, ruled: Ruling, count: int) -> str:
    """A run's own sentence, which may say more than counts among many."""
    if ruled is each.verdict:
        return each.message
    return f"UNDECIDED: of {count} runs, one so bad may be chance. Alone it would be {each.message}"


def check_all(
    data: Trials,
    runs: Trials | Sequence[Mapping[str, Any] | Trial],
    *,
    level: float = 0.95,
    fixed: bool = False,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    law: str | Law | Sequence[str | Law] | None = None,
) -> Batch:
    """Judge several runs by the law of the others; none of them is part of it.

    Args:
        data: other runs; those among the judged are left out. runs: one or more; see `verdict.check`.
        level, fixed, over, hyper, law: see `verdict.check`.

    Raises:
        RunError: no run, or one that cannot be judged; it says which. DataError: the data carry no law.
    """
    check_level(level)
    rows = runs.rows() if isinstance(runs, Trials) else list(runs)
    if not rows:
        raise RunError("no run to judge", "runs", "Give one or more")
    judged = [_each(k, columns_of, run) for k, run in enumerate(rows)]
    for row in judged:
        data = without(data, row)
    if not len(data):
        raise DataError("every run there is is to be judged, so none tells the law", data.source, "Give the smaller runs too")
    names = _each(0, lambda row: places(data, row, over)[0], judged[0])
    edge = frontier(data, over=names, hyper=hyper)
    edges: dict[tuple[tuple[str, float], ...], Frontier] = {}
    known: dict[tuple[Any, ...], Forecast] = {}
    verdicts: list[Verdict] = []
    for k, row in enumerate(judged):
        at = _each(k, lambda row: places(data, row, names)[1], row)
        settings = settings_of(data, row)
        own = tuple(settings.items()) if fixed else ()
        if own not in edges:
            edges[own] = frontier_at(data, names, edge.hyper, settings) if fixed else edge
        key = (*at.values(), own)
        if key not in known:
            known[key] = forecast(edges[own], at, law=law, level=2 * level - 1)
        verdicts.append(judge(known[key], row, settings, level))
    p_values = adjusted([0.0 if each.p_value is None else each.p_value for each in verdicts])
    off = tuple(k for k, p in enumerate(p_values) if p < 1 - level)
    evidence = sum(each.e_value for each in verdicts) / len(verdicts)
    called = tuple(str(row.get("id") or f"row {k + 1}") for k, row in enumerate(judged))
    return Batch(called, tuple(verdicts), tuple(p_values), off, evidence, level)


def _each(place: int, make: Callable[[Any], _T], run: Any) -> _T:
    """`make(run)`; where it cannot, the error says which run."""
    try:
        return make(run)
    except RunError as error:
        raise RunError(error.what, f"run {place + 1}", error.mend) from error
