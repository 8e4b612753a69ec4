"""This machine: one single-threaded worker process per core, one worker for its accelerator, or several for its GPUs.

One thread per process is the fastest layout that repeats: threads that share a model lose time whenever another process
takes one of their cores. The driver holds each worker's standard input, so workers end when the driver does, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import EngineError, ScalelawError, WorkerLostError
from ..train.device import environment_of, present
from ..trainers._process import end, gone, kill
from ._base import Batch, Engine, Pool, Resources, Shape
from ._remote import explain
from ._seats import Seat, cores, seats, visible

__all__ = ["Local", "LocalPool", "cores"]

# Compiling a shape costs about a second, in which a core would do this many FLOPs. Batches well above it are worth compiling
# on every worker, so that the largest trials are never left to one of them.
HEAVY = 3e11
PAUSE = 0.01
PRINTED = 1 << 20  # bytes that are kept of what a worker prints
# What workers without a batch have to end by themselves.
GRACE_SECONDS = 3.0


class Local(Engine):
    """Worker processes on this machine: one thread each on the processor, one process for an accelerator or each share of it."""

    name = "local"
    summary = "worker processes on this machine, one per core, or as many as its GPUs hold"
    here = True

    def devices(self) -> tuple[str, ...]:
        """Those that JAX has here."""
        return present()

    def open(self, resources: Resources | None = None, options: Mapping[str, str] | None = None) -> LocalPool:
        """As many workers as the machine has room for, or `max_parallel`; each starts with its first batch.

        On an accelerator, where no share of it is asked for, one worker: it trains all rates and seeds of a shape side by side.
        With `gpus`, as many workers as the visible GPUs hold, each of which sees its own alone.

        Raises:
            InputError: not even one worker has room.
        """
        self.checked(options or {})
        asked = resources or Resources()
        environment = environment_of(asked.device, cpus=asked.cpus, gpus=asked.gpus)
        if asked.device != "cpu" and not asked.gpus:
            return LocalPool([Seat()], environment=environment)
        return LocalPool(seats(asked, cores(), visible() if asked.gpus else ()), environment=environment)


@dataclass
class _Job:
    batch: Batch
    spool: Path
    future: Future[tuple[str, ...]]
    cancelled: bool = False


class LocalPool(Pool):
    """Workers of this machine.

    Args:
        workers: what each may use, or their number; default: one for each core.
        command: what starts a worker; `--spool DIR` is appended.
        environment: its environment; default: this one's with every library held to one thread.
    """

    def __init__(
        self,
        workers: int | Sequence[Seat] | None = None,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if workers is None or isinstance(workers, int):
            workers = seats(Resources(max_parallel=workers), cores())
        command = tuple(command) or (sys.executable, "-m", "scalelaw.worker")
        if environment is None:
            environment = environment_of("cpu")
        self.proven = False  # whether any worker has trained anything
        self._changed = threading.Condition()
        self._waiting: list[_Job] = []
        self._open = True
        self._workers = [_Worker(self, command, dict(environment), seat) for seat in workers]

    def capacity(self) -> int:
        """The number of workers."""
        return len(self._workers)

    def submit(self, batch: Batch, spool: Path) -> Future[tuple[str, ...]]:
        """Queue a batch; a free worker takes it at once."""
        job = _Job(batch, spool, Future())
        with self._changed:
            if not self._open:
                raise ScalelawError("the engine is closed")
            self._waiting.append(job)
            self._changed.notify_all()
        return job.future

    def cancel(self) -> None:
        """Drop what waits and kill what runs; a worker writes a result whole or not at all, so nothing is half-written."""
        with self._changed:
            waiting, self._waiting = self._waiting, []
            for worker in self._workers:
                if worker.job is not None:
                    worker.job.cancelled = True
        for job in waiting:
            job.future.cancel()
        for worker in self._workers:
            worker.kill()

    def drain(self, seconds: float) -> None:
        """Drop what waits, and wait at most so long for what is being trained."""
        deadline = time.monotonic() + seconds
        with self._changed:
            waiting, self._waiting = self._waiting, []
            for job in waiting:
                job.future.cancel()
            while any(worker.job for worker in self._workers) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """End every worker and wait until it is gone. Those without a batch may do what libraries do at the end of a process."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
            idle = [worker for worker in self._workers if worker.job is None]
        for worker in idle:
            worker.dismiss()
        deadline = time.monotonic() + GRACE_SECONDS
        while (idle := [worker for worker in idle if not worker.is_gone()]) and time.monotonic() < deadline:
            time.sleep(PAUSE)
        self.cancel()
        for worker in self._workers:
            worker.join()

    def take(self, worker: _Worker) -> _Job | None:
        """The next batch for a worker, waiting for one; None when the pool is closed."""
        with self._changed:
            while self._open:
                if self._waiting:
                    job = self._waiting.pop(self._choose(worker))
                    if job.future.set_running_or_notify_cancel():
                        worker.shape, worker.job = job.batch.shape, job
                        return job
                else:
                    self._changed.wait()
        return None

    def done(self, worker: _Worker) -> None:
        """A worker's batch has ended."""
        with self._changed:
            worker.job = None
            self._changed.notify_all()

    def _choose(self, worker: _Worker) -> int:
        """A light batch goes where its shape is compiled already; a heavy one to whoever is free; and nobody stays idle."""
        taken = {other.shape for other in self._workers if other is not worker}
        fitting = [
            place
            for place, job in enumerate(self._waiting)
            if job.batch.work >= HEAVY or job.batch.shape == worker.shape or job.batch.shape not in taken
        ]
        if not fitting:
            return 0
        if self._waiting[fitting[0]].batch.work >= HEAVY:
            return fitting[0]
        return next((place for place in fitting if self._waiting[place].batch.shape == worker.shape), fitting[0])


class _Worker:
    """One worker process and the thread that talks to it."""

    def __init__(self, pool: LocalPool, command: Sequence[str], environment: dict[str, str], seat: Seat) -> None:
        self.shape: Shape | None = None
        self.job: _Job | None = None
        self.process: subprocess.Popen[str] | None = None
        if seat.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(seat.gpus)
        self._pool, self._command, self._environment, self._cores = pool, command, environment, seat.cores
        self._spool: Path | None = None
        self._errors: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """End the process, if there is one, and what it has started."""
        with self._lock:
            if self.process is not None:
                kill(self.process)

    def dismiss(self) -> None:
        """Let the process, if there is one, end by itself: it has no batch, and gets none."""
        with self._lock:
            if self.process is not None and self.process.stdin is not None:
                with contextlib.suppress(OSError):
                    self.process.stdin.close()
                self.process.stdin = None

    def is_gone(self) -> bool:
        """Whether there is no process, or no more; what its trials left is ended with it."""
        with self._lock:
            return self.process is None or gone(self.process)

    def join(self) -> None:
        """Wait until the thread and its process are gone. The pool is closed before this is called."""
        self._thread.join()
        self._discard()

    def _serve(self) -> None:
        while (job := self._pool.take(self)) is not None:
            try:
                job.future.set_result(self._train(job))
            except ScalelawError as error:
                job.future.set_exception(error)
            except Exception as error:  # the future must end, or the driver would wait for ever
                job.future.set_exception(ScalelawError(f"the local engine failed: {error!r}"))
            self._pool.done(self)

    def _train(self, job: _Job) -> tuple[str, ...]:
        process = self._ready(job.spool)
        if job.cancelled:  # between being taken and having a process that could be killed
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(job.batch.message) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                reply = _reply(line)
                if reply.get("done") == job.batch.id:
                    self._pool.proven = True
                    return tuple(map(str, reply.get("trials", ())))
                if "error" in reply:
                    raise explain(reply)
        except OSError:
            pass  # the pipe broke: told below as what it is, a lost worker
        raise self._epitaph(process, job.cancelled)

    def _ready(self, spool: Path) -> subprocess.Popen[str]:
        """The worker's process, started afresh where there is none or it is gone."""
        with self._lock:
            if self.process is not None and not gone(self.process) and spool == self._spool:
                self._cut()
                return self.process
        self._discard()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process; closed in _discard)
        with self._lock:
            # Of its own process group, so that Ctrl-C reaches the driver alone, which then ends its workers in order.
            self.process = subprocess.Popen(
                [*self._command, "--spool", str(spool)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                env=self._environment,
                process_group=0,
            )
        if self._cores is not None:
            with contextlib.suppress(OSError, AttributeError):
                os.sched_setaffinity(self.process.pid, self._cores)
        self._spool = spool
        return self.process

    def _cut(self) -> None:
        """Forget what earlier batches printed, where it is much: only the last line is ever shown."""
        if self._errors is not None and os.fstat(self._errors.fileno()).st_size > PRINTED:
            self._errors.truncate(0)
            self._errors.seek(0)  # where the worker writes on: it has the same open file

    def _discard(self) -> None:
        if self.process is not None:
            with self._lock:
                end(self.process)
            with contextlib.suppress(OSError):  # what could not be sent to a dead worker
                self.process.communicate()
            self.process = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _epitaph(self, process: subprocess.Popen[str], cancelled: bool) -> ScalelawError:
        """How the worker ended, with the last line it wrote to its standard error."""
        deadline = time.monotonic() + 1  # it closed its output: give it a moment to end by itself
        while process.returncode is None and time.monotonic() < deadline:
            with self._lock:
                gone(process)
            time.sleep(PAUSE)
        with self._lock:
            code = end(process)
        last = ""
        if self._errors is not None:
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - 4000))
            lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            last = f": {lines[-1].strip()}" if lines else ""
        if code > 0 and not self._pool.proven and not cancelled:
            return EngineError(f"the workers do not start (exit code {code}{last}). Check the installation with: scalelaw doctor")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return WorkerLostError(f"a worker process ended without a result ({how}{last})")


def _reply(line: str) -> dict[str, Any]:
    """What a line says; anything that is not a JSON object (a library's chatter) says nothing."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
