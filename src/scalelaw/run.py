"""Running a study: fill the holes of its store. Resuming is the same call again."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from . import spool
from ._run import Event, Progress, Retried, RunSummary, Started, Stopping, TrialEnded
from .engines import Batch, Engine, Pool, engines
from .engines._base import shape
from .errors import EngineError, InputError, ScalelawError, StoreError, WorkerLostError
from .store import Store
from .study import Study
from .train.count import flops, group_size
from .train.device import device_of
from .trial import Status, Trial, TrialSpec

__all__ = [
    "Event",
    "Progress",
    "Retried",
    "RunSummary",
    "Started",
    "Stopping",
    "TrialEnded",
    "batches",
    "run",
]

REDO = (Status.FAILED, Status.LOST)
TICK = 0.2
# A training step of a tiny network costs its dispatch, not its FLOPs: about what a core does in 50 microseconds.
STEP_FLOPS = 5e6
# Work that a core does in about a fifth of a second.
LIVELY = 2e10


# ---- run ----------------------------------------------------------------------------------------------------------------


def run(
    study: Study,
    storage: str | Path,
    *,
    engine: str = "local",
    max_parallel: int | None = None,
    device: str | None = None,
    witnesses: bool = False,
    on_event: Callable[[Event], None] | None = None,
    retries: int = 2,
) -> RunSummary:
    """Train the trials of a study that the store does not hold yet.

    A trial that is COMPLETE, DIVERGED, PRUNED or EXCLUDED is done; one that FAILED or was LOST is trained again. SIGINT (Ctrl-C)
    and SIGTERM stop the run within a moment: what is finished is stored, and the same call resumes. SIGKILL loses no finished
    trial either.

    Args:
        study: the trials.
        storage: path of the store; made if absent.
        engine: a member of `engines/`.
        max_parallel: at most so many batches at once; default: what the engine can.
        device: what to train on: cpu, gpu or tpu. None takes what JAX_PLATFORMS says, else the processor.
        witnesses: whether trials also tell what goes on inside: more metrics, the same losses. None is trained again for it.
        on_event: called in this thread with each event.
        retries: how often a trial whose worker vanished is trained again before it is LOST.

    Raises:
        SpecError: a trial cannot be trained as it is asked for; nothing has been trained then.
        InputError: no trial, or a device that is not there; nothing has been made then.
        StoreError: the store cannot be used, or another process is filling it.
        MissingExtraError: the engine or the trainer is not installed.
        EngineError: the engine cannot train anything, for example because its workers do not start.
    """
    specs = study.specs
    if not specs:
        raise InputError("the study has no trial", study.name, "Give it a scale, for example width = [16, 32, 64]")
    chosen, where = _engine(engine, device)
    # Counting checks every spec, so that a wrong one is told before anything is made or trained.
    costs = {spec.id: flops(spec) for spec in specs}
    with Store(storage) as store:
        store.lock()
        driver = _Driver(study, store, costs, on_event or (lambda _: None), _Wish(retries, witnesses, where != "cpu"))
        driver.collect()
        skipped = driver.progress().done
        missing = [spec for spec in specs if driver.is_missing(spec)]
        if missing:
            with _signals(driver), _opened(chosen, max_parallel, where) as pool:
                driver.fill(pool, missing)
        if (at := driver.progress()).done == at.trials:
            spool.forget(store.spool)
        return RunSummary(
            study=study.name,
            storage=str(storage),
            progress=driver.progress(),
            skipped=skipped,
            trained=driver.trained,
            interrupted=driver.stopped_by,
            broken=tuple(driver.broken),
        )


def _engine(name: str, device: str | None) -> tuple[Engine, str]:
    """The engine, and what it is to train on. Raises InputError where that is not there."""
    engine, where = engines[name], device_of(device)
    if where != "cpu" and where not in (there := engine.devices()):
        raise InputError(f"there is no {where} here; present: {', '.join(there)}", "--device", "Choose one that is")
    return engine, where


def _opened(engine: Engine, max_parallel: int | None, device: str) -> Pool:
    """The engine at work. One that knows of no device need not take one."""
    return engine.open(max_parallel) if device == "cpu" else engine.open(max_parallel, device)


def batches(specs: Sequence[TrialSpec], *, whole: bool = False, witnesses: bool = False) -> list[Batch]:
    """Cut trials into batches of one shape, the costliest first.

    For an accelerator (`whole`) a shape is one batch: the worker cuts it by what its memory holds. For a core a batch is made of
    whole groups: trials of one shape and seed, in the number that the trainer trains side by side. Results arrive batch by
    batch, so a batch is one group, or as many as take about a fifth of a second. The costliest go first, so that no large trial
    is left alone at the end.
    """
    groups: dict[object, dict[int, list[TrialSpec]]] = {}
    for spec in specs:
        groups.setdefault(shape(spec), {}).setdefault(spec.seed, []).append(spec)
    made: list[Batch] = []
    for seeds in groups.values():
        if whole:
            all_of = tuple(itertools.chain.from_iterable(seeds.values()))
            made.append(Batch(all_of, _work(all_of[0]) * len(all_of), witnesses))
            continue
        one = next(iter(seeds.values()))[0]
        size, work = group_size(one), _work(one)  # equal for all trials of a shape
        pending: list[TrialSpec] = []
        for same in seeds.values():
            for first in range(0, len(same), size):
                group = same[first : first + size]
                if pending and len(pending) + len(group) > LIVELY / work:
                    made.append(Batch(tuple(pending), work * len(pending), witnesses))
                    pending = []
                pending.extend(group)
        made.append(Batch(tuple(pending), work * len(pending), witnesses))
    return sorted(made, key=lambda batch: -batch.work)


def _work(spec: TrialSpec) -> float:
    """What a trial costs, in FLOPs, the overhead of its steps counted in."""
    steps = spec.scale.get("steps", 0)
    return flops(spec) + STEP_FLOPS * (0.0 if isinstance(steps, str) else float(steps))


@dataclass(frozen=True)
class _Wish:
    """How the driver is to go about it; see `run` and `batches`."""

    retries: int
    witnesses: bool
    whole: bool


class _Driver:
    """One run: what is known about each trial, and the loop that fills the holes."""

    def __init__(
        self, study: Study, store: Store, costs: Mapping[str, float], tell: Callable[[Event], None], wish: _Wish
    ) -> None:
        self.stopped_by: str | None = None
        self.trained = 0
        self.broken: list[Path] = []
        self._study, self._store, self._costs, self._tell, self._wish = study, store, costs, tell, wish
        self._specs = {spec.id: spec for spec in study.specs}
        self._status: dict[str, Status] = {}
        self._answered: set[str] = set()
        self._losses: dict[str, int] = {}
        self._work = {key: _work(spec) for key, spec in self._specs.items()}
        self._counts: Counter[Status] = Counter()
        self._flops = math.fsum(costs.values())
        self._flops_done = 0.0
        self._work_left = math.fsum(self._work.values())
        self._worked = 0.0
        self._computed = 0.0
        self._began = time.monotonic()

    def stop(self, number: int, _frame: FrameType | None = None) -> None:
        """The handler of SIGINT and SIGTERM: the loop sees it at its next turn."""
        self.stopped_by = signal.Signals(number).name

    def is_missing(self, spec: TrialSpec) -> bool:
        """Whether a trial has no result that stands."""
        return self._status.get(spec.id, Status.LOST) in REDO

    def collect(self) -> list[Trial]:
        """Read the spool and look up what the store holds; at the start of a run."""
        ended = self._store.ingest()
        self.broken.extend(ended.broken)
        for key, status in self._store.statuses().items():
            if key in self._specs:
                self._note(key, status)
        return list(ended.trials)

    def progress(self) -> Progress:
        """How far the study is now."""
        elapsed = time.monotonic() - self._began
        count = self._counts
        redo = count[Status.FAILED] + count[Status.LOST]
        ended = len(self._status) - redo == len(self._specs)
        return Progress(
            trials=len(self._specs),
            done=len(self._status) - redo,
            diverged=count[Status.DIVERGED],
            failed=count[Status.FAILED],
            lost=count[Status.LOST],
            flops=self._flops,
            # Sums over thousands of trials carry rounding errors; at the end there is none to show.
            flops_done=self._flops if ended else self._flops_done,
            elapsed=elapsed,
            speed=self._computed / elapsed if self._computed and elapsed else None,
            eta=None if not self._worked else 0.0 if ended else self._work_left * elapsed / self._worked,
        )

    def fill(self, pool: Pool, missing: Sequence[TrialSpec]) -> None:
        """Train what is missing. Ends early when a signal asked for it."""
        self._began = time.monotonic()
        self._tell(Started(self._study.name, pool.capacity(), self.progress()))
        cut = batches(missing, whole=self._wish.whole, witnesses=self._wish.witnesses)
        running = {self._submit(pool, batch): batch for batch in cut}
        while running and self.stopped_by is None:
            ended, _ = concurrent.futures.wait(running, TICK, concurrent.futures.FIRST_COMPLETED)
            self._ingest()
            for future in ended:
                for again in self._settle(future, running.pop(future)):
                    running[self._submit(pool, again)] = again
        if self.stopped_by is not None:
            self._tell(Stopping(self.stopped_by, self.progress()))
            pool.close()
        self._ingest()

    def _submit(self, pool: Pool, batch: Batch) -> Future[tuple[str, ...]]:
        return pool.submit(batch, self._store.spool)

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
            self._flops_done += self._costs[key]
            self._work_left -= self._work[key]

    def _record(self, trial: Trial) -> None:
        self._note(trial.id, trial.status)
        self._worked += self._work[trial.id]
        self._computed += self._costs[trial.id]
        self._tell(TrialEnded(trial, self.progress()))

    def _settle(self, future: Future[tuple[str, ...]], batch: Batch) -> list[Batch]:
        """What to train again after a batch ended: nothing, or the trials that have no result, one by one.

        One by one, so that a trial that kills its worker does not take its neighbours with it. On an accelerator they are first
        tried together once more: side by side they go on from their checkpoint, and cost a fraction.
        """
        error = future.exception()
        if isinstance(error, EngineError | StoreError) or not isinstance(error, ScalelawError | None):
            raise error
        left = [spec for spec in batch.specs if spec.id not in self._answered]
        lost = isinstance(error, WorkerLostError)
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
        if self._wish.whole and lost and len(again) > 1 and all(self._losses[spec.id] == 1 for spec in again):
            return batches(again, whole=True, witnesses=self._wish.witnesses)
        return [Batch((spec,), _work(spec), self._wish.witnesses) for spec in again]


@contextlib.contextmanager
def _signals(driver: _Driver) -> Generator[None]:
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
