"""Hugging Face Trainer: `checkpoint-*/trainer_state.json`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..trial import Status
from ._columns import as_number
from ._files import find, has, labels, read_text
from ._reading import Reading, Series, TrackedRun, fingerprint
from ._safetensors import count_weights
from ._tracked import Tracker

__all__ = ["HfTrainer"]

STATE = "trainer_state.json"
_LARGEST = 2**28
# What a log row says besides metrics, and the averages that the last row gives of the whole run.
_NO_METRIC = frozenset({"step", "epoch", "train_loss", "total_flos", "num_input_tokens_seen"})


class HfTrainer(Tracker):
    """The state that the Trainer saves with a checkpoint; of several in one folder the furthest.

    Loss and eval_loss come from its history, D from `num_input_tokens_seen`, C from `total_flos`; the learning rate is the peak
    of those logged, width and depth stand in `config.json`, and N is counted from the header of `model.safetensors`.
    `training_args.bin` is a pickle and is never opened. The history holds what was logged, means over `logging_steps` steps.
    """

    name = "hf_trainer"
    summary = "Hugging Face Trainer's folders (trainer_state.json)"

    def recognises(self, path: Path) -> bool:
        """By the file's name."""
        return has(path, STATE) if path.is_dir() else path.name == STATE

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """A run per output folder."""
        files = find(path, STATE) if path.is_dir() else [path]
        found: dict[Path, list[tuple[int, Path, dict[str, Any]]]] = {}
        for file, state in reading.attempt(files, _state):
            home = file.parent.parent if file.parent.name.startswith("checkpoint-") and path.is_dir() else file.parent
            step = state.get("global_step")
            found.setdefault(home, []).append((step if isinstance(step, int) else 0, file, state))
        root = path if path.is_dir() else path.parent
        if not all(home.is_relative_to(root) for home in found):  # a checkpoint's own folder was given
            root = root.parent
        for (_, states), label in zip(found.items(), labels(root, list(found)), strict=True):
            _, file, state = max(states, key=lambda each: (each[0], str(each[1])))
            yield _run(label, file, state)


def _state(file: Path) -> dict[str, Any]:
    try:
        state = json.loads(read_text(file, _LARGEST))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON ({error})", str(file), "Take the checkpoint before, or leave this one out") from error
    if not isinstance(state, dict) or not isinstance(state.get("log_history"), list):
        raise DataError("there is no log_history in it", str(file), "Give the trainer_state.json that the Trainer wrote")
    return state


def _run(label: str, file: Path, state: dict[str, Any]) -> TrackedRun:
    points: dict[str, tuple[list[float], list[float]]] = {}
    for row in state["log_history"]:
        step = as_number(row.get("step")) if isinstance(row, dict) else None
        if step is None:
            continue
        for name, value in row.items():
            number = as_number(value)
            if name not in _NO_METRIC and number is not None:
                steps, values = points.setdefault(name, ([], []))
                steps.append(step)
                values.append(number)
    series = {name: Series.of(steps, values) for name, (steps, values) in points.items()}
    done, total = state.get("global_step"), state.get("max_steps")
    ended = isinstance(done, int) and isinstance(total, int) and done >= total > 0
    return TrackedRun(
        f"{label}-{fingerprint(series)}",
        str(file),
        _config(file.parent, state),
        series,
        status=Status.COMPLETE if ended else Status.PRUNED,
        name=label,
        error=None if ended else f"its last checkpoint is of step {done} of {total}",
    )


def _config(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    config = folder / "config.json"
    if config.is_file() and not config.is_symlink():
        with contextlib.suppress(ValueError, RecursionError, DataError):
            told = json.loads(read_text(config, 2**24))
            items = told.items() if isinstance(told, dict) else ()
            found.update({name: value for name, value in items if isinstance(value, bool | int | float | str)})
    weights = count_weights(folder)
    if weights is not None:
        found["parameters"], found["embedding_parameters"] = weights
    for name, key in (("num_input_tokens_seen", "tokens"), ("total_flos", "total_flos"), ("max_steps", "max_steps")):
        value = state.get(name)
        if isinstance(value, int | float) and value > 0:
            found[key] = value
    if isinstance(state.get("train_batch_size"), int):
        found["train_batch_size"] = state["train_batch_size"]
    return found
