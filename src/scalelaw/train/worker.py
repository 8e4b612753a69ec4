"""A worker process: trains the batches it is handed and writes each trial's result file.

    python -m scalelaw.train.worker --spool FOLDER [--checkpoint-seconds 60]

It reads one JSON object per line from standard input and answers each with one line on standard output:

    {"batch": 7, "specs": [{...}, ...]}    ->    {"done": 7, "trials": ["3f2a...", ...]}
                                           or    {"error": "one line", "batch": 7}

With "witnesses": true in the object the trials' metrics hold what was seen inside. Long runs keep where they are in the spool's
folder `checkpoints`, and go on from there when their batch comes again.

An error answers what is not a batch, or says that the results cannot be written.

A trial that cannot be trained becomes a FAILED trial with its one-line error. The worker ends when its input closes and
within a fraction of a second of its parent's death, whatever killed the parent. It imports NumPy, JAX and the
modules of scalelaw that need nothing else, so that it runs where only those two are installed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from .. import spool
from ..errors import InputError, MissingExtraError, StoreError
from ..trial import Status, Trial, TrialSpec
from .checkpoint import SECONDS
from .recipe import Recipe

__all__ = ["main", "serve", "trained"]

WATCH_SECONDS = 0.2


def serve(stream: TextIO, answers: TextIO, folder: Path, seconds: float = SECONDS) -> None:
    """Train batch after batch until `stream` ends. Results go to `folder`, answers to `answers`.

    Args:
        seconds: least time between two checkpoints of a run.
    """
    for line in stream:
        if not line.strip():
            continue
        batch: Any = None
        try:
            message = json.loads(line)
            batch = message["batch"]
            specs = [TrialSpec.from_dict(values) for values in message["specs"]]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _say(answers, {"error": f"not a batch: {_one_line(error)}", "batch": batch})
            continue
        try:
            kept, watched = spool.checkpoints(folder), bool(message.get("witnesses"))
            for trial in trained(specs, witnesses=watched, checkpoints=kept, seconds=seconds):
                spool.write(folder, trial)
        except StoreError as error:
            _say(answers, {"error": str(error), "batch": batch})
        else:
            _say(answers, {"done": batch, "trials": [spec.id for spec in specs]})


def trained(
    specs: list[TrialSpec], *, witnesses: bool = False, checkpoints: Path | None = None, seconds: float = SECONDS
) -> Iterator[Trial]:
    """A result for every spec, each as soon as it is there. What cannot be trained is FAILED with its reason, and fails alone."""
    from .loop import Asked, stream

    asked = Asked(witnesses, checkpoints, seconds)
    good: list[TrialSpec] = []
    for spec in specs:
        try:
            Recipe.of(spec).loaded()
            good.append(spec)
        except InputError as error:
            yield Trial(spec=spec, status=Status.FAILED, error=_one_line(error))
    left = {spec.id: spec for spec in good}
    try:
        for trial in stream(good, asked):
            del left[trial.id]
            yield trial
    except Exception as error:  # whatever goes wrong in training is a result of its trial
        if len(good) > 1:
            for spec in left.values():
                yield from trained([spec], witnesses=witnesses, checkpoints=checkpoints, seconds=seconds)
        else:
            yield from (Trial(spec=spec, status=Status.FAILED, error=_one_line(error)) for spec in left.values())


def main(arguments: list[str] | None = None) -> int:
    """The command. Answers an error and gives 2 where JAX is not installed, else 0 when the input has ended."""
    parser = argparse.ArgumentParser(prog="python -m scalelaw.train.worker", description="Train batches read from stdin.")
    parser.add_argument("--spool", type=Path, required=True, help="folder for the result files")
    parser.add_argument("--checkpoint-seconds", type=float, default=SECONDS, help="least time between two checkpoints of a run")
    options = parser.parse_args(arguments)
    _watch_parent()
    if importlib.util.find_spec("jax") is None:
        _say(sys.stdout, {"error": str(MissingExtraError("jax", "train", "training"))})
        return 2
    _use_cache()
    # JAX and what it calls may print; the answers keep the real standard output to themselves.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
            serve(sys.stdin, answers, options.spool, options.checkpoint_seconds)
    return 0


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"[:500]


def _watch_parent() -> None:
    """End the process when its parent is gone.

    A thread looks, rather than Linux's PR_SET_PDEATHSIG: that one fires when the parent's *thread* ends, and it exists on one
    system only. Ending at once is safe, since a result file is there whole or not at all.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def _use_cache() -> None:
    """Keep compiled programs between processes in the user's cache folder; without one that can be written, do without."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scalelaw" / "jax" / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return
        import jax
    except (OSError, RuntimeError, ModuleNotFoundError):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _machine() -> str:
    """Tells machines apart by what their processor can do: a home folder may be shared by different ones."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        kinds = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
        return hashlib.sha256("\n".join(kinds).encode()).hexdigest()[:12]
    return hashlib.sha256(f"{platform.node()} {platform.machine()}".encode()).hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main())
