"""A Python function: `[trainer] function = "train.py:train"` or `"package.module:train"`.

    def train(spec, report):
        ...                                 # spec["width"], spec["learning_rate"], spec.seed
        report(step, loss)                  # as often as it likes; the run may be stopped there
        return loss                         # or {"loss": ..., "parameters": ..., "tokens": ..., "accuracy": ...}, or nothing

It is called in the worker's process, one trial after the other. What it prints goes to the worker's standard error.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import spool
from ..errors import StoreError, StudyError, near, one_line
from ..trial import Trial
from ._base import Order
from ._limit import limited
from ._record import Record, Report, Stopped
from ._reported import Reported

__all__ = ["Function", "function_settings"]

Train = Callable[..., Any]
_MEND = 'Write function = "train.py:train" or function = "package.module:train"'
_LOADED: dict[str, tuple[tuple[int, int], ModuleType]] = {}


class Function(Reported):
    """A function of the user's, called as `train(spec, report)` in the worker."""

    name = "function"
    summary = 'a Python function of yours: function = "train.py:train"'
    keys = ("function",)

    def resolved(self, settings: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """With the file's path made absolute, and a look at whether it holds the function; nothing is imported."""
        found = dict(super().resolved(settings, folder))
        place, name = _parts(found.get("function"))
        if place.endswith(".py"):
            path = (folder / place).resolve()
            _look(path, name)
            place = str(path)
        return {**found, "function": f"{place}:{name}"}

    def run(self, record: Record, order: Order) -> Trial:
        """Call the function; see `Reported.run`."""
        here = Path.cwd()
        try:
            return self._called(record, order)
        finally:
            with contextlib.suppress(OSError):
                os.chdir(here)

    def _called(self, record: Record, order: Order) -> Trial:
        error = ""
        result: Any = None
        try:
            with limited(record, _giving_up(record, order) if order.alone else None):
                result = _load(str(order.settings["function"]))(record.spec, Report(record))
        except Stopped:
            error = "it raised Stopped by itself"
        except KeyboardInterrupt:
            raise
        except SystemExit as end:
            error = f"it called exit ({end.code})"
        except BaseException as raised:  # a result of its trial, whatever a library derives its exceptions from
            error = one_line(raised) + _place(raised, str(order.settings["function"]))
        if error:
            gc.collect()  # what its frames held, an accelerator's memory above all
            return record.failed(error)
        return record.end(result)


def _place(raised: BaseException, text: str) -> str:
    """Where it was raised: the last line in the function's own folder that led there; empty where none did."""
    place, _ = _parts(text)
    file = place if place.endswith(".py") else getattr(sys.modules.get(place), "__file__", None)
    frames = () if file is None else traceback.extract_tb(raised.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(Path(str(file)).parent)]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def function_settings(function: Train) -> dict[str, Any]:
    """The `[trainer]` table that means a function, so that a worker finds it: `module:name`, or `path.py:name` of a script's own.

    Raises:
        StudyError: nobody can find it again: it is a lambda, has no module, or is defined inside another function.
    """
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", None)
    mend = "Define it with `def` at the top of a module or a script"
    if not callable(function) or not name.isidentifier() or module is None:
        kind = "a lambda" if "<lambda>" in name else f"{name} is defined inside another" if "." in name else "this is no function"
        raise StudyError(f"workers cannot find the function: {kind}", "trainer", mend)
    if module != "__main__":
        return {"function": f"{module}:{name}"}
    path = getattr(sys.modules["__main__"], "__file__", None)
    if path is None:
        raise StudyError("workers cannot find the function: it was typed into an interpreter", "trainer", mend)
    return {"function": f"{Path(path).resolve()}:{name}"}


def _parts(text: Any) -> tuple[str, str]:
    place, _, name = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    if not place or not name.isidentifier() or not (place.endswith(".py") or all(map(str.isidentifier, place.split(".")))):
        raise StudyError(f"{text!r} names no function", "trainer.function", _MEND)
    return place, name


def _look(path: Path, name: str) -> None:
    """Whether a file is there and binds the name at its top. Raises StudyError."""
    where = "trainer.function"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        mend = "Give its path as seen from the study's file"
        raise StudyError(f"there is no file {path}", where, mend) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise StudyError(f"cannot read {path}: {one_line(error)}", where, "Mend the file") from error
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    names += [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    names += [each.asname or each.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for each in node.names]
    if name not in names and "*" not in names:
        close = near(name, names)
        raise StudyError(f"{path.name} has no function {name!r}", where, f"Did you mean {close!r}?" if close else _MEND)


def _load(text: str) -> Train:
    place, name = _parts(text)
    module = _module(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    function = getattr(module, name, None)
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise TypeError(f"{text} is no function that can be called")
    return function


def _module(path: Path) -> ModuleType:
    """The module of a file, read again when the file has changed. Its folder is where it imports from first."""
    state = path.stat()
    stamp = (state.st_mtime_ns, state.st_size)
    known = _LOADED.get(str(path))
    if known is not None and known[0] == stamp:
        return known[1]
    if (folder := str(path.parent)) not in sys.path:
        sys.path.insert(0, folder)
    # Under its own name, so that processes it starts find what it defines; another module of that name is left alone.
    there = sys.modules.get(path.stem)
    taken = there is not None and getattr(there, "__file__", None) != str(path)
    spec = importlib.util.spec_from_file_location(f"_scalelaw_{path.stem}" if taken else path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    _LOADED[str(path)] = (stamp, module)
    return module


def _giving_up(record: Record, order: Order) -> Callable[[], None]:
    """Write the trial's result and end the process: the function holds its thread, and nothing else can be trained here."""

    def give_up() -> None:
        with contextlib.suppress(StoreError):
            spool.write(order.folder, record.failed(""))
        os._exit(1)

    return give_up
