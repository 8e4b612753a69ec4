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

from scalelaw.engines import Resources
from scalelaw.run import run
from scalelaw.study import Grid, Study

__all__ = ["TRIALS", "Drive", "Drives", "devices"]

# Says what happens, a JSON object per line.
DRIVER = """
import json, sys
from scalelaw.errors import ScalelawError
from scalelaw.run import Retried, Started, Stopping, TrialEnded, run
from scalelaw.study import Grid, Study, log_spaced
store, engine, options, trainer, log = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4], sys.argv[5]
rates = {"learning_rate": log_spaced(1e-3, 1.0, 5)}
grid = Grid({"parameters": (1000, 2000, 4000, 8000)}, rates, tuple(range(10)))
study = Study("s", "logged", (grid,), task_options={"log": log}, trainer={"function": trainer})
def tell(event):
    said = {"event": type(event).__name__, "done": event.progress.done}
    if isinstance(event, Started):
        said["workers"] = event.workers
    if isinstance(event, TrialEnded):
        said |= {"id": event.trial.id, "status": event.trial.status.name, "error": event.trial.error}
    if isinstance(event, Retried):
        said |= {"trials": event.trials, "reason": event.reason}
    print(json.dumps(said), flush=True)
try:
    summary = run(study, store, engine=engine, options=options, on_event=tell, batch=int(sys.argv[6]))
    said = {"complete": summary.complete, "trained": summary.trained, "interrupted": summary.interrupted}
    print(json.dumps({"event": "end", **said, "message": summary.message}), flush=True)
except ScalelawError as error:
    print(json.dumps({"event": "error", "kind": type(error).__name__, "message": str(error)}), flush=True)
"""
TRAINER = f"{Path(__file__).with_name('logged.py')}:train"
TRIALS = 200


class Drive:
    """A run of `TRIALS` trials, and what it has said so far."""

    def __init__(self, store: Path, engine: str, options: Mapping[str, str], batch: int = 4) -> None:
        self.store = store
        self.log = store.parent.with_suffix(".log")
        self.said: list[dict[str, Any]] = []
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process; closed in end)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-W", "error", "-c", DRIVER),
                str(store),
                engine,
                json.dumps(dict(options)),
                TRAINER,
                str(self.log),
                str(batch),
            ],
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
        assert {(each["status"], each["error"]) for each in self.said if each["event"] == "TrialEnded"} == {("COMPLETE", None)}
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
    def trainers(self) -> set[int]:
        """The processes that have begun a trial."""
        return {int(line.split()[2]) for line in self.log.read_text(encoding="ascii").splitlines() if line.startswith("begin")}

    @property
    def wasted(self) -> int:
        """How many trainings were in vain: begun more often than there are trials."""
        return self.log.read_text(encoding="ascii").count("begin") - TRIALS

    @property
    def retried(self) -> list[str]:
        """Why trials were trained again."""
        return [each["reason"] for each in self.said if each["event"] == "Retried"]


Drives = Callable[..., Drive]


def devices(store: Path, engine: str, options: Mapping[str, str], resources: Resources) -> set[str]:
    """The GPUs that a few trials are given, as CUDA_VISIBLE_DEVICES names them."""
    log = store.with_suffix(".log")
    grid = Grid({"parameters": (1000,)}, {"learning_rate": (1e-3, 1e-2)}, (0, 1))
    study = Study("s", "logged", (grid,), task_options={"log": str(log)}, trainer={"function": TRAINER})
    assert run(study, store, engine=engine, options=options, resources=resources, batch=2).complete
    return {line.split()[3] for line in log.read_text(encoding="ascii").splitlines()}
