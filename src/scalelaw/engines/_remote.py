"""What engines share that hand batches to somebody else's workers: the queue in front of them, and what comes back."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EngineError, ScalelawError, StoreError, WorkerLostError, one_line
from ..spool import abandon, enlist, finished, mark, receive, retire
from ._base import Batch, Pool

__all__ = ["Job", "RemotePool", "call", "explain", "whereabouts"]

Answer = Mapping[str, Any]


@dataclass(eq=False)
class Job:
    """A batch on its way: `handle` is what the cluster gave for it."""

    batch: Batch
    folder: Path
    message: dict[str, Any]
    future: Future[tuple[str, ...]] = field(default_factory=Future[tuple[str, ...]])
    handle: Any = None


class RemotePool(Pool):
    """Batches that wait here, and those that are handed on: at most `limit`, or enough that no worker waits for its next.

    A member hands a job on in `_start`, tells of its end with `_ended`, from any thread, and stops what runs in `_stop`.

    Args:
        limit: batches handed on at once; None leaves it to `_most`.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.proven = False  # whether any worker has trained anything
        self._limit = limit
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._open = True
        self._tokens: dict[Path, str] = {}

    def _most(self) -> float:
        """How many batches may be handed on at once."""
        return 2 * self.capacity() if self._limit is None else self._limit

    @abstractmethod
    def _start(self, job: Job) -> None:
        """Hand a job on. Raises ScalelawError where that cannot be done."""

    @abstractmethod
    def _stop(self, jobs: Collection[Job]) -> None:
        """Have the cluster end these jobs, as soon as it can. They have ended here already."""

    def submit(self, batch: Batch, spool: Path) -> Future[tuple[str, ...]]:
        """Queue a batch; it is handed on at once where the limit allows. Raises StoreError where the spool cannot be written."""
        with self._changed:
            if not self._open:
                raise ScalelawError("the engine is closed")
            if spool not in self._tokens:  # before the first attempt of our own
                abandon(spool)
                self._tokens[spool] = mark(spool)
            job = Job(batch, spool, {**batch.message, "attempt": enlist(spool)})
            self._waiting.append(job)
        self._advance()
        return job.future

    def cancel(self) -> None:
        """Drop what waits and end what runs: every future has ended when this returns."""
        self._drop()
        with self._changed:
            running = list(self._running)
        if running:
            self._stop(running)
        for job in running:
            self._ended(job, WorkerLostError("the batch was cancelled"))

    def drain(self, seconds: float) -> None:
        """Drop what waits, and wait at most so long for what runs."""
        deadline = time.monotonic() + seconds
        self._drop()
        with self._changed:
            while self._running and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """Cancel; nothing can be submitted after this."""
        with self._changed:
            self._open = False
        self.cancel()

    def token(self, folder: Path) -> str:
        """What tells a worker that it sees this spool, to which a batch was submitted."""
        return self._tokens[folder]

    def _advance(self) -> None:
        while True:
            with self._changed:
                if not self._waiting or len(self._running) >= self._most():
                    return
                job = self._waiting.popleft()
                if not job.future.set_running_or_notify_cancel():
                    continue
                self._running.add(job)
            try:
                self._start(job)
            except Exception as error:  # the future must end, or the driver would wait for ever
                self._ended(job, error)

    def _drop(self) -> None:
        with self._changed:
            waiting = list(self._waiting)
            self._waiting.clear()
        for job in waiting:
            retire(job.folder, job.message["attempt"])
            job.future.cancel()

    def _ended(self, job: Job, answer: Answer | BaseException) -> None:
        """A job has ended with the worker's answer, or without one. Only the first time counts."""
        with self._changed:
            if job not in self._running:
                return
            self._running.discard(job)
        try:
            job.future.set_result(self._settled(job, answer))
        except ScalelawError as error:
            job.future.set_exception(error)
        except Exception as error:  # as above
            job.future.set_exception(ScalelawError(f"the engine failed: {one_line(error)}"))
        retire(job.folder, job.message["attempt"])
        with self._changed:
            self._changed.notify_all()
        with contextlib.suppress(EngineError):  # the driver is told when it asks itself
            self._advance()

    def _settled(self, job: Job, answer: Answer | BaseException) -> tuple[str, ...]:
        if isinstance(answer, BaseException):
            raise answer
        if "error" in answer:
            raise explain(answer)
        self.proven = True
        receive(job.folder, answer.get("results", ()))
        return tuple(map(str, answer["trials"]))

    def failure(self, reason: str, *jobs: Job) -> ScalelawError:
        """What a worker's own failure means: of the installation as long as none has trained anything, else of that worker."""
        if self.proven or any(finished(job.folder, job.message["attempt"]) for job in jobs):
            return WorkerLostError(f"a worker failed ({reason})")
        return EngineError(f"the workers cannot train ({reason}). They need scalelaw, NumPy and what the trainer needs")


def whereabouts() -> tuple[str, int]:
    """Tells this process from all others of the cluster."""
    return socket.gethostname(), os.getpid()


def call(
    environment: Mapping[str, str], driver: tuple[str, int], message: dict[str, Any], folder: str, token: str
) -> dict[str, Any]:
    """What runs on a worker that is a function's: `worker.work` in the environment that the engine asks for.

    JAX and the libraries under NumPy read their variables when they are imported, so a fresh worker sets them first. In the
    driver's own process (threads) they stay as they are. A child of the driver's (process pools) ends with it.
    """
    here = whereabouts()
    if here != tuple(driver):
        os.environ.update(environment)
    from ..worker import watch_parent, work

    if (here[0], os.getppid()) == tuple(driver):
        watch_parent()
    return work(message, folder, token)


def explain(answer: Answer) -> ScalelawError:
    """A worker that answers a batch with an error could not write its results; one that has no batch cannot work at all.

    A trial that cannot be trained is no error of the worker: its result says FAILED.
    """
    text = str(answer["error"]).rstrip(".")
    return StoreError(text) if answer.get("batch") is not None else EngineError(f"{text}.")
