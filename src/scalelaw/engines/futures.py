"""Anybody's executor: an object with `submit(function, *arguments)` that returns a future, as `concurrent.futures` defines it.

Thread and process pools, `dask.distributed.Client`, executorlib's executors, MPI pools. Workers import scalelaw by its name. An
executor may give a batch to another worker when one is lost (Dask does): it goes on with the trials that have no result.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import EngineError, InputError, MissingExtraError, ScalelawError, WorkerLostError, one_line
from ..train.device import remote_environment
from ._base import Engine, Pool, Resources, whole
from ._remote import Job, RemotePool, call, whereabouts

__all__ = ["Futures", "FuturesPool", "submitting"]

CONNECT_SECONDS = 5


class Futures(Engine):
    """An executor's futures.

    Args:
        executor: what to submit to; without one the options name it.
    """

    name = "futures"
    summary = "an executor of yours, such as a Dask cluster or a process pool"
    options = MappingProxyType(
        {
            "executor": "package.module:factory, a function without arguments that returns an object with submit()",
            "dask": "address of a Dask scheduler, for example tcp://host:8786",
            "workers": "batches at once, where the executor does not tell",
        }
    )

    def __init__(self, executor: Any = None) -> None:
        self._executor = executor

    def devices(self) -> tuple[str, ...]:
        """All: what the workers have is theirs to know."""
        return ("cpu", "gpu", "tpu")

    def open(self, resources: Resources, options: Mapping[str, str]) -> Pool:
        """Find the executor.

        Raises:
            InputError: none is named or it cannot be reached, or it cannot give a batch what is asked for.
            MissingExtraError: Dask is not installed.
        """
        asked = self.checked(options)
        workers = whole("workers", asked.get("workers"))
        named = [name for name in ("executor", "dask") if name in asked]
        if (self._executor is not None) + len(named) != 1:
            what = "two executors are named" if named else "no executor is named"
            raise InputError(what, "--option", "Give --option executor=package.module:factory or --option dask=tcp://host:8786")
        if self._executor is not None:
            return FuturesPool(self._executor, resources, workers)
        make = functools.partial(_dask, asked["dask"]) if "dask" in asked else functools.partial(_made, asked["executor"])
        executor = make()
        try:
            return FuturesPool(executor, resources, workers, make)
        except InputError:
            _close(executor)
            raise


class FuturesPool(RemotePool):
    """An executor at work.

    Args:
        executor: what has `submit`.
        resources: of each batch.
        workers: batches at once; None asks the executor.
        make: makes another where one has broken. An executor that was made so is shut down at the end; one that was given is not.
    """

    def __init__(
        self, executor: Any, resources: Resources, workers: int | None = None, make: Callable[[], Any] | None = None
    ) -> None:
        super().__init__(resources.max_parallel)
        self._submit = submitting(executor, resources)
        self._executor, self._make, self._workers, self._resources = executor, make, workers, resources
        self._environment = remote_environment(resources.device, resources.cpus, resources.gpus)
        self._driver = whereabouts()
        self._last = 1

    def capacity(self) -> int:
        """What the executor tells of its workers, or the option `workers`, or the cores here.

        Raises:
            EngineError: it does not answer any more.
        """
        if self._open:
            try:
                self._last = max(1, self._workers or _told(self._executor) or os.cpu_count() or 1)
            except Exception as error:  # whatever its connection raises
                mend = "Start it again, then run the same command; nothing finished is lost"
                raise EngineError(f"the executor does not answer ({one_line(error)[:200]}). {mend}.") from error
        return self._last if self._limit is None else min(self._last, self._limit)

    def close(self) -> None:
        """Cancel, and shut the executor down where it was made here."""
        super().close()
        if self._make is not None:
            _close(self._executor)

    def _start(self, job: Job) -> None:
        asked = (self._environment, self._driver, job.message, str(job.folder.absolute()), self.token(job.folder))
        submit = self._submit
        try:
            job.handle = submit(call, *asked)
        except RuntimeError as error:  # a process pool one of whose workers has died takes nothing any more
            if self._make is None:
                mend = "Give a new one and run again; nothing finished is lost"
                raise EngineError(f"the executor takes no batch ({one_line(error)}). {mend}.") from error
            job.handle = self._anew(submit)(call, *asked)
        job.handle.add_done_callback(lambda done: self._receive(job, done))

    def _stop(self, jobs: Collection[Job]) -> None:
        for job in jobs:
            if job.handle is not None:
                job.handle.cancel()
        if self._make is not None:
            _kill(self._executor)

    def _anew(self, broken: Callable[..., Any]) -> Callable[..., Any]:
        """The submit of another executor in place of the one that is broken; made once, whoever sees it."""
        assert self._make is not None
        with self._changed:
            if self._submit is broken:
                # Not waited for: the thread in which it breaks may be this one.
                _close(self._executor, wait=False)
                self._executor = self._make()
                self._submit = submitting(self._executor, self._resources)
            return self._submit

    def _receive(self, job: Job, done: Any) -> None:
        if done.cancelled():
            self._ended(job, WorkerLostError("the executor cancelled the batch"))
            return
        error = done.exception()
        self._ended(job, done.result() if error is None else self._meaning(error, job))

    def _meaning(self, error: BaseException, job: Job) -> ScalelawError:
        """An executor whose worker vanished says so with an exception of its own; everything else happened in the worker."""
        told = type(error).__name__
        if told in ("BrokenProcessPool", "BrokenExecutor", "KilledWorker", "CommClosedError", "FutureCancelledError"):
            return WorkerLostError(f"the executor lost a worker ({one_line(error)[:200]})")
        return self.failure(one_line(error), job)


def submitting(executor: Any, resources: Resources) -> Callable[..., Any]:
    """The executor's submit, with what each batch needs in its own words.

    Raises:
        InputError: it has none, or no words for what is asked.
    """
    submit = getattr(executor, "submit", None)
    if not callable(submit):
        raise InputError(f"{type(executor).__name__} has no submit()", "executor", "Give an object with submit(function, ...)")
    if type(executor).__module__.startswith("distributed."):
        needs = {"GPU": resources.gpus, "MEMORY": resources.memory or 0}
        wanted = {kind: need for kind, need in needs.items() if need}
        return lambda *call: submit(*call, pure=False, **({"resources": wanted} if wanted else {}))
    if "resource_dict" in inspect.signature(submit).parameters:  # executorlib
        wanted = {"cores": 1, "threads_per_core": max(1, round(resources.cpus)), "gpus_per_core": round(resources.gpus)}
        return lambda *call: submit(*call, resource_dict=wanted)
    if resources.gpus or resources.memory:
        what = f"{type(executor).__name__} cannot be asked for GPUs or memory"
        raise InputError(what, "--gpus, --memory", "Start its workers with what they need, and leave these out")
    return submit


def _dask(address: str) -> Any:
    try:
        distributed = importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise MissingExtraError("dask.distributed", "dask", "--option dask") from error
    try:
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        mend = "Start one with: dask scheduler  (and workers with: dask worker HOST:8786 --nthreads 1)"
        raise InputError("no Dask scheduler answers", f"--option dask={address}", mend) from error


def _made(text: str) -> Any:
    """What a factory returns; its module is looked for in the working folder too, as `python` does. Raises InputError."""
    where, mend = f"--option executor={text}", "Give package.module:factory"
    module, _, name = text.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        factory: Any = importlib.import_module(module)
        for part in name.split("."):
            factory = getattr(factory, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"cannot be imported ({one_line(error)})", where, mend) from error
    if not callable(factory):
        raise InputError("is not a function", where, mend)
    return factory()


def _close(executor: Any, wait: bool = True) -> None:
    shutdown = getattr(executor, "shutdown", None)
    if type(executor).__module__.startswith("distributed."):
        executor.close()  # a client's shutdown would end the whole cluster
    elif callable(shutdown):
        shutdown(wait=wait)


def _kill(executor: Any) -> None:
    """End the processes of a process pool: what they train cannot be cancelled."""
    if isinstance(executor, ProcessPoolExecutor):
        for process in list((getattr(executor, "_processes", None) or {}).values()):
            process.kill()


def _told(executor: Any) -> int | None:
    """The number of its workers' threads, as Dask tells them; the largest number of workers of a pool."""
    threads = getattr(executor, "nthreads", None)
    if callable(threads):
        told: Any = threads()
        return sum(told.values())
    for name in ("_max_workers", "max_workers"):
        if isinstance(most := getattr(executor, name, None), int):
            return most
    return None
