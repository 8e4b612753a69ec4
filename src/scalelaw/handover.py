"""Handing a study's trials to another tool that will run them: W&B sweeps, Optuna's queue.

A study, such as the one a plan writes, is a set of trials. W&B's grid sweeps take products of values only, so the set is cut
into as few products as merging finds, each a sweep of its own, that together hold every trial once. Optuna takes any trial.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError, MissingExtraError
from .study import Study
from .trial import TrialSpec, Value

__all__ = ["boxes", "enqueue_optuna", "settings_of", "sweeps", "write_sweeps"]

Box = dict[str, tuple[Value, ...]]


def settings_of(spec: TrialSpec) -> dict[str, Value]:
    """What a program is told of a trial: its scale, its hyperparameters and its seed, by column."""
    return {**spec.scale, **spec.hyperparameters, "seed": spec.seed}


def boxes(specs: Sequence[TrialSpec]) -> list[Box]:
    """Products of values that together hold every trial once.

    Boxes that differ in one column only are merged, column by column, until none do: the fewest where the trials are a grid, few
    where they are a ladder or what a plan chose.
    """
    found: list[Box] = [{name: (value,) for name, value in settings_of(spec).items()} for spec in dict.fromkeys(specs)]
    columns = list(dict.fromkeys(name for box in found for name in box))
    merging = True
    while merging:
        count = len(found)
        for column in reversed(columns):
            found = _merged(found, column)
        merging = len(found) < count
    return found


def _merged(found: Sequence[Box], column: str) -> list[Box]:
    """Boxes that are alike but for `column` as one."""
    alike: dict[Any, list[Box]] = {}
    for box in found:
        key = tuple((name, values) for name, values in sorted(box.items()) if name != column)
        alike.setdefault((key, column in box), []).append(box)
    merged: list[Box] = []
    for group in alike.values():
        if column in group[0]:
            values = tuple(dict.fromkeys(value for box in group for value in box[column]))
            merged.append({**group[0], column: values})
        else:
            merged += group
    return merged


def sweeps(study: Study, program: str | None = None, metric: str = "loss") -> list[dict[str, Any]]:
    """The configurations of W&B grid sweeps that together run every trial of a study once.

    Args:
        study: its trials. program: the script that W&B's agent starts with `--width=64 --learning_rate=0.001 ... --seed=0`; None
            takes it from the study's `[trainer]` table.
        metric: what the script logs as its loss.

    Raises:
        InputError: neither names a program.
    """
    script = program or _script(study.trainer)
    if script is None:
        raise InputError("no program is named", "--program", "Say which script W&B's agent should start: --program train.py")
    cut = boxes(study.specs)
    return [
        {
            "program": script,
            "name": study.name if len(cut) == 1 else f"{study.name} ({k} of {len(cut)})",
            "method": "grid",
            "metric": {"name": metric, "goal": "minimize"},
            "parameters": {
                name: {"value": values[0]} if len(values) == 1 else {"values": list(values)} for name, values in box.items()
            },
        }
        for k, box in enumerate(cut, 1)
    ]


def _script(trainer: Mapping[str, Any]) -> str | None:
    """The script that a `[trainer]` table runs: the first word of a command that ends in .py, or a function's file."""
    command = trainer.get("command", ())
    words = command.split() if isinstance(command, str) else [str(word) for word in command]
    words += [str(trainer["function"]).rpartition(":")[0]] if "function" in trainer else []
    return next((word for word in words if word.endswith(".py")), None)


def write_sweeps(
    study: Study, path: Path, program: str | None = None, metric: str = "loss", *, replace: bool = True
) -> list[Path]:
    """Write `sweeps` as YAML: into `path`, or where there are several into `sweep-1.yaml`, `sweep-2.yaml`, ... beside it.

    Raises:
        InputError: see `sweeps`, or a file that cannot be written, or one that is there and not to be replaced.
    """
    made = sweeps(study, program, metric)
    paths = [path] if len(made) == 1 else [path.with_name(f"{path.stem}-{k}{path.suffix}") for k in range(1, len(made) + 1)]
    if there := next((each for each in paths if each.exists() and not replace), None):
        raise InputError("the file is there already", str(there), "Choose another name, or replace it with --force")
    for each, content in zip(paths, made, strict=True):
        try:
            each.write_text("".join(_yaml(content)), encoding="utf-8")
        except OSError as error:
            raise InputError(f"the file cannot be written ({error.strerror})", str(each), "Choose another path") from error
    return paths


def _yaml(values: Mapping[str, Any], depth: int = 0) -> list[str]:
    """YAML of nested mappings. JSON's strings, numbers and lists are YAML's, but that 1e-4 needs its point to be a number."""
    lines: list[str] = []
    for name, value in values.items():
        head = f"{'  ' * depth}{json.dumps(name) if not name.isidentifier() else name}:"
        if isinstance(value, Mapping):
            lines += [f"{head}\n", *_yaml(value, depth + 1)]
        elif isinstance(value, list):
            lines.append(f"{head} [{', '.join(map(_scalar, value))}]\n")
        else:
            lines.append(f"{head} {_scalar(value)}\n")
    return lines


def _scalar(value: Value) -> str:
    # JSON escapes a letter beyond U+FFFF by two halves, which YAML does not join: it is written as it is.
    text = json.dumps(value, ensure_ascii=not str(value).isprintable())
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text


def enqueue_optuna(study: Study, storage: str | Any, name: str | None = None) -> int:
    """Queue every trial of a study in Optuna, whose workers then run them first. Trials that are queued or done stay as they are.

    Args:
        study: its trials; each becomes the parameters by column, and the user attribute `scalelaw` holds its id.
        storage: an `optuna.Study`, or the URL or file of Optuna's storage. name: of the Optuna study; None: the study's own.

    Returns:
        how many were queued.

    Raises:
        MissingExtraError: Optuna is not installed. InputError: its storage cannot be used.
    """
    target: Any = storage if not isinstance(storage, str) else _opened(storage, name or study.name)
    known = {trial.user_attrs.get("scalelaw") for trial in target.get_trials(deepcopy=False)}
    new = [spec for spec in study.specs if spec.id not in known]
    for spec in new:
        target.enqueue_trial(settings_of(spec), user_attrs={"scalelaw": spec.id})
    return len(new)


def _opened(storage: str, name: str) -> Any:
    try:
        optuna: Any = importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        raise MissingExtraError("optuna", "optuna", "queueing trials in Optuna") from error
    url = storage if "://" in storage else f"sqlite:///{storage}"
    try:
        return optuna.create_study(study_name=name, storage=url, direction="minimize", load_if_exists=True)
    except Exception as error:  # whatever its database driver raises
        told = " ".join(str(error).split())[:200]
        raise InputError(
            f"Optuna's storage cannot be used ({told})", storage, "Give a URL such as sqlite:///optuna.db"
        ) from error
