"""Optuna's journal file: one JSON object per line, each an operation."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from ._files import read_text
from ._optuna import OptunaTrial, external, number_of, run_of, seconds_between
from ._reading import Reading, TrackedRun
from ._tracked import Tracker

__all__ = ["OptunaJournal"]

# optuna.storages.journal: the operations, and TrialState by number.
_CREATE_STUDY, _DELETE_STUDY, _CREATE_TRIAL, _PARAM, _STATE, _INTERMEDIATE, _ATTRIBUTE = 0, 1, 4, 5, 6, 7, 8
_STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
_MAXIMISE = 2


class OptunaJournal(Tracker):
    """The file of `JournalFileBackend`, its operations played again without Optuna. A last line that is cut off is left out."""

    name = "optuna_journal"
    summary = "Optuna's journal file, read without Optuna"

    def recognises(self, path: Path) -> bool:
        """By the first line."""
        return bool(_files(path))

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """The trials of every study."""
        for file in _files(path):
            trials, torn = _played(file)
            notes = (f"The last line of {file.name} is cut off and left out.",) if torn else ()
            for trial in reading.each(trials):
                yield replace(run_of(trial, str(file)), notes=notes)


def _files(path: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        files = (
            sorted(each for each in path.iterdir() if each.suffix in (".log", ".jsonl", ".journal")) if path.is_dir() else [path]
        )
        return [file for file in files if file.is_file() and _begins(file)]
    return []


def _begins(file: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, RecursionError), file.open("rb") as stream:
        first = json.loads(stream.readline(2**16))
        return isinstance(first, dict) and "op_code" in first and "worker_id" in first
    return False


def _played(file: Path) -> tuple[list[OptunaTrial], bool]:
    text = read_text(file)
    studies: list[tuple[str, bool] | None] = []
    trials: list[OptunaTrial] = []
    begun: dict[int, Any] = {}
    lines = text.splitlines()
    torn = False
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            _play(json.loads(line), studies, trials, begun)
        except (LookupError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            if number == len(lines) and not text.endswith("\n"):
                torn = True
                break
            what = f"this is no operation of Optuna ({type(error).__name__}: {error})"
            raise DataError(what, f"{file}: line {number}", "Remove the line, or restore the file from a copy") from error
    gone = {index for index, study in enumerate(studies) if study is None}
    return [each for each in trials if each.state != "WAITING" and each.study_id not in gone], torn


def _play(log: dict[str, Any], studies: list[tuple[str, bool] | None], trials: list[OptunaTrial], begun: dict[int, Any]) -> None:
    code = log["op_code"]
    if code == _CREATE_STUDY:
        studies.append((str(log["study_name"]), list(log["directions"])[:1] == [_MAXIMISE]))
    elif code == _DELETE_STUDY:
        studies[log["study_id"]] = None
    elif code == _CREATE_TRIAL:
        _create(log, studies, trials, begun)
    elif code == _PARAM:
        trials[log["trial_id"]].params[log["param_name"]] = external(log["param_value_internal"], log["distribution"])
    elif code == _STATE:
        key = log["trial_id"]
        trials[key].state = _STATES[log["state"]]
        begun[key] = log.get("datetime_start") or begun.get(key)
        trials[key].values.update(enumerate(number_of(value, None) for value in log.get("values") or ()))
        trials[key].seconds = seconds_between(begun[key], log.get("datetime_complete"))
    elif code == _INTERMEDIATE:
        trials[log["trial_id"]].steps[int(log["step"])] = float(log["intermediate_value"])
    elif code == _ATTRIBUTE:
        trials[log["trial_id"]].attributes.update(log["user_attr"])


def _create(
    log: dict[str, Any], studies: list[tuple[str, bool] | None], trials: list[OptunaTrial], begun: dict[int, Any]
) -> None:
    """A trial, which may be made whole at once."""
    index = log["study_id"]
    name, maximised = studies[index] or ("", False)
    number = next((each.number + 1 for each in reversed(trials) if each.study_id == index), 0)
    trial = OptunaTrial(name, number, _STATES[log.get("state", 0)], maximised, index)
    trial.attributes = dict(log.get("user_attrs", {}))
    distributions = log.get("distributions", {})
    trial.params = {key: external(value, distributions.get(key)) for key, value in log.get("params", {}).items()}
    trial.steps = {int(step): float(value) for step, value in log.get("intermediate_values", {}).items()}
    given = log.get("values") or ([log["value"]] if log.get("value") is not None else [])
    trial.values = dict(enumerate(number_of(value, None) for value in given))
    begun[len(trials)] = log.get("datetime_start")
    trials.append(trial)
