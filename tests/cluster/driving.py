"""A driver in a process of its own, on any engine, and what its store then holds."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from processes import within

__all__ = ["TRIALS", "Drive", "Drives"]

# Says what happens, a JSON object per line; trials of some hundredths of a second each.
DRIVER = """
import json, sys
from scalelaw.errors import ScalelawError
from scalelaw.run import Retried, Started, Stopping, TrialEnded, run
from scalelaw.study import Grid, Study, log_spaced
store, engine, options, steps = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
rates = {"learning_rate": log_spaced(1e-3, 1.0, 5), "batch_size": (32,)}
grid = Grid({"width": (8, 16, 24, 32), "depth": (2,), "steps": (steps,)}, rates, tuple(range(10)))
def tell(event):
    said = {"event": type(event).__name__, "done": event.progress.done}
    if isinstance(event, Started):
        said["workers"] = event.workers
    if isinstance(event, TrialEnded):
        said |= {"id": event.trial.id, "status": event.trial.status.name}
    if isinstance(event, Retried):
        said |= {"trials": event.trials, "reason": event.reason}
    print(json.dumps(said), flush=True)
try:
    summary = run(Study("s", "teacher_student", (grid,)), store, engine=engine, options=options, on_event=tell)
    said = {"complete": summary.complete, "trained": summary.trained, "interrupted": summary.interrupted}
    print(json.dumps({"event": "end", **said, "message": summary.message}), flush=True)
except ScalelawError as error:
    print(json.dumps({"event": "error", "kind": type(error).__name__, "message": str(error)}), flush=True)
"""
TRIALS = 200


class Drive:
    """A run of `TRIALS` trials, and what it has said so far."""

    def __init__(self, store: Path, engine: str, options: Mapping[str, str], steps: int = 1000) -> None:
        self.store = store
        self.said: list[dict[str, Any]] = []
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process; closed in end)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", DRIVER, str(store), engine, json.dumps(dict(options)), str(steps)],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait_for(self, done: int, patience: float = 120.0) -> None:
        """Wait until so many trials are done."""
        _ = within(patience, lambda: self.done >= done or self.process.poll() is not None)
        assert self.done >= done, (self.said[-3:], self.errors)

    def finish(self, patience: float = 240.0) -> dict[str, Any]:
        """Wait for the end; the last thing said."""
        assert self.process.wait(patience) == 0, (self.said[-3:], self.errors)
        self._listener.join()
        assert self.said, self.errors
        return self.said[-1]

    def end(self) -> None:
        """End the process, where it is still there."""
        self.process.kill()
        self.process.wait()
        self._listener.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    @property
    def done(self) -> int:
        """Trials that are done so far."""
        return max((each.get("done", 0) for each in self.said), default=0)

    @property
    def errors(self) -> str:
        """What it wrote to its standard error."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def check(self, *beside: str) -> None:
        """Every trial was finished once: one result each, one row each, in a sound database, and nothing is left behind."""
        ended = Counter(each["id"] for each in self.said if each["event"] == "TrialEnded")
        assert len(ended) == TRIALS, (len(ended), self.said[-1], self.retried)
        assert set(ended.values()) == {1}, [key for key, count in ended.items() if count > 1]
        assert {each["status"] for each in self.said if each["event"] == "TrialEnded"} <= {"COMPLETE", "DIVERGED"}
        assert self.said[-1]["trained"] == TRIALS
        self.check_store(*beside)

    def check_store(self, *beside: str) -> None:
        """The store holds every trial once, and nothing lies beside it but what is named."""
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("SELECT count(*), count(DISTINCT id) FROM trials").fetchone() == (TRIALS, TRIALS)
        found = sorted(str(path.relative_to(self.store.parent)) for path in self.store.parent.rglob("*") if path.is_file())
        assert {name.split("/")[0] for name in found} == {self.store.name, *beside}, found

    @property
    def retried(self) -> list[str]:
        """Why trials were trained again."""
        return [each["reason"] for each in self.said if each["event"] == "Retried"]


Drives = Callable[..., Drive]
