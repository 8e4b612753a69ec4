"""Trials: an immutable table of trials, one column per quantity; what every analysis reads.

Numbers are float64 with NaN for "not known"; text columns hold strings. A loss that is missing stays missing: it is never
0 and its row is never dropped. Dataframes of any kind come in through narwhals and go out through polars.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .condition import select
from .errors import DataError, near
from .notation import HYPERPARAMETERS, QUANTITIES, SCALES, Kind, match_columns
from .trial import Status, Trial

if TYPE_CHECKING:
    import polars

__all__ = ["FILES", "Trials", "as_os_error", "place"]

FILES = (".csv", ".parquet", ".jsonl")
# Bytes: with less left on the disk, that is why a file could not be written.
FULL = 1 << 20

IDENTITIES = frozenset(name for name, each in QUANTITIES.items() if each.kind is Kind.IDENTITY)


@dataclass(frozen=True)
class Trials:
    """An immutable column table of trials.

    Args:
        columns: name to array, all of one length; numbers are float64, texts are object arrays of `str`.
        source: where the rows came from, for messages.
        ignored: columns of the source that no quantity claimed.
        notes: what else the reader of the source should know, a sentence each, for example rows that stood there twice.
        hyper: columns that the user counts as hyperparameters besides notation's; a scale among them is tuned, not run over.
    """

    columns: Mapping[str, np.ndarray]
    source: str = "trials"
    ignored: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    hyper: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) > 1:
            raise DataError("columns differ in length", self.source, "Give every column one value per row")
        frozen: dict[str, np.ndarray] = {}
        for name, column in self.columns.items():
            frozen[name] = _frozen(column)
        object.__setattr__(self, "columns", MappingProxyType(frozen))

    # ---- making -------------------------------------------------------------------------------------------------------

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], source: str = "trials", ignored: tuple[str, ...] = ()) -> Trials:
        """A table from sequences by column name; rows without a `status` are COMPLETE where the loss is finite.

        A non-finite loss is kept as DIVERGED with a missing loss; a missing loss (None) without status is FAILED.
        """
        table = {name: _array(values) for name, values in columns.items()}
        if "loss" in table and table["loss"].dtype != object:
            finite = np.isfinite(table["loss"])
            if "status" not in table:
                missing = np.array([value is None for value in columns["loss"]], dtype=bool)
                other = np.where(missing, Status.FAILED.name, Status.DIVERGED.name)
                table["status"] = np.where(finite, Status.COMPLETE.name, other).astype(object)
            table["loss"] = np.where(finite, table["loss"], np.nan)
        return cls(table, source, ignored)

    @classmethod
    def from_trials(cls, trials: Iterable[Trial], source: str = "trials") -> Trials:
        """A table from trials; scale, hyperparameters, seed and results each in their column.

        Hyperparameters that notation does not know are counted as such too.
        """
        trials = list(trials)
        rows = [_row(trial) for trial in trials]
        names = dict.fromkeys(name for row in rows for name in row)
        hyper = dict.fromkeys(name for trial in trials for name in trial.spec.hyperparameters if name not in QUANTITIES)
        return cls({name: _array([row.get(name) for row in rows]) for name in names}, source, hyper=tuple(hyper))

    @classmethod
    def from_frame(cls, frame: Any, source: str = "dataframe") -> Trials:
        """A table from any dataframe (polars, pandas, pyarrow, ...); columns are matched by name or alias."""
        import narwhals.stable.v2 as nw

        table = nw.from_native(frame, eager_only=True)
        found, ignored = match_columns(table.columns)
        return cls.from_columns({name: table[column].to_list() for name, column in found.items()}, source, ignored)

    # ---- reading ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            close = near(name, self.columns)
            hint = f"Did you mean {close!r}? " if close else ""
            raise DataError(f"there is no column {name!r}", self.source, f"{hint}It has: {', '.join(self.columns)}")
        return self.columns[name]

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64, NaN where missing.

        Raises:
            DataError: the column is absent or holds text.
        """
        column = self[name]
        if column.dtype == object:
            first = next((value for value in column if value), "")
            raise DataError(f"the column {name!r} holds text ({first!r}) where numbers belong", self.source, "Mend the value")
        return column

    @property
    def scales(self) -> tuple[str, ...]:
        """Scale columns that hold numbers, in notation's order."""
        numbers = (name for name in SCALES if name in self.columns and self.columns[name].dtype != object)
        return tuple(name for name in numbers if name not in self.hyper)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Hyperparameter columns: notation's, in its order, then those that the user named."""
        return tuple(dict.fromkeys(name for name in (*HYPERPARAMETERS, *self.hyper) if name in self.columns))

    def counting(self, names: Iterable[str]) -> Trials:
        """The same table with `names` counted as hyperparameters too.

        Raises:
            DataError: a name is no column, or what came of a run or which run it is.
        """
        names = tuple(names)
        for name in names:
            known = QUANTITIES.get(name)
            if known is not None and known.kind in (Kind.OUTCOME, Kind.IDENTITY):
                raise DataError(
                    f"{name} is no setting, so it cannot be tuned", self.source, "Name a column that was set before the run"
                )
            self.numbers(name)
        return replace(self, hyper=tuple(dict.fromkeys((*self.hyper, *names))))

    def varying(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` that take more than one value."""
        return tuple(name for name in names if name in self.columns and _distinct(self.columns[name]) > 1)

    @property
    def finished(self) -> Trials:
        """The rows whose loss counts: COMPLETE with a finite loss, and not stuck at chance."""
        keep = np.isfinite(self.numbers("loss"))
        if "status" in self:
            keep &= self["status"] == Status.COMPLETE.name
        if "at_chance" in self:
            keep &= ~(np.nan_to_num(self.numbers("at_chance")) > 0)
        return self.where(keep)

    @property
    def diverged(self) -> Trials:
        """The rows whose loss diverged."""
        return self.where(self["status"] == Status.DIVERGED.name) if "status" in self else self.where(np.zeros(len(self), bool))

    def where(self, condition: np.ndarray | str) -> Trials:
        """The rows that meet a condition: a boolean array, or text such as `width <= 512 and learning_rate == 3e-4`."""
        mask = select(condition, dict(self.columns), len(self)) if isinstance(condition, str) else np.asarray(condition)
        return replace(self, columns={name: column[mask] for name, column in self.columns.items()})

    def with_column(self, name: str, values: Any) -> Trials:
        """The same table with one column set."""
        return replace(self, columns={**self.columns, name: _array(values)})

    def groups(self, names: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], Trials]]:
        """The rows that share their values of `names`, in ascending order of those values."""
        if not len(self):
            return
        coded = [np.unique(self[name], return_inverse=True) for name in names]
        codes = np.stack([inverse for _, inverse in coded], axis=1) if coded else np.zeros((len(self), 0), int)
        for key in np.unique(codes, axis=0):
            values = tuple(each[0][code] for each, code in zip(coded, key, strict=True))
            yield values, self.where((codes == key).all(axis=1))

    # ---- giving -------------------------------------------------------------------------------------------------------

    def to_frame(self) -> polars.DataFrame:
        """The table as a polars dataframe, missing values null; `to_frame().to_pandas()` gives pandas."""
        import polars

        return polars.DataFrame(
            {
                name: column.tolist() if column.dtype == object else polars.Series(column).fill_nan(None)
                for name, column in self.columns.items()
            }
        )

    def write(self, path: Path) -> None:
        """Write the table to a file of a kind of `FILES`. Raises OSError."""
        frame = self.to_frame()
        writers = (frame.write_csv, frame.write_parquet, frame.write_ndjson)
        with as_os_error(path):
            writers[FILES.index(path.suffix.lower())](path)

    def rows(self) -> list[dict[str, Any]]:
        """The table as plain dictionaries, missing values None."""
        names = list(self.columns)
        lists = [
            [None if isinstance(value, float) and value != value else value for value in self.columns[name].tolist()]
            for name in names
        ]
        return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]

    @property
    def digest(self) -> str:
        """A hash of the contents, the same for the same rows in the same order. 16 hexadecimal digits."""
        state = hashlib.sha256()
        for name in sorted(self.columns):
            column = self.columns[name]
            content = "\0".join(map(str, column)).encode() if column.dtype == object else column.tobytes()
            state.update(name.encode() + b"\0" + content)
        return state.hexdigest()[:16]


@contextlib.contextmanager
def as_os_error(path: Path) -> Generator[None]:
    """What polars raises while it writes a file, as an OSError with its number; a full disk is told in other words."""
    import polars

    try:
        yield
    except (polars.exceptions.ComputeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        number = errno.ENOSPC if shutil.disk_usage(path.parent).free < FULL else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from error


def place(over: Sequence[str], at: Mapping[str, Any]) -> dict[str, float]:
    """The point `at` in the scale columns `over`.

    Raises:
        DataError: it lacks one of them, or gives something else than a positive number.
    """
    missing = [name for name in over if name not in at]
    if missing:
        raise DataError(f"the point lacks {', '.join(missing)}", "at", f"The law runs over {', '.join(over)}: give each of them")
    point = {name: float(at[name]) for name in over}
    for name, value in point.items():
        if not (math.isfinite(value) and value > 0):
            raise DataError(f"{name} = {value:g} is no size", "at", "Give a positive number")
    return point


def _row(trial: Trial) -> dict[str, Any]:
    spec = trial.spec
    results = ("loss", "parameters", "embedding_parameters", "tokens", "compute", "initial_loss", "last_loss", "seconds")
    row = {
        "id": trial.id,
        "task": spec.task,
        "model": spec.model,
        **spec.scale,
        **spec.hyperparameters,
        "seed": spec.seed,
        "status": trial.status.name,
        "at_chance": float(trial.at_chance),
        # An imported trial may be known by its parameters or tokens: then they are its scale, and there is no other count.
        **{name: spec.scale.get(name) if getattr(trial, name) is None else getattr(trial, name) for name in results},
        **{name: value for name, value in spec.task_options.items() if name in IDENTITIES},
        # What it was trained on before: at every scale the same word, so that such trials can be told apart and compared.
        **({} if spec.init_from is None else {"init_from": spec.init_from.task}),
    }
    # What somebody calls `status` or `width` among the metrics does not take the place of the trial's own.
    return {**row, **{name: value for name, value in trial.metrics.items() if name not in row}}


def _array(values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(np.float64)
    listed = list(values)
    if any(isinstance(value, str) for value in listed):
        return np.array(["" if value is None else str(value) for value in listed], dtype=object)
    return np.array([np.nan if value is None else float(value) for value in listed], dtype=np.float64)


def _frozen(column: np.ndarray) -> np.ndarray:
    if not column.flags.writeable:
        return column
    # A copy: whoever made the array may still change it.
    copy = column.copy()
    copy.flags.writeable = False
    return copy


def _distinct(column: np.ndarray) -> int:
    if column.dtype == object:
        return len(set(column.tolist()))
    return len(np.unique(column[np.isfinite(column)]))
