"""A SLURM cluster, through submitit: job arrays whose elements train several batches each, one after the other.

The folder of the store must be seen by every node. A job that is preempted or reaches its time limit is put back into the queue
and goes on where it was, and so does one whose node failed; a job that ends otherwise without a result is told as lost.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import heapq
import importlib
import math
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import EngineError, InputError, MissingExtraError, ScalelawError, WorkerLostError, one_line
from ..train.device import remote_environment
from ._base import Engine, Pool, Resources, whole
from ._remote import Job, RemotePool, call, whereabouts
from ._slurm import GONE, Partition, State, jobs, minutes, partition, told

__all__ = ["Slurm", "SlurmPool", "Work", "packed"]

# Starting a job and importing JAX take some seconds: an element of an array trains scalelaw's own networks for about a minute,
# where there are enough batches to occupy every node all the same. In the FLOPs of a core.
JOB_WORK = 6e12
GATHER_SECONDS = 0.3  # batches that are submitted together become one array
POLL_SECONDS = 2.0
# A job is lost when the controller has said so this often, and no result has come in the meantime: file systems lag.
SURE = 3
PATIENT = 100  # turns in a row that may fail, about half a minute
TIMEOUTS = 1000  # how often a job that makes progress may reach its time limit


class Slurm(Engine):
    """Job arrays of a SLURM cluster."""

    name = "slurm"
    summary = "a SLURM cluster: job arrays, put back into the queue when they are preempted"
    options = MappingProxyType(
        {
            "partition": "the partition  [default: the cluster's own]",
            "account": "what to charge",
            "qos": "quality of service",
            "time": "limit of each job, in minutes or as [days-]hours:minutes:seconds  [default: the partition's]",
            "constraint": "features that a node must have",
            "gres": "generic resources of each job, instead of --gpus; for example gpu:a100:1",
            "exclude": "nodes to leave alone",
            "setup": "a shell command to run first in each job, for example 'module load cuda'",
            "python": "the interpreter on the nodes  [default: this one]",
            "array": "largest number of jobs in an array  [default: the cluster's MaxArraySize, at most 1000]",
            "sbatch": "more of sbatch's own, as name=value,name=value",
        }
    )

    def devices(self) -> tuple[str, ...]:
        """Those that a node of SLURM can have."""
        return ("cpu", "gpu")

    def open(self, resources: Resources, options: Mapping[str, str]) -> Pool:
        """Look the partition up.

        Raises:
            MissingExtraError: submitit is not installed.
            InputError: no SLURM here, no such partition, or an option that will not do.
        """
        asked = self.checked(options)
        if shutil.which("sbatch") is None:
            mend = "Run this on a login node of a SLURM cluster, or choose another engine: scalelaw engines"
            raise InputError("SLURM is not here (no sbatch on the PATH)", "--engine slurm", mend)
        try:
            submitit = importlib.import_module("submitit")
        except ModuleNotFoundError as error:
            raise MissingExtraError("submitit", "slurm", "the engine slurm") from error
        gpus = float(resources.gpus or resources.device == "gpu")
        if not gpus.is_integer() and "gres" not in asked:
            mend = "Ask for whole ones, or for a share where the cluster has them: --option gres=shard:1"
            raise InputError("SLURM gives whole GPUs", "--gpus", mend)
        place = partition(asked.get("partition"))
        return SlurmPool(submitit, resources, place, _parameters(resources, int(gpus), place, asked), asked)


def _parameters(resources: Resources, gpus: int, place: Partition, asked: Mapping[str, str]) -> dict[str, Any]:
    """What submitit is told of each job."""
    cpus = max(1, math.ceil(resources.cpus))
    found: dict[str, Any] = {
        "timeout_min": minutes(asked["time"]) if "time" in asked else place.minutes,
        "cpus_per_task": cpus,
        "slurm_partition": place.name,
        # Steps do not inherit it since SLURM 22.05.
        "slurm_srun_args": [f"--cpus-per-task={cpus}"],
    }
    found |= {f"slurm_{name}": asked[name] for name in ("account", "qos", "constraint", "gres", "exclude") if name in asked}
    if gpus and "gres" not in asked:
        found["slurm_gres"] = f"gpu:{gpus}"
    if resources.memory is not None:
        found["slurm_mem"] = f"{math.ceil(resources.memory / 2**20)}M"
    if "setup" in asked:
        found["slurm_setup"] = [asked["setup"]]
    if extra := asked.get("sbatch"):
        pairs = [part.strip().partition("=") for part in extra.split(",")]
        found["slurm_additional_parameters"] = {name.lstrip("-"): value if sign else True for name, sign, value in pairs}
    return found


@dataclass(eq=False)
class _Element:
    """An element of an array: the batches it trains, submitit's job, and how often the controller has called it gone."""

    jobs: Sequence[Job]
    ticket: Any
    gone: int = 0
    restarts: int = 0


class SlurmPool(RemotePool):
    """Arrays in a partition.

    Args:
        submitit: the module.
        resources: of each batch. place: the partition.
        parameters: of each job, for submitit. asked: the engine's options.
    """

    def __init__(
        self, submitit: Any, resources: Resources, place: Partition, parameters: Mapping[str, Any], asked: Mapping[str, str]
    ) -> None:
        super().__init__(resources.max_parallel)
        self._submitit, self._place, self._parameters = submitit, place, dict(parameters)
        self._array = max(2, min(whole("array", asked.get("array")) or place.array, place.array))
        self._python = asked.get("python")
        self._room = place.room(resources)
        self._environment = remote_environment(resources.device, resources.cpus, float("slurm_gres" in parameters))
        self._driver = whereabouts()
        self._fresh: list[Job] = []
        self._elements: list[_Element] = []
        self._names: dict[Path, str] = {}
        self._kept = False
        self._thread = threading.Thread(target=self._serve, name="slurm", daemon=True)
        self._thread.start()

    def capacity(self) -> int:
        """The jobs for which the partition has room when nobody else uses it."""
        return self._room if self._limit is None else min(self._room, self._limit)

    def ahead(self) -> int:
        """Enough for an array: the scheduler sees what is to come, and elements are worth their start."""
        return max(super().ahead(), self._array)

    def drain(self, seconds: float) -> None:
        """Take the jobs that have not begun out of the queue, and wait at most so long for the others."""
        self._scancel("--state=PENDING")
        super().drain(seconds)

    def close(self) -> None:
        """Cancel the jobs, and remove their files where none was lost."""
        super().close()
        self._thread.join()
        for folder in self._names:
            if not self._kept:
                shutil.rmtree(_files(folder), ignore_errors=True)

    def _most(self) -> float:
        return math.inf if self._limit is None else self._limit

    def _start(self, job: Job) -> None:
        with self._changed:
            self._fresh.append(job)

    def _stop(self, jobs: Collection[Job]) -> None:
        del jobs  # they are cancelled all or none
        # submitit lets SIGTERM pass, and SLURM then waits for half a minute before it kills.
        self._scancel("--signal=INT", "--state=RUNNING")
        self._scancel()

    def _scancel(self, *which: str) -> None:
        for name in self._names.values():
            with contextlib.suppress(OSError, subprocess.SubprocessError, InputError):
                told("scancel", f"--name={name}", f"--user={getpass.getuser()}", *which)

    def _serve(self) -> None:
        polled, failed = 0.0, 0
        while self._open or self._running:
            time.sleep(GATHER_SECONDS)
            try:
                self._launch()
                self._read()
                if time.monotonic() - polled > POLL_SECONDS:
                    polled = time.monotonic()
                    self._poll()
                failed = 0
            except Exception as error:  # a file system that fails may come back; at last every future must end
                failed += 1
                if failed >= PATIENT:
                    self._give_up(EngineError(f"the jobs cannot be followed ({one_line(error)})"))

    def _give_up(self, error: EngineError) -> None:
        with self._changed:
            running = list(self._running)
        self._scancel()
        for job in running:
            self._ended(job, error)

    def _launch(self) -> None:
        """Make arrays of the batches that have come since the last turn."""
        with self._changed:
            fresh, self._fresh = self._fresh, []
        wanted = [job for job in fresh if not job.future.done()]
        for folder in dict.fromkeys(job.folder for job in wanted):
            mine = [job for job in wanted if job.folder == folder]
            try:
                self._submit(folder, packed(mine, self._array, self.capacity()))
            except Exception as error:  # every future must end
                failure = error if isinstance(error, ScalelawError) else _refused(error)
                for job in mine:
                    self._ended(job, failure)

    def _submit(self, folder: Path, groups: Sequence[Sequence[Job]]) -> None:
        token = self.token(folder)
        name = self._name(folder)
        asked = {} if self._python is None else {"slurm_python": self._python}
        files = _files(folder) / "%j"
        executor = self._submitit.AutoExecutor(files, cluster="slurm", slurm_max_num_timeout=TIMEOUTS, **asked)
        executor.update_parameters(name=name, slurm_array_parallelism=len(groups), **self._parameters)
        spool = str(folder.absolute())
        work = [Work(self._environment, self._driver, [job.message for job in jobs], spool, token) for jobs in groups]
        with executor.batch():
            tickets = [executor.submit(each) for each in work]
        made = [_Element(jobs, ticket) for jobs, ticket in zip(groups, tickets, strict=True)]
        self._elements += made
        if all(job.future.done() for jobs in groups for job in jobs):  # cancelled in the meantime
            self._scancel()

    def _name(self, folder: Path) -> str:
        """The jobs' name, of this spool alone. What a driver that was killed has left in the queue is cancelled first."""
        if folder not in self._names:
            digest = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]
            self._names[folder] = f"scalelaw-{digest}"
            self._scancel()
        return self._names[folder]

    def _read(self) -> None:
        """Take the answers of the elements that have left one."""
        for element in list(self._elements):
            if not element.ticket.paths.result_pickle.exists():
                continue
            self._elements.remove(element)
            try:
                answers = list(zip(element.jobs, element.ticket.result(), strict=True))
            except Exception as error:
                self._lose(element, self.failure(_raised(str(error)) or one_line(error), *element.jobs))
                continue
            for job, answer in answers:
                self._ended(job, answer)

    def _poll(self) -> None:
        """Ask the controller what has become of the others. Where it does not answer, nothing is concluded."""
        self._elements = [each for each in self._elements if not all(job.future.done() for job in each.jobs)]
        if not self._elements:
            return
        names = ",".join(self._names.values())
        try:
            states = jobs(names)
        except (OSError, subprocess.SubprocessError, InputError):
            return
        for element in list(self._elements):
            key = str(element.ticket.job_id)
            state = states.get(key, GONE)
            if state.put_off and state.restarts > element.restarts:
                element.restarts = state.restarts
                # SLURM puts a job that it starts again off for two minutes.
                with contextlib.suppress(OSError, subprocess.SubprocessError, InputError):
                    told("scontrol", "update", f"JobId={key}", "StartTime=now")
            element.gone = element.gone + 1 if state.ended else 0
            if element.gone >= SURE and not element.ticket.paths.result_pickle.exists():
                self._elements.remove(element)
                self._lose(element, WorkerLostError(_epitaph(element.ticket, state)))

    def _lose(self, element: _Element, error: ScalelawError) -> None:
        self._kept = True
        for job in element.jobs:
            self._ended(job, error)


class Work:
    """What an element of an array does. submitit hands it on to the job that goes on after a time limit or a preemption."""

    def __init__(
        self, environment: Mapping[str, str], driver: tuple[str, int], messages: list[dict[str, Any]], folder: str, token: str
    ) -> None:
        self.environment, self.driver, self.messages, self.folder, self.token = dict(environment), driver, messages, folder, token

    def __call__(self) -> list[dict[str, Any]]:
        """Train batch after batch. What was finished by the job before is passed over; see `spool.finished`.

        In a thread of its own: the signals that end the job, or put it back into the queue, are raised in the main one. They come
        through at once, and what trains does not take them for a failure of its trial.
        """
        answers: list[dict[str, Any]] = []
        errors: list[BaseException] = []

        def train() -> None:
            try:
                answers.extend(call(self.environment, self.driver, each, self.folder, self.token) for each in self.messages)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=train, daemon=True)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return answers

    def checkpoint(self) -> Any:
        """The same again: results are in the spool, and long runs keep where they are there."""
        return importlib.import_module("submitit").helpers.DelayedSubmission(self)


def packed(jobs: Sequence[Job], most: int, room: int) -> list[list[Job]]:
    """Share batches out among elements of an array, the costliest first, each to the one with the least to do.

    A batch of a trainer that is not scalelaw's own has an element to itself: what it takes besides FLOPs is not known.

    Args:
        jobs: the batches. most: elements at most. room: how many elements run at once.
    """
    works = {job: max(job.batch.work, JOB_WORK) if job.batch.trainer else job.batch.work for job in jobs}
    count = min(len(jobs), most, max(room, math.ceil(math.fsum(works.values()) / JOB_WORK)))
    groups: list[list[Job]] = [[] for _ in range(count)]
    load = [(0.0, 0, place) for place in range(count)]
    for job in sorted(jobs, key=lambda each: -works[each]):
        done, held, place = heapq.heappop(load)
        groups[place].append(job)
        heapq.heappush(load, (done + works[job], held + 1, place))
    return groups


def _epitaph(ticket: Any, state: State) -> str:
    """How a job ended, with the last line of its standard error."""
    with contextlib.suppress(OSError):
        if last := _last(ticket.paths.stderr.read_text(encoding="utf-8", errors="replace")):
            return f"a SLURM job ended without a result ({state.name}: {last})"
    return f"a SLURM job ended without a result ({state.name})"


def _files(folder: Path) -> Path:
    """Where submitit keeps a spool's job files: beside it, so that the nodes see them."""
    return folder.absolute().with_suffix(".slurm")


def _refused(error: Exception) -> ScalelawError:
    text = _last(str(error)) or one_line(error)
    if "sbatch" in str(error) or type(error).__name__ == "FailedJobError":
        return InputError(f"SLURM refuses the job ({text})", "--engine slurm", "Check --option, --cpus, --gpus and --memory")
    return EngineError(f"the job cannot be submitted ({text})")


def _raised(text: str) -> str:
    """The last line of the trace that submitit quotes between two rules, before it tells of its logs."""
    parts = re.split(r"^-{10,}$", text, flags=re.MULTILINE)
    return _last(parts[1] if len(parts) > 2 else text)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip() and not set(line.strip()) <= set("-")]
    return lines[-1][:200] if lines else ""
