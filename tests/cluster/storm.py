"""A run in a storm: workers, driver and nodes are killed at random, and after a power cut the newest files are cut off.

The power cut is one of a disk that keeps what was flushed: result files that were being written, or had just been, end anywhere,
and so does the last transaction of the database's log while no checkpoint has taken it over.
"""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from processes import descendants, kill, within

__all__ = ["TRIALS", "Reader", "Storm"]

TRIALS = 400
TRAIN = """
import random, time

def train(spec, report):
    for step in range(1, 4):
        time.sleep(PACE * random.uniform(0.2, 0.8))
        report(step, 3.0 / step + spec["learning_rate"])
    return 1.0 + spec["learning_rate"] + spec["width"] ** -0.5
"""
DRIVER = """
import json, sys, time
from scalelaw.run import TrialEnded, run
from scalelaw.store import Store
from scalelaw.study import Grid, Study, log_spaced
store, engine, options, function = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
longest, put = 0.0, Store.put
def timed(self, *arguments):
    global longest
    began = time.monotonic()
    try:
        return put(self, *arguments)
    finally:
        longest = max(longest, time.monotonic() - began)
        print(json.dumps({"longest": longest}), flush=True)
Store.put = timed
study = Study("storm", "mine", (Grid({"width": (8, 16, 32, 64)}, {"learning_rate": log_spaced(1e-4, 1.0, 10)}, range(10)),))
def tell(event):
    print(json.dumps({"done": event.progress.done, "workers": getattr(event, "workers", None)}), flush=True)
how = {"trainer": {"function": function}, "engine": engine, "options": options, "max_parallel": 16, "retries": 9}
summary = run(study, store, on_event=tell, **how)
print(json.dumps({"complete": summary.complete, "message": summary.message}), flush=True)
"""
READER = """
import sqlite3, sys, time
while True:
    try:
        connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
        connection.execute("BEGIN")
        print(connection.execute("SELECT count(*) FROM trials").fetchone()[0], flush=True)
        time.sleep(5)
        connection.execute("COMMIT")
        connection.close()
    except sqlite3.Error:
        time.sleep(0.05)
"""


class Reader:
    """Somebody who looks at the store, each time for five seconds at one state of it."""

    def __init__(self, store: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", READER, str(store)], stdout=subprocess.PIPE, text=True)

    def end(self) -> list[int]:
        """Stop looking; what was seen."""
        if self.process.stdout is None or self.process.stdout.closed:
            return []
        self.process.kill()
        out, _ = self.process.communicate()
        return [int(line) for line in out.split()]


class Storm:
    """One study, run to its end.

    Args:
        folder: an empty one. engine, options: of the run. seed: of what happens. pace: how slow trials are; at 1 they take 1.5 s.
    """

    def __init__(self, folder: Path, engine: str, options: dict[str, str], seed: int, pace: float = 1.0) -> None:
        self.store = folder / "study.db"
        self.longest = 0.0
        self.struck: Counter[str] = Counter()
        self._random = random.Random(seed)
        script = folder / "train.py"
        script.write_text(TRAIN.replace("PACE", str(pace)), encoding="utf-8")
        self._command = [sys.executable, "-c", DRIVER, str(self.store), engine, json.dumps(options), f"{script}:train"]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as this is)
        self.reader = Reader(self.store)
        self.seen: list[int] = []
        self.driver = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._out = tempfile.NamedTemporaryFile()  # noqa: SIM115
        return subprocess.Popen(self._command, stdout=self._out, stderr=self._errors, start_new_session=True)

    @property
    def said(self) -> list[dict[str, Any]]:
        """What this driver has said so far."""
        lines = Path(self._out.name).read_text(encoding="utf-8").splitlines()
        found: list[dict[str, Any]] = []
        for line in lines:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    @property
    def done(self) -> int:
        """Trials that are done, as this driver says."""
        return max((each["done"] for each in self.said if "done" in each), default=0)

    def wait(self, strikes: int, patience: float = 60.0) -> bool:
        """Until the next of so many strikes, spread over nine tenths of the trials, is due; whether the driver still runs."""
        goal = (self.strikes + self._random.random()) * 0.9 * TRIALS / strikes
        within(patience, lambda: self.driver.poll() is not None or self.done >= goal)
        return self.driver.poll() is None

    def strike_worker(self, workers: list[int]) -> None:
        """A worker is gone."""
        if workers:
            kill(self._random.choice(workers))
            self.struck["worker"] += 1

    def cut_power(self) -> None:
        """The driver and what it started are gone at once, and the newest files end anywhere; then it is started again."""
        for pid in (self.driver.pid, *descendants(self.driver.pid)):
            kill(pid)
        self._note()  # the reader, too, loses its power
        self.driver.wait()
        self._out.close()
        self.struck["driver"] += 1
        spool = self.store.with_name(f"{self.store.name}.spool")
        newest = sorted((path for path in spool.glob("*") if path.is_file()), key=lambda path: path.stat().st_mtime)[-4:]
        for path in newest:
            if path.name != "token":
                self._cut(path, 0)
                self.struck["file"] += 1
        log = Path(f"{self.store}-wal")
        if log.exists() and (start := _last_transaction(log)) is not None:
            self._cut(log, start)
            self.struck["log"] += 1
        self.reader = Reader(self.store)
        self.driver = self._start()

    def _cut(self, path: Path, start: int) -> None:
        with path.open("r+b") as stream:
            stream.truncate(self._random.randint(start, max(start, path.stat().st_size)))

    def _note(self) -> None:
        self.longest = max([self.longest, *(each["longest"] for each in self.said if "longest" in each)])
        seen = self.reader.end()
        assert seen == sorted(seen), "what is stored stays"
        self.seen += seen

    def finish(self, patience: float = 180.0) -> dict[str, Any]:
        """Wait for the end; the last thing said."""
        assert self.driver.wait(patience) == 0, (self.said[-3:], self.errors)
        self._note()
        return self.said[-1]

    def end(self) -> None:
        """Leave nothing behind."""
        for pid in (self.driver.pid, *descendants(self.driver.pid)):
            kill(pid)
        self.driver.wait()
        self.reader.end()
        self._out.close()
        self._errors.close()

    @property
    def strikes(self) -> int:
        """Kills so far."""
        return sum(self.struck[each] for each in ("worker", "driver", "node"))

    @property
    def errors(self) -> str:
        """What the drivers wrote to their standard error."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")[-3000:]

    def contents(self) -> tuple[str, int, int, Counter[str]]:
        """(what the database says of itself, rows, different trials, how they ended)."""
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
            rows, different = connection.execute("SELECT count(*), count(DISTINCT id) FROM trials").fetchone()
            ended = Counter(status for (status,) in connection.execute("SELECT status FROM trials"))
        return sound, rows, different, ended


def _last_transaction(log: Path) -> int | None:
    """Where the last transaction of a write-ahead log begins; None where a checkpoint may have taken it over.

    A frame is 24 bytes and a page; the commit of a transaction is the frame that tells the size of the database. SQLite
    checkpoints from a thousand pages on.
    """
    content = log.read_bytes()
    if len(content) < 32:
        return None
    (page,) = struct.unpack(">I", content[8:12])
    salts = content[16:24]
    size, start, previous, frames = 24 + page, 32, 32, 0
    for place in range(32, len(content) - size + 1, size):
        if content[place + 8 : place + 16] != salts:
            break
        frames += 1
        if struct.unpack(">I", content[place + 4 : place + 8])[0]:
            previous, start = start, place + size
    return previous if 0 < frames < 900 else None
