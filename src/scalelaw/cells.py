"""How runs fall into scales and settings: which columns say how large a run is, which were tuned, and the runs of each scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .axis import axis_of
from .errors import DataError
from .trials import Trials

__all__ = ["Cell", "cells_of", "default_factors", "default_hyper", "default_over", "means_of", "names_of"]

Array: TypeAlias = NDArray[np.float64]

# Where several columns say the same size, the one a ladder is spoken of in.
_LADDER = ("width", "depth", "parameters", "tokens", "dataset_size", "steps", "epochs", "heads", "context")
_SIZES = (
    "parameters",
    "tokens",
    *(name for name in _LADDER if name not in ("parameters", "tokens")),
    "embedding_parameters",
    "compute",
)


@dataclass(frozen=True, eq=False)
class Cell:
    """The finished runs of one scale, seeds of one setting averaged.

    Args:
        point: the scale.
        z: coordinates of the settings (`axis.py`), `(settings, hyperparameters)`.
        y: mean ln loss of each setting, `(settings,)`.
        count: runs behind each mean, `(settings,)`.
        squares: summed squared deviations of ln loss within each setting, `(settings,)`.
        bad: coordinates of the settings that diverged or stayed at chance, `(.., hyperparameters)`.
        deviation: ln loss less its setting's mean by seed, `(settings, seeds)`, NaN where a seed is missing; None where the
            table names no seeds.
        levels: of the factors, in their order: `("cosine", "bfloat16")`.
    """

    point: Mapping[str, float]
    z: Array
    y: Array
    count: Array
    squares: Array
    bad: Array
    deviation: Array | None = None
    levels: tuple[str, ...] = ()

    @property
    def spread(self) -> tuple[float, int]:
        """Summed squared deviations within all settings, and their degrees of freedom."""
        return float(self.squares.sum()), int(self.count.sum()) - len(self.count)


def default_over(trials: Trials, at: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The scale columns a question is about: those of `at` that vary, else the fewest columns that determine all sizes that vary.

    Raises:
        DataError: no scale varies, or `at` names none that does.
    """
    finished = trials.finished
    varying = finished.varying(finished.scales)
    if at is not None and (named := tuple(name for name in at if name in varying)):
        return named
    if not len(finished):
        raise DataError(
            "no run finished with a loss that counts: each failed, diverged or stayed at chance",
            trials.source,
            "Check the loss column and the filter, or train longer at other rates",
        )
    if not varying:
        have = ", ".join(trials.scales) or "none"
        raise DataError(
            f"only one size: no scale column varies (scale columns: {have})", trials.source, "Add runs at other sizes"
        )
    table = {name: finished.numbers(name) for name in varying}
    for name in _LADDER:
        if name in table and all(_determines(table, (name,), other) and _determines(table, (other,), name) for other in varying):
            return (name,)
    chosen: list[str] = []
    for name in _SIZES:
        if name in table and not (chosen and _determines(table, tuple(chosen), name)):
            chosen.append(name)
    return tuple(chosen)


def _determines(table: Mapping[str, Array], names: tuple[str, ...], other: str) -> bool:
    """Whether equal values of `names` always come with equal values of `other`."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a size of zero is told where it is used
        left = np.stack([np.round(np.log(table[name]), 6) for name in names], axis=1)
        right = np.round(np.log(table[other]), 3)
    both = np.unique(np.concatenate([left, right[:, None]], axis=1), axis=0)
    return len(both) == len(np.unique(left, axis=0))


def default_hyper(trials: Trials, over: Sequence[str]) -> tuple[str, ...]:
    """Numeric hyperparameters that take at least three values within some scale, each with a place on its axis (`axis.py`)."""
    finished = trials.finished
    found: list[str] = []
    for name in finished.hyperparameters:
        column = finished[name]
        if column.dtype == object:
            continue
        for _, rows in finished.groups(over):
            values = axis_of(name).coordinate(rows.numbers(name))
            if len(np.unique(values[np.isfinite(values)])) >= 3:
                found.append(name)
                break
    return tuple(found)


def default_factors(trials: Trials, over: Sequence[str], hyper: Sequence[str]) -> tuple[str, ...]:
    """Hyperparameters that are compared by level: words (schedule, precision) and numbers of which a scale has two values."""
    finished = trials.finished
    return tuple(
        name
        for name in finished.hyperparameters
        if name not in hyper
        and any(len({_label(value) for value in rows[name].tolist()}) > 1 for _, rows in finished.groups(over))
    )


def names_of(
    trials: Trials, over: str | Sequence[str] | None, hyper: str | Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Scale and hyperparameter columns, by default `default_over` and `default_hyper`; each must hold numbers."""
    over = default_over(trials) if over is None else (over,) if isinstance(over, str) else tuple(over)
    hyper = default_hyper(trials, over) if hyper is None else (hyper,) if isinstance(hyper, str) else tuple(hyper)
    for name in (*over, *hyper):
        trials.numbers(name)
    return over, hyper


def cells_of(trials: Trials, over: Sequence[str], hyper: Sequence[str], factors: Sequence[str] = ()) -> list[Cell]:
    """The finished runs grouped by scale and level of each factor, settings in coordinates, replicated seeds averaged."""
    if factors:
        return _by_level(trials, over, hyper, factors)
    finished = trials.finished
    log_loss = _log_loss(finished)
    sizes, settings = _columns(finished, over, hyper)
    whole = np.all(np.isfinite(sizes), axis=1) & np.all(np.isfinite(settings), axis=1)
    scale, z = sizes[whole], settings[whole]
    if not whole.any():
        return []
    y = log_loss[whole]
    seed = finished.numbers("seed")[whole] if "seed" in finished and finished["seed"].dtype != object else None
    bad_scale, bad_z = _bad(trials, over, hyper)
    result: list[Cell] = []
    points, groups = _groups(scale)
    for point, rows in zip(points, groups, strict=True):
        settings, inverse = np.unique(np.round(z[rows], 9), axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        count = np.bincount(inverse).astype(float)
        mean = np.bincount(inverse, y[rows]) / count
        away = y[rows] - mean[inverse]
        bad = bad_z[np.all(bad_scale == point, axis=1)] if len(bad_z) else bad_z
        named = None if seed is None else _by_seed(away, inverse, seed[rows], len(settings))
        squares = np.asarray(np.bincount(inverse, away**2), dtype=np.float64)
        result.append(Cell(dict(zip(over, map(float, point), strict=True)), settings, mean, count, squares, bad, named))
    return result


def _by_level(trials: Trials, over: Sequence[str], hyper: Sequence[str], factors: Sequence[str]) -> list[Cell]:
    """Cells of one combination of levels after the other, then in ascending order of scale."""
    labels = [tuple(_label(value) for value in row) for row in zip(*(trials[name].tolist() for name in factors), strict=True)]
    found: list[Cell] = []
    for levels in sorted(set(labels)):
        rows = trials.where(np.array([label == levels for label in labels]))
        if len(rows.finished):
            found += [replace(cell, levels=levels) for cell in cells_of(rows, over, hyper)]
    return sorted(found, key=lambda cell: tuple(cell.point.values()))


def _label(value: Any) -> str:
    return "(none)" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value)


def means_of(trials: Trials, over: Sequence[str]) -> tuple[Array, Array, Array]:
    """Scales in ascending order `(scales, columns)`, and mean ln loss and number of the finished runs of each `(scales,)`.

    Raises:
        DataError: a loss or every size is not positive.
    """
    finished = trials.finished
    log_loss, (sizes, _) = _log_loss(finished), _columns(finished, over, ())
    whole = np.all(np.isfinite(sizes), axis=1)
    if not whole.any():
        raise DataError(f"no finished run has a positive {' and '.join(over)}", finished.source, "Check that column")
    points, inverse, count = np.unique(sizes[whole], axis=0, return_inverse=True, return_counts=True)
    return points, np.bincount(inverse.reshape(-1), log_loss[whole]) / count, count.astype(float)


def _log_loss(finished: Trials) -> Array:
    """ln loss of finished runs.

    Raises:
        DataError: a loss that is not positive.
    """
    loss = finished.numbers("loss")
    if np.any(loss <= 0):
        row = int(np.flatnonzero(loss <= 0)[0])
        raise DataError(
            f"a loss of {loss[row]:g} has no logarithm", f"{finished.source}, finished row {row + 1}", "Give positive losses"
        )
    return np.log(loss)


def _groups(scale: Array) -> tuple[Array, list[NDArray[np.intp]]]:
    """The distinct scales in ascending order, and the rows of each; one sort, whatever the number of scales."""
    points, inverse, count = np.unique(scale, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    return points, np.split(order, np.cumsum(count)[:-1])


def _by_seed(away: Array, setting: NDArray[np.int64], seed: Array, settings: int) -> Array:
    """Deviations as a table `(settings, seeds)`, averaged where a seed was run twice."""
    names, place = np.unique(seed, return_inverse=True)
    total, count = np.zeros((settings, len(names))), np.zeros((settings, len(names)))
    np.add.at(total, (setting, place), away)
    np.add.at(count, (setting, place), 1.0)
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)


def _bad(trials: Trials, over: Sequence[str], hyper: Sequence[str]) -> tuple[Array, Array]:
    """Scales and settings of runs that diverged or stayed at chance: they bound a best setting but never shape its bowl."""
    bad = np.zeros(len(trials), dtype=bool)
    if "status" in trials:
        bad |= trials["status"] == "DIVERGED"
    if "at_chance" in trials:
        bad |= np.nan_to_num(trials.numbers("at_chance")) > 0
    sizes, settings = _columns(trials, over, hyper)
    bad &= np.all(np.isfinite(sizes), axis=1) & np.all(np.isfinite(settings), axis=1)
    return sizes[bad], settings[bad]


def _columns(trials: Trials, over: Sequence[str], hyper: Sequence[str]) -> tuple[Array, Array]:
    """Scales and the settings' coordinates, `(rows, ..)`; NaN where a size is not positive or a setting has no coordinate."""
    sizes = np.stack([trials.numbers(name) for name in over], axis=1)
    settings = [axis_of(name).coordinate(trials.numbers(name)) for name in hyper]
    return np.where(sizes > 0, sizes, np.nan), np.stack(settings, axis=1) if hyper else np.zeros((len(trials), 0))
