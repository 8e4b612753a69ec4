"""Your own arrays: a file of NumPy's `.npz` with `inputs` and `targets`."""

from __future__ import annotations

import functools
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..trial import Value
from ._base import Loss, Task, TaskData, held_out, located

__all__ = ["Npz"]

MOST_BYTES = 8 << 30
NAMES = ("inputs", "targets", "test_inputs", "test_targets")


class Npz(Task):
    """Arrays from a file written by `numpy.savez`. Python objects in it are refused, not run.

        inputs                      floating: vectors (examples, I); pictures and such (examples, ...) are laid out as vectors
                                    whole:    tokens (examples, T), with targets of the same shape, the next tokens
        targets                     (examples,) whole: labels 0, 1, ...
                                    (examples, classes) floating: distributions, or, with loss = squared_error, values
        test_inputs, test_targets   the same for held-out examples; without them every twentieth example is held out

    Whole inputs with targets of another shape are numbers, pixels say, and are read as vectors. Scaling the numbers is the
    file's business.

    Options:
        file: the path.
        loss: cross_entropy, or squared_error for targets that are values.
    """

    name = "npz"
    summary = "your own arrays: inputs and targets from a .npz file"
    defaults: Mapping[str, Value] = {"file": "", "loss": "cross_entropy"}
    meaning: Mapping[str, str] = {
        **Task.meaning,
        "D": "examples, or tokens, seen: steps times batch size (times tokens per example), repeats counted",
    }

    def load(self, options: Mapping[str, Value]) -> TaskData:
        """The file's arrays, checked."""
        file, loss = str(options["file"]), str(options["loss"])
        if not file:
            raise self.wrong("file", file, "Give the path of a .npz file with arrays inputs and targets")
        if loss not in ("cross_entropy", "squared_error"):
            raise self.wrong("loss", loss, "Give 'cross_entropy' or 'squared_error'")
        path = located(file)
        if path is None or not path.is_file():
            raise _bad(file, "is not a file", "Give the path of a .npz file")
        return _load(path, path.stat().st_mtime_ns, loss == "squared_error")


@functools.lru_cache(maxsize=1)
def _load(path: Path, stamp: int, squared: bool) -> TaskData:
    """The data; `stamp` is the file's time, so that a file that has changed is read again."""
    del stamp
    arrays = _read(path)
    given = "test_inputs" in arrays
    if given != ("test_targets" in arrays):
        raise _bad(path, "has only one of test_inputs and test_targets", "Give both or neither")
    pairs = {"": (arrays["inputs"], arrays["targets"])}
    if given:
        pairs["test_"] = (arrays["test_inputs"], arrays["test_targets"])
    for prefix, (inputs, targets) in pairs.items():
        if not inputs.ndim or not targets.ndim or len(inputs) != len(targets) or not inputs.size:
            shapes = f"{prefix}inputs {inputs.shape} and {prefix}targets {targets.shape}"
            raise _bad(path, f"{shapes} are not the same number of examples, one or more", "Give one target per input")
        if inputs.shape[1:] != arrays["inputs"].shape[1:] or targets.shape[1:] != arrays["targets"].shape[1:]:
            raise _bad(path, f"{prefix}inputs or {prefix}targets have another shape than those to train on", "Make them alike")
    if not given:
        train, test = held_out(len(arrays["inputs"]))
        if not len(train) or not len(test):
            raise _bad(path, "has one example, and none to hold out", "Give more")
        inputs, targets = pairs[""]
        pairs = {"": (inputs[train], targets[train]), "test_": (inputs[test], targets[test])}
    return _data(path, pairs[""], pairs["test_"], squared)


def _data(path: Path, train: tuple[Any, Any], test: tuple[Any, Any], squared: bool) -> TaskData:
    """Which of the three kinds the arrays are, and the arrays as that kind has them."""
    (inputs, targets), (test_inputs, test_targets) = train, test
    whole, tokens = targets.dtype.kind in "iu", False
    if whole and not squared:
        tokens = inputs.dtype.kind in "iu" and inputs.ndim == 2 and inputs.shape == targets.shape
        if not tokens and targets.ndim != 1:
            raise _bad(path, f"whole targets of shape {targets.shape} are not labels", "Give one label per example")
        parts = (targets, test_targets, *((inputs, test_inputs) if tokens else ()))
        if min(int(part.min()) for part in parts) < 0 or max(int(part.max()) for part in parts) >= 1 << 20:
            raise _bad(path, "labels or tokens are not 0 to 2^20 - 1", "Number them from 0")
        kinds = max(int(part.max()) for part in parts) + 1
        targets, test_targets = targets.astype(np.int32), test_targets.astype(np.int32)
        if tokens:
            inputs, test_inputs = inputs.astype(np.int32), test_inputs.astype(np.int32)
            return TaskData(inputs, targets, test_inputs, test_targets, vocabulary=max(kinds, 2))
        return TaskData(_vectors(inputs), targets, _vectors(test_inputs), test_targets, labels=max(kinds, 2))
    targets, test_targets = _vectors(targets), _vectors(test_targets)
    if not squared:
        for part in (targets, test_targets):
            if part.min() < 0 or np.max(np.abs(part.sum(axis=1, dtype=np.float64) - 1)) > 1e-3:
                raise _bad(path, "targets are not distributions", "Give whole labels, or option loss = 'squared_error'")
    loss = Loss.SQUARED_ERROR if squared else Loss.CROSS_ENTROPY
    return TaskData(_vectors(inputs), targets, _vectors(test_inputs), test_targets, loss=loss)


def _vectors(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays by name; sizes are checked before anything is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MOST_BYTES:
            raise _bad(path, f"holds {size / 2**30:.1f} GiB, more than {MOST_BYTES >> 30}", "Give a smaller file")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in NAMES if name in file.files}
    except (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds Python objects" if "pickle" in str(error) else str(error) or "damaged"
        raise _bad(path, f"cannot be read ({reason})", "Write it with numpy.savez and plain arrays of numbers") from error
    for name in NAMES[:2]:
        if name not in arrays:
            raise _bad(path, f"has no array {name!r}", f"It has: {', '.join(sorted(arrays)) or 'none of ' + ', '.join(NAMES)}")
    for name, values in arrays.items():
        if values.dtype.kind not in "fiub":
            raise _bad(path, f"{name} is of type {values.dtype}, not of numbers", "Give numbers")
        if values.dtype.kind == "f" and not (np.abs(values) <= np.finfo(np.float32).max).all():
            raise _bad(path, f"{name} has values that are not finite numbers of 32 bits", "Take them out")
    return arrays


def _bad(path: Path | str, what: str, mend: str) -> SpecError:
    return SpecError(f"{path} {what}", "task npz", mend)
