"""Any command: `[trainer] command = ["python", "train.py", "--lr", "{learning_rate}", "--width", "{width}"]`.

    command = ["python", "train.py", "--lr", "{learning_rate}"]     # no shell; a single string is split as a shell would
    environment = { WIDTH = "{width}" }

It runs in the study's folder and prints JSON, a line each, on its standard output:

    {"step": 10, "loss": 2.31, "accuracy": 0.2}                     # as often as it likes
    {"loss": 1.92, "parameters": 12352, "final": true}              # its result; else the last line with a loss

or writes its result as JSON to `{result}`. Whatever else it prints is kept for the message if it fails.
"""

from __future__ import annotations

import codecs
import json
import os
import shlex
import shutil
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import StudyError
from ..trial import Trial, TrialSpec
from ._base import Order
from ._process import Ended, run
from ._record import Record
from ._reported import Reported
from ._template import OWN, fill, placeholders, values_of

__all__ = ["Command"]

_MEND = 'For example command = ["python", "train.py", "--lr", "{learning_rate}"]'
_LARGEST_RESULT = 1 << 24
_SHOWN = 300


class Command(Reported):
    """A command of the user's, run once for each trial."""

    name = "command"
    summary = 'any command that prints its losses: command = ["python", "train.py", "--lr", "{learning_rate}"]'
    keys = ("command", "environment", "directory")

    def resolved(self, settings: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """With the command as a list, and the folder in which it runs: that of the study, or `directory` seen from there."""
        found = dict(super().resolved(settings, folder))
        found["command"] = _words(found.get("command"))
        environment = found.setdefault("environment", {})
        if not isinstance(environment, Mapping) or not all(isinstance(value, str) for value in environment.values()):
            mend = 'For example environment = { WIDTH = "{width}" }'
            raise StudyError(f"this is a table of texts, not {environment!r}", "trainer.environment", mend)
        for text in (*found["command"], *environment.values()):
            placeholders(text, "trainer.command" if text in found["command"] else "trainer.environment")
        if any("=" in name or "\0" in name or not name for name in environment):
            raise StudyError("a variable's name has no = in it", "trainer.environment", 'Give NAME = "value"')
        directory = found.get("directory", ".")
        if not isinstance(directory, str) or not (place := (folder / directory).resolve()).is_dir():
            raise StudyError(f"there is no folder {directory!r}", "trainer.directory", "Give it as seen from the study's file")
        return {**found, "directory": str(place)}

    def check(self, spec: TrialSpec, settings: Mapping[str, Any]) -> None:
        """Raises SpecError as well where a placeholder names nothing that the trial has."""
        super().check(spec, settings)
        _filled(settings, values_of(spec, dict.fromkeys(OWN[4:], "")))

    def run(self, record: Record, order: Order) -> Trial:
        """Run the command; see `Reported.run`."""
        record.folder.mkdir(parents=True, exist_ok=True)
        result = record.folder / "result.json"
        result.unlink(missing_ok=True)
        own = {"result": str(result), "folder": str(record.folder), "python": sys.executable}
        command, environment = _filled(order.settings, values_of(record.spec, own))
        directory = Path(order.settings["directory"])
        if not directory.is_dir():
            return record.failed(f"the folder {directory} is not there on this worker")
        if shutil.which(command[0], path=environment.get("PATH", os.environ.get("PATH"))) is None and os.sep not in command[0]:
            return record.failed(f"command not found: {command[0]}")
        told = {
            "RESULT": str(result),
            "TRIAL": record.spec.id,
            "SPEC": json.dumps(record.spec.to_dict()),
            "FOLDER": own["folder"],
        }
        given = {
            "PYTHONUNBUFFERED": "1",
            **os.environ,
            **{f"SCALELAW_{name}": value for name, value in told.items()},
            **environment,
        }
        reader = _Reader(record)
        ended = run(
            command,
            given,
            directory,
            line=reader.line,
            complaint=reader.complaint,
            going=lambda: record.verdict is None and not reader.wrong,
            left=record.left,
        )
        return _judged(record, reader, ended, command[0], result)


class _Reader:
    """What a command prints."""

    def __init__(self, record: Record) -> None:
        self.result: Mapping[str, Any] | None = None
        self.final = False
        self.wrong = ""
        self._record = record
        self._printed: deque[str] = deque(maxlen=20)
        self._complained: deque[str] = deque(maxlen=20)

    def line(self, text: bytes) -> bool:
        """A line of the standard output; whether it is one of JSON."""
        value = _object(text)
        if value is None:
            self._keep(self._printed, text)
            return False
        if self.final or self.wrong or "loss" not in value:
            return True
        if (other := value.get("id", self._record.spec.id)) != self._record.spec.id:
            self.wrong = f"the result is for an unknown trial ({other!r})"
        elif value.get("final"):
            self.result, self.final = value, True
        elif "step" in value:
            self.result = None  # a report: its loss counts as those of reports do
            self._report(value)
        else:
            self.result = value
        return True

    def complaint(self, text: bytes) -> bool:
        """A line of the standard error."""
        self._keep(self._complained, text)
        return True

    def tail(self) -> str:
        """The last line it complained with, else the last it printed."""
        return next((lines[-1] for lines in (self._complained, self._printed) if lines), "")

    def _report(self, value: Mapping[str, Any]) -> None:
        if value["loss"] is None:
            return
        metrics = {name: each for name, each in value.items() if name not in ("step", "loss", "id") and _is_number(each)}
        try:
            self._record.note(value["step"], value["loss"], metrics)
        except (TypeError, ValueError) as error:
            self.wrong = f"cannot read its report: {error}"

    @staticmethod
    def _keep(lines: deque[str], text: bytes) -> None:
        if shown := " ".join(text.decode("utf-8", "replace").split())[:_SHOWN]:
            lines.append(shown)


def _judged(record: Record, reader: _Reader, ended: Ended, name: str, path: Path) -> Trial:
    """The trial, by how the command ended and what it left."""
    tail = f": {reader.tail()}" if reader.tail() else ""
    if record.verdict is not None:
        return record.end(None)
    if record.left() <= 0:
        record.late()
        return record.end(None)
    if reader.wrong:
        return record.failed(reader.wrong)
    if ended.error:
        return record.failed(f"{name} does not start: {ended.error}")
    if ended.code is None:
        return record.failed(f"the command was killed{tail}")
    if ended.code:
        return record.failed(f"{f'signal {-ended.code}' if ended.code < 0 else f'exit code {ended.code}'}{tail}")
    written, wrong = _written(path)
    if wrong:
        return record.failed(wrong)
    if written is None and not reader.final and ended.cut:
        return record.failed(f"its last line is cut off: {ended.cut}")
    found = reader.result if written is None else written
    if found is None and record.course.last is None:
        return record.failed(f"it printed no loss{tail}")
    if found is not None and found.get("loss") is None and record.course.last is None:
        return record.failed("its result has no loss")
    return record.end(found)


def _written(path: Path) -> tuple[Mapping[str, Any] | None, str]:
    """The result file's content; None where there is none; and what is wrong with it."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            return None, "its result file is no file"
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_RESULT)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"its result file cannot be read: {error.strerror}"
    value = _object(content)
    return (value, "") if value is not None else (None, "its result file is no JSON object")


def _object(text: bytes) -> dict[str, Any] | None:
    """A JSON object, also with NaN and Infinity as Python writes them; None for anything else."""
    if not text.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(given: Any) -> list[str]:
    """The command as a list. Raises StudyError."""
    if isinstance(given, str):
        try:
            given = shlex.split(given)
        except ValueError as error:
            raise StudyError(f"cannot split {given!r}: {error}", "trainer.command", _MEND) from error
    if not isinstance(given, list) or not given or not all(isinstance(word, str) and "\0" not in word for word in given):
        raise StudyError(f"this is a list of words, not {given!r}", "trainer.command", _MEND)
    return given


def _filled(settings: Mapping[str, Any], values: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command and its environment for one trial. Raises SpecError where a placeholder names nothing."""
    command = [fill(word, values, "trainer.command") for word in settings["command"]]
    return command, {name: fill(text, values, "trainer.environment") for name, text in settings["environment"].items()}
