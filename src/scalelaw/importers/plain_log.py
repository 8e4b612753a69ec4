"""What a trainer printed: nanoGPT's lines, and any others in which numbers stand beside their names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..notation import quantity
from ._columns import number_in
from ._files import find, labels, read_text
from ._loss import loss_rank
from ._reading import Reading, Series, TrackedRun, fingerprint
from ._tracked import Tracker
from ._units import count_in

__all__ = ["PlainLog"]

_ENDINGS = (".log", ".txt", ".out", ".err")
_HEAD = 2**18
_NUMBER = r"[+-]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf)(?:inity)?"
# A line is cut at this length and its runs of blanks are one blank each, so that every pattern takes time linear in its length.
_LINE = 4_000
_STEP = re.compile(
    r"(?<![\w/])(?:global_)?(?:step|iter|iteration|it|update)s?\b[\"']? ?[:=#]? ?(\d[\d,]*)(?: ?/ ?(\d[\d,]*))?", re.IGNORECASE
)
_PAIR = re.compile(rf"(?<![\w/.\-])([A-Za-z][\w/.\-]*(?: loss)?)[\"']? ?[:=]? ?({_NUMBER})(?![\w.])", re.IGNORECASE)
_SETTING = re.compile(r"(?:Overriding: )?([A-Za-z_][\w.]*) ?[=:] ?([^#]+)")
_SIZE = re.compile(
    r"(?:number of|total|trainable|model) param(?:eter)?s?(?: count)? ?[:=]? ?([\d.,]+) ?([kKMBT]?)\b", re.IGNORECASE
)
_PER_STEP = re.compile(r"tokens per iter(?:ation)?(?: will be)? ?[:=]? ?([\d,]+)", re.IGNORECASE)
_COUNTS = ("max_iters", "max_steps", "num_steps", "total_steps", "train_steps", "num_iterations")


class PlainLog(Tracker):
    """One file is one run. A line with a step and a loss is a record: `iter 10: loss 4.2, lr 3e-4`, `step=10 | train_loss=4.2`.

    Lines `name = value`, `Overriding: name = value`, `number of parameters: 123.59M` and `tokens per iteration will be: 491,520`
    give settings. Any other layout is read with `--pattern`, a regular expression whose named groups `step`, `loss` and further
    metrics are looked for in each line.
    """

    name = "plain_log"
    summary = "text that a trainer printed (.log, .txt, .out), a file per run"
    turn = 1

    def recognises(self, path: Path) -> bool:
        """By a line with a step and a loss near the beginning."""
        if path.is_dir():
            with contextlib.suppress(OSError):
                return any(_looks(file) for file in sorted(path.iterdir()) if file.suffix.lower() in _ENDINGS)
            return False
        return path.suffix.lower() in _ENDINGS and _looks(path)

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """A run per file."""
        pattern = _pattern(reading.pattern)
        files = [file for file in find(path, "*") if file.suffix.lower() in _ENDINGS] if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        names = dict(zip(files, labels(root, files), strict=True))
        for _, run in reading.attempt(files, lambda file: _run(file, names[file].removesuffix(file.suffix), pattern)):
            yield run


def _looks(file: Path) -> bool:
    with contextlib.suppress(OSError), file.open("rb") as stream:
        head = stream.read(_HEAD)
        if b"\0" in head:
            return False
        lines = head.decode("utf-8", "replace").splitlines()
        return any(_record(_plain(line)) is not None for line in lines)
    return False


def _plain(line: str) -> str:
    return " ".join(line[:_LINE].split())


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        found = re.compile(text)
    except re.error as error:
        mend = r"Write for example 'it (?P<step>\d+) loss (?P<loss>\S+)'"
        raise DataError(f"this is no regular expression ({error})", "--pattern", mend) from error
    if "step" not in found.groupindex or len(found.groupindex) < 2:
        raise DataError("it names no step, or nothing beside it", "--pattern", r"Name groups: (?P<step>\d+) and (?P<loss>\S+)")
    return found


def _run(file: Path, label: str, pattern: re.Pattern[str] | None) -> TrackedRun:
    points: dict[str, tuple[list[float], list[float]]] = {}
    config: dict[str, Any] = {}
    per_step: float | None = None
    for raw in read_text(file).splitlines():
        line = _plain(raw)
        record = _record(line) if pattern is None else _matched(pattern, raw[:_LINE])
        if record is not None:
            step, values, total = record
            if total is not None:
                config.setdefault("total_steps", total)
            for name, value in values.items():
                steps, numbers = points.setdefault(name, ([], []))
                steps.append(step)
                numbers.append(value)
        elif (found := _PER_STEP.search(line)) is not None:
            per_step = float(found[1].replace(",", ""))
        elif (found := _SIZE.search(line)) is not None:
            config["parameters"] = _count(found[1], found[2])
        elif (found := _SETTING.match(line)) is not None:
            config[found[1]] = found[2].strip(" \"'")
    if not points:
        mend = r"Describe its lines: --pattern 'it (?P<step>\d+) loss (?P<loss>\S+)'"
        raise DataError("no line holds a step and a loss", str(file), mend)
    total = next((number for name in _COUNTS if (number := number_in(config.get(name))) is not None), None)
    if total is not None:
        config.setdefault("total_steps", total)
        if per_step is not None and "tokens" not in config:
            config["tokens"] = per_step * total
    series = {name: Series.of(steps, numbers) for name, (steps, numbers) in points.items()}
    return TrackedRun(f"{label}-{fingerprint(series)}", str(file), config, series, name=label)


def _count(digits: str, unit: str) -> float | None:
    plain = digits.replace(",", "").rstrip(".")
    return count_in(f"{plain}{unit}") if unit else number_in(plain)


def _record(line: str) -> tuple[float, dict[str, float], float | None] | None:
    """(step, metrics, steps in all) of a line; None where it has no step or no loss."""
    found = _STEP.search(line)
    if found is None:
        return None
    rest = line[: found.start()] + " " + line[found.end() :]
    values: dict[str, float] = {}
    for name, digits in _PAIR.findall(rest):
        known = quantity(name.replace(" ", "_"))
        if loss_rank(name) is not None or known is not None:
            values.setdefault(name.replace(" ", "_"), float(digits.replace(",", "")))
    if not any(loss_rank(name) is not None for name in values):
        return None
    return float(found[1].replace(",", "")), values, float(found[2].replace(",", "")) if found[2] else None


def _matched(pattern: re.Pattern[str], line: str) -> tuple[float, dict[str, float], float | None] | None:
    found = pattern.search(line)
    if found is None:
        return None
    numbers = {name: number_in(text.rstrip(",;")) for name, text in found.groupdict().items() if text is not None}
    step = numbers.pop("step", None)
    values = {name: value for name, value in numbers.items() if value is not None}
    return (step, values, None) if step is not None and values else None
