"""A Ray cluster: each batch is a task, on whichever node has room for it.

Ray starts no task twice: a task that ends with its worker or its node is told as lost, and the driver asks again for the
trials that have no result. A task on an accelerator has a process of its own, which Ray ends with it.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import EngineError, InputError, MissingExtraError, WorkerLostError, one_line
from ..train.device import remote_environment
from ._base import Engine, Pool, Resources
from ._remote import Job, RemotePool, call, whereabouts

__all__ = ["Ray", "RayPool", "fitting"]

CONNECT_SECONDS = 5.0
NODES_SECONDS = 2.0  # how long the driver believes what it knew of the nodes
KINDS = {"CPU": "cores", "GPU": "GPUs", "memory": "bytes of memory"}


class Ray(Engine):
    """Tasks of a Ray cluster."""

    name = "ray"
    summary = "a Ray cluster: each batch is a task on whichever node has room"
    options = MappingProxyType(
        {
            "address": "the cluster's head, as host:port; auto finds the one of this machine, local starts one  [default: auto]",
            "send": "packages to send to the nodes, as folders separated by commas; scalelaw sends scalelaw itself",
            "autoscale": "yes waits for nodes that are not there yet  [default: no]",
        }
    )

    def devices(self) -> tuple[str, ...]:
        """All: what the nodes have is known only when they are asked."""
        return ("cpu", "gpu", "tpu")

    def open(self, resources: Resources, options: Mapping[str, str]) -> Pool:
        """Connect to the cluster.

        Raises:
            MissingExtraError: Ray is not installed. InputError: no cluster there, or none of its nodes can hold a batch.
        """
        asked = self.checked(options)
        wait = _word("autoscale", asked.get("autoscale", "no"))
        # Ray prints what happens to its nodes to the driver's standard output. It reads this when it is imported.
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
        try:
            ray = importlib.import_module("ray")
        except ModuleNotFoundError as error:
            raise MissingExtraError("ray", "ray", "the engine ray") from error
        own = not ray.is_initialized()
        if own:
            _connect(ray, asked.get("address", "auto"), _modules(asked.get("send", "")))
        pool = RayPool(ray, resources, own, wait)
        nodes = pool.nodes()
        if not wait and not any(fitting(node, pool.needs) for node in nodes):
            pool.close()
            raise InputError(*_too_small(pool.needs, nodes))
        return pool


class RayPool(RemotePool):
    """A cluster that is connected.

    Args:
        ray: the module.
        resources: of each batch.
        own: whether to disconnect at the end.
        autoscale: whether Ray is to see all that waits, because it may add nodes for it.
    """

    def __init__(self, ray: Any, resources: Resources, own: bool, autoscale: bool = False) -> None:
        super().__init__(resources.max_parallel)
        gpus = float(resources.gpus or resources.device == "gpu")
        self.needs = {"CPU": resources.cpus, "GPU": gpus, "memory": resources.memory or 0.0}
        self._ray, self._own, self._autoscale = ray, own, autoscale
        self._environment = remote_environment(resources.device, resources.cpus, gpus)
        self._driver = whereabouts()
        # Results are written and checked here: Ray's own thread must not wait for a disk.
        self._hands = ThreadPoolExecutor(1, "ray-results")
        self._known: tuple[float, int] = (-math.inf, 1)
        memory = {} if resources.memory is None else {"memory": resources.memory}
        self._task = ray.remote(call).options(num_cpus=resources.cpus, num_gpus=gpus, max_retries=0, **memory)

    def capacity(self) -> int:
        """The batches for which the nodes have room, those in training counted in."""
        now = time.monotonic()
        if self._open and now - self._known[0] > NODES_SECONDS:
            self._known = now, max(1, sum(fitting(node, self.needs) for node in self.nodes()))
        room = self._known[1]
        return room if self._limit is None else min(room, self._limit)

    def nodes(self) -> list[Mapping[str, float]]:
        """What each node that is alive has."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def close(self) -> None:
        """Cancel, and disconnect: Ray ends every worker of a driver that is gone."""
        super().close()
        self._hands.shutdown(cancel_futures=True)
        if self._own and self._ray.is_initialized():
            self._ray.shutdown()

    def _most(self) -> float:
        return math.inf if self._autoscale and self._limit is None else super()._most()

    def _start(self, job: Job) -> None:
        folder = str(job.folder.absolute())
        job.handle = self._task.remote(self._environment, self._driver, job.message, folder, self.token(job.folder))
        ended: Future[Any] = job.handle.future()
        ended.add_done_callback(lambda done: self._hand(job, done))

    def _stop(self, jobs: Collection[Job]) -> None:
        for job in jobs:
            if job.handle is not None:
                self._ray.cancel(job.handle, force=True)

    def _hand(self, job: Job, done: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # closed: the job has ended here already
            self._hands.submit(self._receive, job, done)

    def _receive(self, job: Job, done: Future[Any]) -> None:
        error = done.exception()
        self._ended(job, done.result() if error is None else self._meaning(error, job))

    def _meaning(self, error: BaseException, job: Job) -> Exception:
        kinds = self._ray.exceptions
        if isinstance(error, kinds.RayTaskError):
            return self.failure(one_line(getattr(error, "cause", None) or error), job)
        if isinstance(error, kinds.RuntimeEnvSetupError):
            return EngineError(f"Ray cannot prepare the workers ({one_line(error)})")
        return WorkerLostError(f"a Ray worker ended without a result ({one_line(error)[:200]})")


def fitting(node: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """How many batches a node can hold at once. A GPU is shared by the batches that fit on it whole."""
    rooms: list[int] = []
    for kind, need in needs.items():
        have = node.get(kind, 0.0)
        if need > 0:
            rooms.append(int(have) * int(1 / need + 1e-9) if kind == "GPU" and need < 1 else int(have / need + 1e-9))
    return min(rooms)


def _connect(ray: Any, address: str, modules: Sequence[str]) -> None:
    """Raises InputError where no cluster answers."""
    where = f"--option address={address}"
    mend = "Start one with: ray start --head  (and on every other node: ray start --address=HEAD:6379), or give its address"
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        try:  # Ray itself would go on trying for a minute
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            raise InputError(f"no Ray cluster answers ({error.strerror or error})", where, mend) from error
    asked: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        asked["include_dashboard"] = False
    if modules:
        asked["runtime_env"] = {"py_modules": list(modules)}
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if main else None
    try:
        ray.init(**asked)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise InputError(f"no Ray cluster answers ({one_line(error)[:200]})", where, mend) from error
    except ray.exceptions.RayError as error:  # of another version, or with a token that is not ours
        raise InputError(f"the Ray cluster refuses ({one_line(error)[:200]})", where, "See its log, and docs.ray.io") from error
    finally:
        if main:  # Ray takes the signal for itself; it is the driver's
            signal.signal(signal.SIGTERM, handler)


def _modules(text: str) -> list[str]:
    folders: list[str] = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        path = Path(__file__).parents[1] if name == "scalelaw" else Path(name)
        if not path.is_dir():
            raise InputError(f"{name} is not a folder", "--option send", "Give folders that hold what the workers import")
        folders.append(str(path.absolute()))
    return folders


def _word(name: str, text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise InputError(f"{text!r} is neither yes nor no", f"--option {name}", "Give one of them")
    return text.lower() == "yes"


def _too_small(needs: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> tuple[str, str, str]:
    wanted = " and ".join(f"{need:g} {KINDS[kind]}" for kind, need in needs.items() if need > 0)
    most = {kind: max((node.get(kind, 0.0) for node in nodes), default=0.0) for kind in needs if needs[kind] > 0}
    there = ", ".join(f"{value:g} {KINDS[kind]}" for kind, value in most.items())
    mend = f"The largest has {there}. Ask for less, or add --option autoscale=yes to wait for a larger one"
    return f"no node of the Ray cluster has {wanted}", "--cpus, --gpus, --memory", mend
