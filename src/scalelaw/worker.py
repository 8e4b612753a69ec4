"""A worker: trains the batches it is handed and writes each trial's result file.

    python -m scalelaw.worker --spool FOLDER [--checkpoint-seconds 60]

It reads one JSON object per line (`Batch.message`) from standard input and answers each with one line on standard output:

    {"batch": 7, "specs": [{...}, ...]}    ->    {"done": 7, "trials": ["3f2a...", ...]}
                                           or    {"error": "one line", "batch": 7}

"trainer" in the object is the study's `[trainer]` table; without one the trials are trained by `train/`. With "witnesses": true
the trials' metrics hold what was seen inside; with "attempt" what an earlier worker has finished of the batch is passed over
(`spool.enlist`). An error answers what is not a batch, or says that the results cannot be written;
with "batch": null no batch can be trained here. `work` does the same for an engine that calls a function instead.

A trial that cannot be trained becomes a FAILED trial with its one-line error. The process ends when its input closes and
within a fraction of a second of its parent's death, whatever killed the parent. It imports the standard library, NumPy, JAX for
the built-in trainer alone, and the modules of scalelaw that need nothing else, so that it runs where only those are installed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from . import spool
from .errors import MissingExtraError, StoreError, one_line
from .trainers import Order, trainer_of
from .trial import TrialSpec

__all__ = ["main", "serve", "watch_parent", "work"]

WATCH_SECONDS = 0.2
CHECKPOINT_SECONDS = 60.0


def serve(stream: TextIO, answers: TextIO, folder: Path, seconds: float = CHECKPOINT_SECONDS, *, alone: bool = False) -> None:
    """Train batch after batch until `stream` ends. Results go to `folder`, answers to `answers`.

    Args:
        seconds: least time between two checkpoints of a run.
        alone: whether the process does nothing else, so that it may be ended where a trial cannot be.
    """
    for line in stream:
        if not line.strip():
            continue
        message: Any = None
        with contextlib.suppress(ValueError):
            message = json.loads(line)
        answer = _trained(message, Order(folder, seconds=seconds, alone=alone))
        if "trials" in answer:
            answer = {"done": message["batch"], **answer}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def work(message: Mapping[str, Any], folder: str, token: str = "") -> dict[str, Any]:
    """Train one batch: what an engine runs on a worker that it calls.

    Args:
        message: of `Batch`.
        folder: the driver's spool. Where the worker sees it, results are written there.
        token: what the driver wrote beside the results (`spool.mark`); a folder without it is not the driver's.

    Returns:
        {"trials": ids, "results": texts}, with the results' texts where the folder is not the driver's, for `spool.receive`; or
        {"error": one line, "batch": its id}, as above.
    """
    if spool.marked(Path(folder), token):
        return {"results": [], **_trained(message, Order(Path(folder), seconds=CHECKPOINT_SECONDS))}
    with tempfile.TemporaryDirectory(prefix="scalelaw-") as own:
        answer = _trained({**message, "attempt": None}, Order(Path(own), seconds=CHECKPOINT_SECONDS, shared=False))
        return {"results": [path.read_text(encoding="utf-8") for path in spool.scan(Path(own))], **answer}


def _trained(message: Any, order: Order) -> dict[str, Any]:
    """Train a batch into the order's folder; the answer."""
    batch: Any = None
    try:
        batch = message["batch"]
        specs = [TrialSpec.from_dict(values) for values in message["specs"]]
        settings = dict(message.get("trainer") or {})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return {"error": f"not a batch: {one_line(error)}", "batch": batch}
    try:
        trainer = trainer_of(settings)
        trainer.require()
        attempt, folder = message.get("attempt"), order.folder
        done = spool.finished(folder, attempt) if attempt else set[str]()
        if done is None:  # nobody waits any more
            return {"trials": []}
        left = [spec for spec in specs if spec.id not in done]
        asked = replace(order, settings=settings, witnesses=bool(message.get("witnesses")))
        for trial in trainer.trained(left, asked):
            spool.write(folder, trial)
            if attempt:
                spool.finish(folder, attempt, trial.id)
                if spool.finished(folder, attempt) is None:
                    return {"trials": []}
    except StoreError as error:
        return {"error": str(error), "batch": batch}
    except MissingExtraError as error:
        return {"error": str(error), "batch": None}
    return {"trials": [spec.id for spec in specs]}


def main(arguments: list[str] | None = None) -> int:
    """The command; it ends when the input has ended."""
    parser = argparse.ArgumentParser(prog="python -m scalelaw.worker", description="Train batches read from stdin.")
    parser.add_argument("--spool", type=Path, required=True, help="folder for the result files")
    seconds = "least time between two checkpoints of a run"
    parser.add_argument("--checkpoint-seconds", type=float, default=CHECKPOINT_SECONDS, help=seconds)
    options = parser.parse_args(arguments)
    watch_parent()
    # What trains may print, and ask; batches and answers keep the real standard input and output to themselves.
    with (
        os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8") as batches,
        os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers,
        Path(os.devnull).open(encoding="utf-8") as nothing,
    ):
        os.dup2(nothing.fileno(), sys.stdin.fileno())
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        _keep_from_children((batches, answers), nothing)
        with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
            serve(batches, answers, options.spool, options.checkpoint_seconds, alone=True)
    return 0


def _keep_from_children(own: Sequence[TextIO], nothing: TextIO) -> None:
    """Let no forked child hold the pipes: as long as it lives, the driver would wait for a worker that is gone."""

    def let_go() -> None:
        for stream in own:
            if not stream.closed:
                os.dup2(nothing.fileno(), stream.fileno(), inheritable=False)

    os.register_at_fork(after_in_child=let_go)


@functools.cache
def watch_parent() -> None:
    """End the process when its parent is gone, and with it what it has started, where it leads a process group.

    A thread looks, rather than Linux's PR_SET_PDEATHSIG: that one fires when the parent's *thread* ends, and it exists on one
    system only. Ending at once is safe, since a result file is there whole or not at all.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
