"""What a worker computes on: which devices JAX has here, and the environment that holds it to one. Standard library only."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping

from ..errors import EngineError, InputError

__all__ = [
    "DEVICES",
    "device_of",
    "environment_of",
    "platforms",
    "present",
    "remote_environment",
    "single_thread_environment",
    "thread_environment",
]

# What JAX calls the platforms behind each word.
DEVICES: Mapping[str, tuple[str, ...]] = {"cpu": ("cpu",), "gpu": ("cuda", "rocm"), "tpu": ("tpu",)}
XLA_FLAGS = ("--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
PATIENCE = 120.0
ASK = """
import json
from jax.extend.backend import backends
print(json.dumps({name: [each.device_kind for each in backend.local_devices()] for name, backend in backends().items()}))
"""


def device_of(word: str | None, environment: Mapping[str, str] | None = None) -> str:
    """The device that is asked for: `word`, else the first that JAX_PLATFORMS names, else the processor.

    Raises:
        InputError: a word, or a platform, that nothing here is called.
    """
    inherited = os.environ if environment is None else environment
    platform = inherited.get("JAX_PLATFORMS", "").split(",")[0].strip().lower()
    asked, where = (word, "--device") if word is not None else (platform or "cpu", "JAX_PLATFORMS")
    for device, names in DEVICES.items():
        if asked == device or (word is None and asked in names):
            return device
    raise InputError(f"unknown device {asked!r}", where, f"Known: {', '.join(DEVICES)}")


@functools.cache
def platforms() -> Mapping[str, tuple[str, ...]]:
    """What JAX finds here, by platform: `{"cuda": ("NVIDIA H200",), "cpu": ("cpu",)}`.

    JAX is asked in a process of its own, which ends at once: one that stays would hold most of an accelerator's memory.

    Raises:
        EngineError: JAX does not start.
    """
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=PATIENCE, check=True, env=environment
        )
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        last = (str(getattr(error, "stderr", None) or "").strip().splitlines() or [str(error)])[-1]
        raise EngineError(f"JAX does not tell its devices ({last}). Check the installation with: scalelaw doctor") from error
    return {name: tuple(kinds) for name, kinds in found.items()}


def present() -> tuple[str, ...]:
    """The devices that are here, of cpu, gpu and tpu. Raises EngineError."""
    return tuple(device for device, names in DEVICES.items() if any(platforms().get(name) for name in names))


def environment_of(
    device: str, environment: Mapping[str, str] | None = None, *, cpus: float = 1.0, gpus: float = 0.0
) -> dict[str, str]:
    """The whole environment to start a worker with, so that it computes on `device`.

    Args:
        device: of `DEVICES`, one that is present.
        environment: what the worker inherits; None takes this process's.
        cpus: cores that it has. gpus: accelerators that it has; below 1 it leaves the others' share of the memory alone.
    """
    inherited = os.environ if environment is None else environment
    if device != "cpu":
        return {**inherited, **_share(gpus), "JAX_PLATFORMS": next(name for name in DEVICES[device] if platforms().get(name))}
    if gpus:  # of a trainer that is not scalelaw's own
        return {**inherited, **thread_environment(cpus, inherited, flags=False), **_share(gpus)}
    return {**inherited, **thread_environment(cpus, inherited), "JAX_PLATFORMS": "cpu"}


def remote_environment(device: str, cpus: float = 1.0, gpus: float = 0.0) -> dict[str, str]:
    """The variables that a worker on another machine sets before it imports anything. What it has is known only there.

    Args:
        device: what scalelaw's own networks compute on. cpus, gpus: as in `environment_of`.
    """
    if device == "cpu" and not gpus:
        return {**thread_environment(cpus), "JAX_PLATFORMS": "cpu"}
    return {**thread_environment(cpus, flags=False), **_share(gpus), "JAX_PLATFORMS": "tpu" if device == "tpu" else ""}


def thread_environment(cpus: float, environment: Mapping[str, str] | None = None, *, flags: bool = True) -> dict[str, str]:
    """The variables that hold the libraries under NumPy, and JAX on the processor, to so many threads.

    One worker per core with one thread each is the fastest layout for these sizes and keeps its speed beside other
    processes. The variables are read when a library is imported: they must be there before.

    Args:
        cpus: cores of the worker; below 2 it has one thread.
        environment: what the worker inherits; None takes this process's. Its own XLA_FLAGS are kept.
        flags: whether XLA's own flags belong to them.
    """
    threads = max(1, int(cpus))
    found = {name: str(threads) for name in THREADS}
    if not flags:
        return found
    inherited = os.environ if environment is None else environment
    kept = [flag for flag in inherited.get("XLA_FLAGS", "").split() if flag not in XLA_FLAGS]
    return {**found, "XLA_FLAGS": " ".join([*kept, *(XLA_FLAGS if threads == 1 else ())])}


def single_thread_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables to start a worker with, so that it computes on one thread and on the processor."""
    return {**thread_environment(1, environment), "JAX_PLATFORMS": "cpu"}


def _share(gpus: float) -> dict[str, str]:
    """Those that share an accelerator may not each take most of its memory, as JAX does at its start."""
    return {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * gpus:.3f}"} if 0 < gpus < 1 else {}
