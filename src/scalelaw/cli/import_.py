"""`scalelaw import`: other people's runs into a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ._json import emit
from ._options import Json, Map, Storage
from ._screen import note, say

__all__ = ["import_"]

_LINE_EVERY = 5.0
_SHOWN = 12


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Files, folders or addresses that an importer knows: scalelaw importers."),
    ],
    *,
    storage: Storage,
    mapping: Map = None,
    final: Annotated[
        str,
        typer.Option("--final", metavar="RULE", help="The final loss of a curve: last, min, mean:2% of the steps, or ema:0.99."),
    ] = "mean:2%",
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern", metavar="REGEX", help=r"Lines of plain logs, by named groups: 'it (?P<step>\d+) loss (?P<loss>\S+)'."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read runs that others trained into a store; doing it again changes nothing.

    Example: scalelaw import wandb/ --storage study.db
    """
    from ..importing import import_into
    from ..store import shown

    with _progress(quiet=as_json) as tell:
        found = import_into(paths, storage, mapping, final=final, pattern=pattern, on_progress=tell)
    if as_json:
        emit(
            {
                "rows": found.rows,
                "added": found.added,
                "known": found.known,
                "curves": found.curves,
                "sampled": found.sampled,
                "needs": {name: dict(counts) for name, counts in found.needs.items()},
                "ignored": found.ignored,
                "notes": found.notes,
            }
        )
        return
    with_curves = f", {found.curves} with a curve" if found.curves else ""
    runs = "1 run" if found.rows == 1 else f"{found.rows} runs"
    say(f"Read {runs}{with_curves}: {found.added} were added to {shown(storage)}, {found.known} were there already.")
    for each in found.notes:
        note(each)
    if found.ignored:
        some = ", ".join(found.ignored[:_SHOWN])
        more = f" and {len(found.ignored) - _SHOWN} more" if len(found.ignored) > _SHOWN else ""
        note(f"Ignored columns: {some}{more} (--map NAME=COLUMN uses one).")


@contextmanager
def _progress(quiet: bool) -> Generator[Callable[[int, int], None] | None]:
    """A bar on a terminal, a line now and then elsewhere; nothing for JSON, and nothing for what takes no time."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if quiet:
        yield None
    elif console.is_terminal:
        from rich.progress import Progress

        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("Reading runs", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        last = [time.monotonic()]

        def tell(done: int, total: int) -> None:
            if time.monotonic() - last[0] >= _LINE_EVERY:
                last[0] = time.monotonic()
                note(f"{done} of {total} runs are read.")

        yield tell
