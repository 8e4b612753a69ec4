"""One run at work: what is known about each trial, and the loop that fills the holes. Only `run.py` uses it."""

from __future__ import annotations

import contextlib
import math
import queue
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from ._batches import Cutter
from ._events import Event, Progress, Retried, Started, Stopping, TrialEnded
from .engines import Batch, Pool
from .errors import EngineError, InputError, ScalelawError, WorkerLostError
from .store import Store
from .study import Study
from .trial import Status, Trial, TrialSpec

__all__ = ["Driver", "Wish", "signals"]

REDO = (Status.FAILED, Status.LOST)
TICK = 0.2
# Reasons of failures that are counted: a hundred thousand trials may each have a word of their own.
MOST_ERRORS = 1000


@dataclass(frozen=True)
class Wish:
    """How the driver is to go about it; see `run`."""

    cutter: Cutter
    retries: int = 2
    drain: float = 0.0
    budget: float | None = None


class Driver:
    """One run.

    Args:
        study, store: what is trained, and where it is kept.
        costs: FLOPs of each trial by id; None where they cannot be told.
        tell: called with each event.
    """

    def __init__(
        self, study: Study, store: Store, costs: Mapping[str, float] | None, tell: Callable[[Event], None], wish: Wish
    ) -> None:
        self.stopped_by: str | None = None
        self.trained = 0
        self.broken: list[Path] = []
        self.errors: Counter[str] = Counter()
        self.study, self._store, self._costs, self._tell, self._wish = study, store, costs, tell, wish
        self._specs = {spec.id: spec for spec in study.specs}
        self._status: dict[str, Status] = {}
        self._answered: set[str] = set()
        self._losses: dict[str, int] = {}
        self._work = {key: wish.cutter.work(spec, None if costs is None else costs[key]) for key, spec in self._specs.items()}
        self._counts: Counter[Status] = Counter()
        self._flops = None if costs is None else math.fsum(costs.values())
        self._flops_done = 0.0
        self._left: set[str] = set()  # of the trials of this run
        self._work_left = 0.0
        self._worked = 0.0
        self._computed = 0.0
        self._hurry = threading.Event()
        self._began = time.monotonic()

    def stop(self, number: int, _frame: FrameType | None = None) -> None:
        """The handler of SIGINT and SIGTERM: the loop sees it at its next turn. The second one waits for nothing."""
        if self.stopped_by is not None:
            self._hurry.set()
        self.stopped_by = signal.Signals(number).name

    def collect(self) -> list[Trial]:
        """Read the spool and look up what the store holds; at the start of a run."""
        ended = self._store.ingest()
        self.broken.extend(ended.broken)
        for key, status in self._store.statuses().items():
            if key in self._specs:
                self._note(key, status)
        return list(ended.trials)

    def missing(self) -> list[TrialSpec]:
        """The trials that are to be trained: all without a result that stands, or the cheapest that the budget pays for."""
        found = [spec for key, spec in self._specs.items() if self._status.get(key, Status.LOST) in REDO]
        if self._wish.budget is None or self._costs is None:
            return found
        costs, left = self._costs, self._wish.budget - self._flops_done
        chosen: list[TrialSpec] = []
        for spec in sorted(found, key=lambda each: costs[each.id]):
            left -= costs[spec.id]
            if left < 0:
                break
            chosen.append(spec)
        return chosen

    def progress(self) -> Progress:
        """How far the study is now."""
        elapsed = time.monotonic() - self._began
        count = self._counts
        redo = count[Status.FAILED] + count[Status.LOST]
        ended = len(self._status) - redo == len(self._specs)
        flops = self._flops
        return Progress(
            trials=len(self._specs),
            done=len(self._status) - redo,
            diverged=count[Status.DIVERGED],
            failed=count[Status.FAILED],
            lost=count[Status.LOST],
            flops=flops,
            # Sums over thousands of trials carry rounding errors; at the end there is none to show.
            flops_done=flops if ended or flops is None else self._flops_done,
            elapsed=elapsed,
            speed=self._computed / elapsed if self._computed and elapsed else None,
            eta=None if not self._worked else 0.0 if not self._left else self._work_left * elapsed / self._worked,
        )

    def fill(self, pool: Pool, missing: Sequence[TrialSpec]) -> None:
        """Train what is missing. Ends early when a signal asked for it.

        Only so many batches are submitted as the engine wants to see ahead: a cancel is quick, and a study of a million trials
        holds no more futures than a small one.
        """
        self._began = time.monotonic()
        self._left = {spec.id for spec in missing}
        self._work_left = math.fsum(self._work[key] for key in self._left)
        self._tell(Started(self.study.name, pool.capacity(), self.progress()))
        waiting = deque(self._wish.cutter.cut(missing))
        ended: queue.SimpleQueue[Future[tuple[str, ...]]] = queue.SimpleQueue()
        running: dict[Future[tuple[str, ...]], Batch] = {}
        while (running or waiting) and self.stopped_by is None:
            while waiting and len(running) < pool.ahead():
                batch = waiting.popleft()
                future = pool.submit(batch, self._store.spool)
                running[future] = batch
                future.add_done_callback(ended.put)
            arrived = _arrived(ended)
            self._ingest()
            for future in arrived:
                waiting.extendleft(reversed(self._settle(future, running.pop(future))))
        if self.stopped_by is not None:
            self._tell(Stopping(self.stopped_by, self.progress()))
            self._drain(pool)
            pool.close()
        self._ingest()

    def _drain(self, pool: Pool) -> None:
        """Give what is being trained the time that was promised, unless a second signal says otherwise."""
        if not self._wish.drain:
            return
        done = threading.Event()

        def wait() -> None:
            with contextlib.suppress(ScalelawError):
                pool.drain(self._wish.drain)
            done.set()

        threading.Thread(target=wait, daemon=True).start()
        while not done.wait(TICK) and not self._hurry.is_set():
            self._ingest()

    def _ingest(self) -> None:
        ended = self._store.ingest()
        self.broken.extend(ended.broken)
        for trial in ended.trials:
            if trial.id not in self._specs:
                continue  # of another study that shares the store
            self._answered.add(trial.id)
            self.trained += 1
            self._record(trial)

    def _note(self, key: str, status: Status) -> None:
        """Keep the sums of `progress` up to date with a trial's status."""
        before = self._status.get(key)
        if before is not None:
            self._counts[before] -= 1
        self._status[key] = status
        self._counts[status] += 1
        if status not in REDO and before in (None, *REDO):
            self._flops_done += 0.0 if self._costs is None else self._costs[key]

    def _record(self, trial: Trial) -> None:
        self._note(trial.id, trial.status)
        if trial.id in self._left:
            self._left.discard(trial.id)
            self._work_left -= self._work[trial.id]
        reason = trial.error or trial.status.value
        if trial.status in REDO and (reason in self.errors or len(self.errors) < MOST_ERRORS):
            self.errors[reason] += 1
        self._worked += self._work[trial.id]
        self._computed += 0.0 if self._costs is None else self._costs[trial.id]
        self._tell(TrialEnded(trial, self.progress()))

    def _settle(self, future: Future[tuple[str, ...]], batch: Batch) -> list[Batch]:
        """What to train again after a batch ended: nothing, or the trials that have no result, one by one.

        One by one, so that a trial that kills its worker does not take its neighbours with it. On an accelerator they are first
        tried together once more: side by side they go on from their checkpoint, and cost a fraction.
        """
        error = future.exception()
        lost = isinstance(error, WorkerLostError)
        if isinstance(error, EngineError | InputError) or not isinstance(error, ScalelawError | None):
            raise error
        left = [spec for spec in batch.specs if spec.id not in self._answered]
        reason = str(error) if error else "the worker gave no result for it"
        again: list[TrialSpec] = []
        for spec in left:
            self._losses[spec.id] = self._losses.get(spec.id, 0) + lost
            if len(batch.specs) > 1 or (lost and self._losses[spec.id] <= self._wish.retries):
                again.append(spec)
            else:
                for trial in self._store.put([Trial(spec, Status.LOST if lost else Status.FAILED, error=reason)]):
                    self._record(trial)
        if again:
            self._tell(Retried(len(again), reason, self.progress()))
        cutter = self._wish.cutter
        if cutter.whole and lost and len(again) > 1 and all(self._losses[spec.id] == 1 for spec in again):
            return cutter.cut(again)
        return [cutter.batch([spec]) for spec in again]


def _arrived(ended: queue.SimpleQueue[Future[tuple[str, ...]]]) -> list[Future[tuple[str, ...]]]:
    """The futures that have ended, after waiting a moment for the first."""
    found: list[Future[tuple[str, ...]]] = []
    with contextlib.suppress(queue.Empty):
        found.append(ended.get(timeout=TICK))
        while True:
            found.append(ended.get_nowait())
    return found


@contextlib.contextmanager
def signals(driver: Driver) -> Generator[None]:
    """SIGINT and SIGTERM ask the driver to stop. Only in the main thread, which alone may set handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, driver.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
