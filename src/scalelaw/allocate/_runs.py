"""What every approach reads: one row per point (N, D), its compute, and the logarithm of its loss."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError
from ..frontier import frontier
from ..trials import Trials

__all__ = ["Array", "Count", "Runs", "budgets_of", "gather", "offers", "sizes_of"]

Array: TypeAlias = NDArray[np.float64]

# Widest range of ln compute that still counts as one budget, and the gap that always parts two.
_SPAN, _GAP = 0.4, 0.08


class Count(enum.Enum):
    """What N counts. The value is the sentence a report prints."""

    PARAMETERS = "N leaves embeddings out: it is the column parameters."
    TOTAL = "N counts embeddings: it is parameters + embedding_parameters."
    AS_GIVEN = "N is the column parameters as it stands; the data do not say whether embeddings are in it."


@dataclass(frozen=True, eq=False)
class Runs:
    """Points (N, D) in logarithms.

    Args:
        n, d, c: ln parameters, ln tokens, ln compute, `(points,)`.
        y: ln loss, `(points,)`, replicated seeds averaged.
        repeats: runs behind each point.
        per_token: k in C = k N D, the geometric mean over the points; 6 where compute or tokens were derived.
        count: what N counts.
        notes: what was derived or averaged, a sentence each.
        source: for messages.
    """

    n: Array
    d: Array
    c: Array
    y: Array
    repeats: Array
    per_token: float
    count: Count
    notes: tuple[str, ...]
    source: str = "trials"

    def __len__(self) -> int:
        return len(self.y)

    def where(self, keep: NDArray[np.bool_]) -> Runs:
        """Some of the points."""
        n, d, c, y, repeats = (each[keep] for each in (self.n, self.d, self.c, self.y, self.repeats))
        return Runs(n, d, c, y, repeats, self.per_token, self.count, self.notes, self.source)

    def table(self) -> Trials:
        """The points as a table that `fit` reads: parameters, tokens, compute, loss, repeats."""
        columns = {"parameters": self.n, "tokens": self.d, "compute": self.c, "loss": self.y}
        return Trials.from_columns(
            {name: np.exp(each) for name, each in columns.items()} | {"repeats": self.repeats}, self.source
        )


def gather(trials: Trials, count: str = "parameters", *, fixed: bool = False) -> Runs:
    """The points of a table.

    C = 6 N D gives whichever of compute and tokens is absent. Where a hyperparameter varies within a point, the loss is the
    frontier's (its best case) unless `fixed`; replicated seeds are averaged.

    Args:
        count: "parameters", or "total" to add the column embedding_parameters.

    Raises:
        DataError: no parameters, neither tokens nor compute, a scale or loss that is not positive, or no finished run.
    """
    finished = trials.finished if "loss" in trials else trials
    n, kind, notes = _sizes(finished, count)
    d, c, more = _tokens_and_compute(finished, n)
    loss = finished.numbers("loss")
    whole = np.isfinite(n) & np.isfinite(d) & np.isfinite(c) & np.isfinite(loss)
    _positive({"parameters": n, "tokens": d, "compute": c, "loss": loss}, f"{trials.source}, finished row")
    if not whole.any():
        raise DataError("no finished run has parameters, tokens or compute, and a loss", trials.source, "Check the column names")
    n, d, c, y = np.log(n[whole]), np.log(d[whole]), np.log(c[whole]), np.log(loss[whole])
    if not fixed:
        tuned = _tuned(finished.where(whole), n, d)
        if tuned is not None:
            n, d, y, repeats, place, told = tuned
            return _finish((n, d, c[place], y, repeats), kind, (*notes, *more, told), trials.source)
    keys, first, inverse = np.unique(np.round(np.stack([n, d, c], axis=1), 9), axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    repeats = np.bincount(inverse).astype(np.float64)
    mean = np.bincount(inverse, y) / repeats
    if len(keys) < len(y):
        more = (*more, f"{len(y)} runs at {len(keys)} points: replicated runs are averaged in ln loss.")
    return _finish((n[first], d[first], c[first], mean, repeats), kind, (*notes, *more), trials.source)


def offers(trials: Trials, count: str = "parameters") -> tuple[Array, Array, Array]:
    """ln N, ln D and ln C `(rows,)` of runs that may be made; a loss is not read.

    Raises:
        DataError: no rows, no parameters, neither tokens nor compute, or one of them is missing or not positive.
    """
    if not len(trials):
        raise DataError("no run is offered", trials.source, "Offer some, or leave the offer out")
    n, _, _ = _sizes(trials, count)
    d, c, _ = _tokens_and_compute(trials, n)
    named = {"parameters": n, "tokens": d, "compute": c}
    _positive({name: np.where(np.isnan(column), 0.0, column) for name, column in named.items()}, f"{trials.source}, row")
    return np.log(n), np.log(d), np.log(c)


def _positive(columns: Mapping[str, Array], where: str) -> None:
    for name, column in columns.items():
        bad = (column <= 0) | np.isinf(column)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            what = f"{name} is {column[row]:g} and must be positive and finite"
            raise DataError(what, f"{where} {row + 1}", "Mend it, or filter the row out")


def _finish(columns: tuple[Array, Array, Array, Array, Array], kind: Count, notes: tuple[str, ...], source: str) -> Runs:
    n, d, c, y, repeats = columns
    ratio = c - n - d
    if np.ptp(ratio) > 0.2:
        low, high = np.exp([ratio.min(), ratio.max()])
        notes = (
            *notes,
            f"Compute is {low:.3g} to {high:.3g} N D, not one multiple; the geometric mean is used.",
        )
    return Runs(n, d, c, y, repeats, float(np.exp(np.mean(ratio))), kind, notes, source)


def _sizes(trials: Trials, count: str) -> tuple[Array, Count, tuple[str, ...]]:
    if count not in ("parameters", "total"):
        raise InputError(f"unknown count {count!r}", "count", "Use parameters (without embeddings) or total (with them)")
    n = np.array(trials.numbers("parameters"), dtype=np.float64)
    embedding = np.array(trials.numbers("embedding_parameters")) if "embedding_parameters" in trials else np.full(len(n), np.nan)
    known = bool(len(n)) and bool(np.all(np.isfinite(embedding[np.isfinite(n)])))
    if count == "total":
        if not known:
            what = "N with embeddings needs the column embedding_parameters in every row"
            raise DataError(what, trials.source, "Add it, or count parameters as they stand")
        if np.any(embedding < 0):
            raise DataError("embedding_parameters is negative", trials.source, "Mend the value or filter the row out")
        return n + embedding, Count.TOTAL, ()
    return n, Count.PARAMETERS if known else Count.AS_GIVEN, ()


def _tokens_and_compute(trials: Trials, n: Array) -> tuple[Array, Array, tuple[str, ...]]:
    d = np.array(trials.numbers("tokens")) if "tokens" in trials else np.full(len(n), np.nan)
    c = np.array(trials.numbers("compute")) if "compute" in trials else np.full(len(n), np.nan)
    if "tokens" not in trials and "compute" not in trials:
        raise DataError("there is neither tokens nor compute", trials.source, "Add one: C = 6 N D gives the other")
    notes: list[str] = []
    lack = np.isnan(c) & np.isfinite(d)
    if lack.any():
        c = np.where(lack, 6 * n * d, c)
        notes.append(f"Compute is 6 N D in {_many(lack)}.")
    lack = np.isnan(d) & np.isfinite(c)
    if lack.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            d = np.where(lack, c / (6 * n), d)
        notes.append(f"Tokens are C / 6N in {_many(lack)}.")
    return d, c, tuple(notes)


def _many(mask: NDArray[np.bool_]) -> str:
    return "every run" if mask.all() else f"{int(mask.sum())} of {len(mask)} runs"


def _tuned(trials: Trials, n: Array, d: Array) -> tuple[Array, Array, Array, Array, NDArray[np.intp], str] | None:
    """The frontier over (N, D) where a hyperparameter varies within a point, and a row of each point; None where none does."""
    hyper = [name for name in trials.varying(trials.hyperparameters) if trials[name].dtype != object]
    if not hyper:
        return None
    points = np.unique(np.round(np.stack([n, d], axis=1), 6), axis=0, return_inverse=True)[1].reshape(-1)
    values = [np.unique(trials[name], return_inverse=True)[1] for name in hyper]
    settings = np.unique(np.stack([points, *values], axis=1), axis=0)
    if len(settings) == len(np.unique(points)):
        return None
    table = trials.with_column("parameters", np.exp(n)).with_column("tokens", np.exp(d))
    best = frontier(table, over=("parameters", "tokens"))
    if not best.tuned:
        return None
    edge = best.trials
    x, z, y = (np.log(edge.numbers(name)) for name in ("parameters", "tokens", "loss"))
    place = np.argmin(np.abs(x[:, None] - n) + np.abs(z[:, None] - d), axis=1)
    repeats = np.array(edge.numbers("count"))
    return x, z, y, np.ones_like(repeats), place, f"Each point's loss is its best case over {', '.join(best.hyper)}."


def budgets_of(c: Array) -> list[NDArray[np.intp]]:
    """Rows that share a compute budget, in ascending order of compute.

    ln compute is cut at every gap above 0.08, and further at its largest gap while a group spans more than 0.4.
    """
    order = np.argsort(c, kind="stable")
    groups: list[NDArray[np.intp]] = []
    stack = [order]
    while stack:
        rows = stack.pop()
        gaps = np.diff(c[rows])
        widest = int(np.argmax(gaps)) if len(gaps) else 0
        if len(gaps) and (gaps[widest] > _GAP or c[rows[-1]] - c[rows[0]] > _SPAN):
            stack += [rows[widest + 1 :], rows[: widest + 1]]
        else:
            groups.append(rows)
    return groups


def sizes_of(n: Array, gap: float = 0.02) -> list[NDArray[np.intp]]:
    """Rows of one model size: sizes less than 2 % apart are one."""
    order = np.argsort(n, kind="stable")
    return list(np.split(order, np.flatnonzero(np.diff(n[order]) > gap) + 1))
