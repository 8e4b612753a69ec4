"""The options that verbs share, each defined once, and what they turn into."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import DataError, InputError
from ._points import names

if TYPE_CHECKING:
    from ..trials import Trials

__all__ = [
    "At",
    "Data",
    "Fixed",
    "Force",
    "Hyper",
    "Json",
    "LawName",
    "Level",
    "Map",
    "Out",
    "Outcome",
    "Over",
    "Run",
    "Storage",
    "Target",
    "Upto",
    "Where",
    "With",
    "columns",
    "naming",
    "new",
    "read",
    "read_judged",
    "read_run",
    "share",
]

# An address of a server is no path: a Path would lose a slash of it.
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A store (study.db, postgresql://user@host/database), a CSV, Parquet or JSONL file, or a folder an importer knows.",
    ),
]
Map = Annotated[
    str | None,
    typer.Option(
        "--map",
        metavar="MAP",
        help="Name columns that are not known by name: loss=final_loss,parameters=params; or a TOML or JSON file of such pairs.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="FILTER", help='Keep these rows only: "learning_rate == 3e-4 and width <= 512".'),
]
Over = Annotated[
    str | None,
    typer.Option("--over", metavar="COLUMNS", help="The law's scale variables: width, or parameters,tokens."),
]
Hyper = Annotated[
    list[str] | None,
    typer.Option("--hyper", metavar="NAME", help="Count this column as a tuned hyperparameter too; may be given again."),
]
Outcome = Annotated[str | None, typer.Option("--outcome", metavar="NAME", help="Analyse this metric instead of the loss.")]
Fixed = Annotated[bool, typer.Option("--fixed", help="Take the runs of one setting as they stand.")]
Level = Annotated[float, typer.Option("--level", metavar="SHARE", help="Level of the intervals, between 0 and 1.")]
LawName = Annotated[str | None, typer.Option("--law", metavar="LAW", help="The law; `scalelaw laws` lists them.")]
At = Annotated[
    str, typer.Option("--at", metavar="POINT", help="A point in the scales: width=8192, or parameters=1e9,tokens=2e10.")
]
With = Annotated[str | None, typer.Option("--with", metavar="SETTING", help="Judge this setting: learning_rate=3e-4.")]
Storage = Annotated[
    str, typer.Option("--storage", metavar="STORE", help="What keeps the trials: a file, or postgresql://user@host/database.")
]
Out = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write; replaced only when all is written.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
Target = Annotated[
    str | None, typer.Option("--at", metavar="POINT", help="The point that is forecast: width=8192; default the largest size.")
]
Upto = Annotated[
    str | None,
    typer.Option("--upto", metavar="POINT", help="Fit to sizes up to this one: width=512; default an eighth of the target."),
]
Run = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Judge this run: a file of one row, or a trial's id in DATA.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def new(path: Path, suffixes: tuple[str, ...], force: bool) -> None:
    """Refuse an output of the wrong kind, or one that is there already, before anything is computed."""
    if path.suffix.lower() not in suffixes:
        known = ", ".join(suffixes)
        raise InputError(f"cannot write {path.suffix or 'a file without a suffix'}", str(path), f"End it in one of {known}")
    if path.exists() and not force:
        raise InputError("the file is there already", str(path), "Choose another name, or replace it with --force")


def read(
    data: str, mapping: str | None = None, where: str | None = None, outcome: str | None = None, hyper: list[str] | None = None
) -> Trials:
    """The trials of DATA, renamed and filtered as the options say; `hyper` names columns to count as hyperparameters."""
    from ..store import load

    return load(data, mapping, where, outcome, hyper=columns(hyper, "--hyper") or ())


def read_run(run: str, trials: Trials, mapping: str | None = None, outcome: str | None = None) -> Trials:
    """RUN as a table of one row, read with the names that --map gives, or with its own where it does not use those."""
    from ..store import find_run

    return _found(find_run, run, trials, mapping, outcome)


def read_judged(run: str, trials: Trials, mapping: str | None = None, outcome: str | None = None) -> Trials:
    """The same where RUN may be several runs."""
    from ..store import find_runs

    return _found(find_runs, run, trials, mapping, outcome)


def _found(find: Callable[..., Trials], run: str, trials: Trials, mapping: str | None, outcome: str | None) -> Trials:
    try:
        return find(run, trials, mapping, outcome)
    except DataError:
        if mapping is None:
            raise
        with contextlib.suppress(InputError):
            return find(run, trials)
        raise


@contextlib.contextmanager
def naming(data: str, trials: Trials | None = None) -> Generator[None]:
    """Put DATA's name before an error that does not say where it arose; where its trials are of several tasks, that is why."""
    try:
        yield
    except InputError as error:
        from ..store import several_tasks, shown

        tasks = [each for each in trials.notes if each in several_tasks(trials)] if trials is not None else []
        if tasks:
            raise InputError(error.what, error.where or shown(data), tasks[0]) from error
        if error.where or not isinstance(error, DataError):
            raise
        raise DataError(error.what, shown(data), error.mend) from error


def share(level: float, option: str = "--level") -> float:
    """A level between 0 and 1, neither included."""
    if not 0 < level < 1:
        raise InputError(f"{level} is not between 0 and 1", option, "Give a share, for example 0.9")
    return level


def columns(text: str | list[str] | None, option: str) -> tuple[str, ...] | None:
    """The column names an option such as `--over parameters,tokens` lists; None where it was not given."""
    return names(text, option) if text else None
