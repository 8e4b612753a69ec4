"""What a person sees while a study is trained: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from ..errors import printable
from ._screen import note, number

if TYPE_CHECKING:
    from rich.console import Console

    from ..run import Event, Progress, Retried

__all__ = ["duration", "flops", "watching"]

LINE_EVERY = 5.0
LINE_SHARE = 0.05


@contextlib.contextmanager
def watching(quiet: bool = False) -> Generator[Callable[[Event], None]]:
    """Something to hand to `run(on_event=...)`; it draws on stderr, so that stdout keeps the result alone."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with _bar(console) as watch:
            yield watch
    else:
        yield _lines()


@contextlib.contextmanager
def _bar(console: Console) -> Generator[Callable[[Event], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    from ..run import Retried, Started, Stopping

    layout = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Bar(*layout, console=console, expand=True) as bar:
        task = bar.add_task("", total=None, told="")

        def watch(event: Event) -> None:
            at = event.progress
            bar.update(task, total=at.trials, completed=at.done, told=_told(at))
            match event:
                case Started():
                    bar.update(task, description=event.study)
                case Retried():
                    bar.console.print(printable(_again(event)), markup=False)
                case Stopping():
                    bar.console.print(f"{event.signal}: storing what is finished ...", markup=False)
                case _:
                    pass

        yield watch


def _lines() -> Callable[[Event], None]:
    from ..run import Retried, Started, Stopping, TrialEnded

    last = {"time": 0.0, "done": 0}

    def watch(event: Event) -> None:
        at = event.progress
        match event:
            case Started():
                last.update(time=time.monotonic(), done=at.done)
                note(f"{event.study}: {at.trials - at.done} of {at.trials} trials to train on {event.workers} workers")
            case Retried():
                note(_again(event))
            case Stopping():
                note(f"{event.signal}: storing what is finished")
            case TrialEnded():
                waited = time.monotonic() - last["time"] >= LINE_EVERY
                moved = at.done - last["done"] >= max(1.0, LINE_SHARE * at.trials)
                if (waited and moved) or at.done == at.trials:
                    last.update(time=time.monotonic(), done=at.done)
                    note(f"{at.done} of {at.trials} trials, {_told(at)}")

    return watch


def _again(event: Retried) -> str:
    return f"{event.trials} {'trial is' if event.trials == 1 else 'trials are'} trained again: {event.reason}"


def _told(at: Progress) -> str:
    parts = [] if at.flops is None or at.flops_done is None else [f"{flops(at.flops_done)} of {flops(at.flops)}"]
    if at.eta is not None:
        parts.append(f"{duration(at.eta)} left")
    parts.append(f"{at.diverged} diverged")
    parts += [f"{count} {word}" for count, word in ((at.failed, "failed"), (at.lost, "lost")) if count]
    return ", ".join(parts)


def flops(value: float) -> str:
    """A count of FLOPs with its prefix: `3.2 TFLOP`."""
    for exponent, prefix in ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M")):
        if value >= 10**exponent:
            return f"{number(value / 10**exponent, 3)} {prefix}FLOP"
    return f"{number(value, 3)} FLOP"


def duration(seconds: float) -> str:
    """A time in words: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
